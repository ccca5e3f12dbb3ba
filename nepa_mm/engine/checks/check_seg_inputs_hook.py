"""Refuse, before the model sees them, labels and images that a segmentation cannot mean."""
from collections.abc import Collection
from logging import Logger

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils.data import Dataset

from nepa_mm.datasets import LoadSegAnnotations
from nepa_mm.errors import ConfigError, DataError
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.models.pretrained_backbone import PretrainedBackbone
from nepa_mm.registry import HOOKS

from .built_parts import loops_of, transforms_in, wrapped_datasets
from .check_datasets_hook import refuse_sizes
from .label_survey import how_turned, survey
from .seg_model_checks import check_classes, check_labelled, check_losses, check_merging, check_pooled_norms, classes_of, heads_of


@HOOKS.register_module()
class CheckSegInputsHook(Hook):
    """Compare the classes of the data with those of the heads, once, and the labels of every batch, in training and tests.

    A label that a head does not have ends training in an ``IndexError`` on a CPU and in a failed device assertion on a GPU, and
    a test counts it silently as nothing. Only here are heads, metric and file known at once. Batches are met where they enter
    the data preprocessor, still on the CPU: hooks of the loop are called for the last batch alone that a step accumulates.

    Label maps are looked at before the first step: classes that are in none, and a large share that is ignored, are said.

    Raises:
        ConfigError: If heads have another number of classes than a dataset, or this has one; for a metric without label maps;
            for a loss that does not fit its head; if labels are padded with what is no class; for a batch normalisation of one
            value.
        DataError: For a label that is neither a class nor ignored, for labels that are one class or ignored altogether, and for
            an image smaller than a patch.
    """
    handle = None  # of the check of each batch

    def before_run(self, runner: Runner) -> None:
        """Check the classes, and from here on every batch."""
        model = unwrapped(runner.model)
        heads = heads_of(model)
        if not hasattr(model, 'decode_head'):
            return
        if not heads:
            runner.logger.info(f'labels are not checked: {type(model.decode_head).__name__} makes its own of them')
        loops = loops_of(runner)
        metric_ignores = {f'{split}_evaluator.ignore_index': metric.ignore_index for split, loop in loops.items()
                          if split != 'train' for metric in loop.evaluator.metrics if hasattr(metric, 'ignore_index')}
        ignored = {255, *metric_ignores.values(), *(head.ignore_index for head in heads.values())}
        check_merging(runner.model)
        check_losses(heads)
        if 'train' in loops:
            check_pooled_norms(model, loops['train'].dataloader)
        for split, loop in loops.items():
            dataset, key = loop.dataloader.dataset, f'{split}_dataloader.dataset'
            check_classes(heads, dataset, key)
            look_at_labels(dataset, key, ignored, runner.logger)
            if split != 'train':
                check_labelled(dataset, loop.evaluator.metrics, split)
        patch_size = model.backbone.patch_size if isinstance(model.backbone, PretrainedBackbone) else 1
        self.after_run(runner)
        check = BatchCheck(heads, metric_ignores, patch_size, [split for split in loops if split != 'train'])
        self.handle = model.data_preprocessor.register_forward_pre_hook(check, with_kwargs=True)

    def after_run(self, runner: Runner) -> None:
        if self.handle is not None:
            self.handle.remove()
            self.handle = None


def look_at_labels(dataset: Dataset, key: str, ignored: Collection[int | None], logger: Logger) -> None:
    """Say what is strange about the labels of a dataset, and give its colours to those that load them.

    Labels that are neither classes nor ignored are left to :func:`check_labels`, which names the file.

    Raises:
        DataError: If all its labels are one class or ignored.
    """
    for part in wrapped_datasets(dataset):
        for step in transforms_in(getattr(part, 'pipeline', None)):
            if isinstance(step, LoadSegAnnotations):
                step.palette = part.metainfo.get('palette')
    seen = survey(dataset, tolerant=getattr(dataset, 'bad_images', None) is not None)
    if seen and seen.turned:
        how, remedy = how_turned(dataset)
        logger.warning(f'{key}: {seen.turned} of {seen.maps} images looked at carry an EXIF orientation; {how} | {remedy}')
    said = seen and seen.said()
    if not said or not ignored >= seen.ignored.keys():
        return
    what, remedy = said
    if seen.is_of_one_class and seen.maps == seen.total:
        raise DataError(what, key, remedy)
    if seen.says_nothing_new:
        logger.info(f'{key}: {what} (tools/misc/verify_dataset.py looks at all)')
    else:
        logger.warning(f'{key}: {what} | {remedy}')


