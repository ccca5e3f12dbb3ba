"""Refuse, before the first step, datasets that contradict each other, the model or their loader."""
import os
from itertools import islice

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.datasets import CustomDataset
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from nepa_mm.datasets import LoadImage
from nepa_mm.errors import ConfigError, DataError
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.registry import HOOKS
from nepa_mm.seeding import seeded

from .built_parts import loops_of, transforms_in, wrapped_datasets
from .label_names import LabelNames, check_names, label_names_in

IMAGES = 2000  # of a validation that are asked for their size
SIZES = 20  # of them that go through the pipeline; if they come out the same, all do


@HOOKS.register_module()
class CheckDatasetsHook(Hook):
    """Compare the names of labels of all datasets of a run, and of the checkpoint that is tested, and sizes of images in a batch.

    Labels of class folders are their places in the alphabet: where a folder is missing in validation, all behind it are other
    classes than in training, and the accuracy is wrong without a word.

    Raises:
        ConfigError: For a classifier with fewer outputs than labels, or weights or smoothing of another number; for batches of a
            validation or test with images of several sizes.
        DataError: If the same label is one class in one dataset, and another in another or in the checkpoint; if a list has a
            label that a classifier does not have.
    """
    testing = False

    def before_run(self, runner: Runner) -> None:
        """Check all datasets."""
        model = unwrapped(runner.model)
        loops = loops_of(runner)
        self.testing = 'train' not in loops
        expected = []
        for split, loop in loops.items():
            key, loader = f'{split}_dataloader', loop.dataloader
            names = list(label_names_in(loader.dataset, f'{key}.dataset'))
            # Self-supervised training has no labels, and is judged by those of any data.
            expected = expected if is_supervised(model) else []
            for found in names:
                for other in expected:
                    check_names(other, found)
                expected = [*expected, found]
            check_outputs(model, names)
            check_lists(model, loader.dataset, f'{key}.dataset')
            if split != 'train':
                check_one_size(loader, key)
            elif decoders := decoders_of(loader.dataset):
                runner.logger.info(f'JPEGs of the training are decoded by {" and ".join(decoders)}')
        self.names = expected

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the classes of a checkpoint that is tested."""
        classes = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')
        if self.testing and classes and is_supervised(unwrapped(runner.model)):
            for found in self.names:
                check_names(LabelNames(list(classes), 'the checkpoint', False), found)


def decoders_of(dataset: Dataset) -> list[str]:
    """What decodes JPEGs, for a person; nothing where images are not loaded by ours."""
    steps = [step for part in wrapped_datasets(dataset) for step in transforms_in(getattr(part, 'pipeline', None))]
    return sorted({step.decoder for step in steps if isinstance(step, LoadImage) and step.channels is None})


def is_supervised(model: nn.Module) -> bool:
    """Whether labels of training are those of the model's outputs: a classifier or a segmentor."""
    return hasattr(model, 'decode_head') or hasattr(getattr(model, 'head', None), 'num_classes')


def check_outputs(model: nn.Module, names: list[LabelNames]) -> None:
    """A classifier must have an output for each label, and its loss must know as many."""
    head = getattr(model, 'head', None)
    outputs = getattr(head, 'num_classes', None)
    if outputs is None:
        return
    for found in names:
        if len(found.names) > outputs:
            raise ConfigError(f'{outputs}, and {found.key} has {len(found.names)} classes', 'model.head.num_classes',
                              f'set it to {len(found.names)}, and model.data_preprocessor.num_classes too')
    loss = getattr(head, 'loss_module', None)
    for name in ('class_weight', 'pos_weight'):
        weights = getattr(loss, name, None)
        if isinstance(weights, (list, tuple)) and len(weights) != outputs:
            raise ConfigError(f'{len(weights)} weights, and model.head.num_classes={outputs}', f'model.head.loss.{name}',
                              'give one for each')
    known = getattr(loss, 'num_classes', None)
    if isinstance(known, int) and known != outputs:
        raise ConfigError(f'{known} differs from model.head.num_classes={outputs}', 'model.head.loss.num_classes',
                          'set it to that, or leave it out')


def check_lists(model: nn.Module, dataset: Dataset, key: str) -> None:
    """Labels behind the images in a list of mmpretrain's must be below the number of outputs."""
    outputs = getattr(getattr(model, 'head', None), 'num_classes', None)
    for part in wrapped_datasets(dataset) if outputs is not None else ():
        path = getattr(part, 'ann_file', '')
        if not isinstance(part, CustomDataset) or not part.with_label or not os.path.isfile(path):
            continue
        with open(path) as lines:
            wrong = next((line.strip() for line in lines if not 0 <= int(line.rsplit(maxsplit=1)[-1]) < outputs), None)
        if wrong is not None:
            raise DataError(f'{wrong!r} of {path!r} has a label that is not in 0 to {outputs - 1}, model.head.num_classes - 1',
                            f'{key}.ann_file', 'number the classes from 0, and set model.head.num_classes to their number')


def check_one_size(loader: DataLoader, key: str) -> None:
    """Images of a batch must have one size, for they are stacked. Each size in files goes through the pipeline once."""
    dataset = loader.dataset
    if (loader.batch_size or 1) < 2 or not hasattr(dataset, 'get_data_info'):
        return
    shapes = {}  # [h, w] behind the pipeline of images of each size in a file
    for indices in islice(loader.batch_sampler, IMAGES // loader.batch_size):
        images = {}  # one of each size in the batch
        for index in indices:
            size = size_of(str(dataset.get_data_info(index).get('img_path', '')))
            if size is None or len(shapes) > SIZES:
                return
            images.setdefault(size, index)
        if len(images) > 1:
            for size in images.keys() - shapes.keys():
                with seeded('size', images[size]):
                    image = dataset[images[size]].get('inputs')  # several of TestTimeAug
                shapes[size] = tuple(getattr(image, 'shape', ())[-2:])
            said = ' and '.join(f'{width}x{height}' for width, height in list(images)[:2])
            refuse_sizes([shapes[size] for size in images], f'images of {said} pixels', key)


def refuse_sizes(shapes: list[tuple[int, int]], images: str, key: str) -> None:
    """Shapes [h, w] in a batch must be one."""
    if len(set(shapes)) > 1:
        other = next(shape for shape in shapes if shape != shapes[0])
        raise ConfigError(f'{images} are stacked, and have {shapes[0][1]}x{shapes[0][0]} and {other[1]}x{other[0]} behind '
                          'the pipeline', f'{key}.batch_size', 'set it to 1, or resize to one size in the pipeline')


def size_of(path: str) -> tuple[int, int] | None:
    """Width and height of an image as its header says; None where Pillow cannot tell."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