class BatchCheck:
    """Check of each batch that enters a data preprocessor, by heads, metrics, side of a patch and splits that are tested.

    Copies check nothing: the average is a copy of the model, and so is one that is saved whole.
    """

    def __init__(self, heads: dict[str, nn.Module] | None = None, metric_ignores: dict[str, int] | None = None,
                 patch_size: int = 1, test_splits: Collection[str] = ()) -> None:
        self.heads, self.metric_ignores, self.patch_size, self.test_splits = heads, metric_ignores, patch_size, test_splits

    def __reduce__(self) -> tuple:
        return BatchCheck, ()

    def __call__(self, preprocessor: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.heads is None:
            return
        data = args[0] if args else kwargs['data']
        training = kwargs.get('training', args[1] if len(args) > 1 else False)
        if any(isinstance(image, (list, tuple)) for image in data['inputs']):
            keys = [f'{split}_dataloader.dataset.pipeline' for split in (['train'] if training else self.test_splits)]
            raise ConfigError('several versions of an image, as TestTimeAug gives, and the model takes one', ' or '.join(keys),
                              'leave TestTimeAug to tta_pipeline and test with tools/test.py --tta')
        check_sizes(preprocessor, data, training, self.patch_size, self.test_splits)
        if self.heads and training:
            check_training(preprocessor, data, self.heads)
        elif self.heads:  # the metric must know every label
            key, head = next(iter(self.heads.items()))
            ignores = self.metric_ignores or {f'{key}.ignore_index': head.ignore_index}
            said = ' or '.join(f'{name}={label}' for name, label in ignores.items())
            for sample in data.get('data_samples') or []:
                check_labels(sample, classes_of(head), ignores.values(), key, said)


def check_training(preprocessor: nn.Module, data: dict, heads: dict[str, nn.Module]) -> None:
    """Every head must take every label, and what labels are padded with."""
    pad = getattr(preprocessor, 'seg_pad_val', None)
    shapes = [tuple(image.shape[-2:]) for image in data['inputs']]
    is_padded = pad is not None and any(shape != padded(preprocessor, shapes) for shape in shapes)
    for (classes, ignored), key in {(classes_of(head), head.ignore_index): key for key, head in reversed(heads.items())}.items():
        for sample in data['data_samples']:
            check_labels(sample, classes, {ignored}, key, f'{key}.ignore_index={ignored}')
        if is_padded and pad >= classes and pad != ignored:
            raise ConfigError(f'{pad} pads labels where an image is smaller than model.data_preprocessor.size, and is neither '
                              f'one of {key}.num_classes={classes} nor {key}.ignore_index={ignored}',
                              'model.data_preprocessor.seg_pad_val', 'set it to the latter')


def padded(preprocessor: nn.Module, shapes: Collection[tuple[int, int]]) -> tuple[int, int]:
    """Size (H, W) that a preprocessor pads a training batch of images of these sizes to."""
    height, width = (max(sides) for sides in zip(*shapes))
    size, divisor = getattr(preprocessor, 'size', None), getattr(preprocessor, 'size_divisor', None) or 1
    if size is not None:
        return max(height, size[-2]), max(width, size[-1])
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def check_sizes(preprocessor: nn.Module, data: dict, training: bool, patch_size: int, test_splits: Collection[str]) -> None:
    """The backbone needs one patch, and images of a test one size."""
    shapes = [tuple(image.shape[-2:]) for image in data['inputs']]
    if training:
        shapes = [padded(preprocessor, shapes)] * len(shapes)
    else:
        for split in test_splits if len(set(shapes)) > 1 else ():
            refuse_sizes(shapes, f'{len(shapes)} images', f'{split}_dataloader')
        if getattr(preprocessor, 'test_cfg', None):  # which may enlarge them
            return
    for (height, width), sample in zip(shapes, data.get('data_samples') or []):
        if min(height, width) < patch_size:
            raise DataError(f'{width}x{height} pixels as the model gets it are less than one patch, '
                            f'model.backbone.patch_size={patch_size}', f'img_path={sample.metainfo.get("img_path")!r}',
                            'enlarge it by Resize in the pipeline, or take it out of the dataset')


def check_labels(sample: BaseDataElement, classes: int, ignored: Collection[int | None], key: str, ignored_key: str) -> None:
    """Labels of a sample, if it has any, must be below the number of classes or ignored."""
    if 'gt_sem_seg' not in sample:
        return
    labels = sample.gt_sem_seg.data.cpu().numpy()  # comparing int64 is four times faster than in PyTorch
    is_wrong = labels >= classes
    for label in ignored:
        is_wrong &= labels != label
    if not is_wrong.any():
        return
    wrong = np.unique(labels[is_wrong]).tolist()
    reduced = sample.metainfo.get('reduce_zero_label')
    numbers = [0 if label == 255 else label + 1 for label in wrong[:5]]
    in_file = f' ({numbers} in the file, before reduce_zero_label)' if reduced else ''
    shift = ', or reduce_zero_label=True of dataset and LoadSegAnnotations if 0 is no class' if (
        classes in wrong and not reduced) else ''
    raise DataError(f'labels {wrong[:5]}{in_file} are neither below {key}.num_classes={classes} nor {ignored_key}',
                    f'seg_map_path={sample.metainfo.get("seg_map_path")!r}', f'mend the label map, or set one of the two{shift}')
