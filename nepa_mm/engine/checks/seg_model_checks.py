"""Check a segmentor that is built, with its data, before the first step: classes, losses, what is normalised over a batch."""
from collections.abc import Iterable

from mmengine.dist import get_world_size
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils.data import DataLoader, Dataset

from nepa_mm.engine.loops.effective_batch import is_infinite
from nepa_mm.errors import ConfigError
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.seeding import seeded

# Heads of mmseg that make labels of their own of those that they are given (edges, masks, points, depths), or ignore what a
# loss of theirs says.
OWN_LABELS = {'STDCHead', 'PIDHead', 'DDRHead', 'PointHead', 'SideAdapterCLIPHead', 'VPDDepthHead'}


def heads_of(model: nn.Module) -> dict[str, nn.Module]:
    """Heads of a model that are trained on labels as they are, by their keys in a config."""
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead  # which the other tasks do without

    from nepa_mm.models.dense.multi_head import NamedHeads
    found = {}
    for name in ('decode_head', 'auxiliary_head'):
        part = getattr(model, name, None)
        heads = {f'model.{name}': part}
        if isinstance(part, nn.ModuleList):
            heads = {f'model.{name}.{i}': head for i, head in enumerate(part)}
        elif isinstance(part, NamedHeads):
            heads = {f'model.{name}.heads.{own}': head for own, head in part.heads.items()}
        for key, head in heads.items():
            if hasattr(head, 'kernel_generate_head'):  # K-Net's classes
                key, head = f'{key}.kernel_generate_head', head.kernel_generate_head
            if isinstance(head, BaseDecodeHead) and OWN_LABELS.isdisjoint(kind.__name__ for kind in type(head).__mro__):
                found[key] = head
    return found


def classes_of(head: nn.Module) -> int:
    """How many labels a head has; one output tells two."""
    return max(head.num_classes, 2) if head.out_channels == 1 else head.num_classes


def check_classes(heads: dict[str, nn.Module], dataset: Dataset, key: str) -> None:
    """Each head must have the classes of the dataset, if that says which it has, and these must be two or more."""
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is None:
        return
    if len(classes) == 1:
        raise ConfigError(f'{list(classes)} is one class, and labels tell two', f'{key}.metainfo.classes',
                          f"name both, such as ['background', {classes[0]!r}], and set num_classes=2 of each head; for one "
                          'output also out_channels=1, threshold=0.5 and use_sigmoid=True of loss_decode')
    differing = [head for head, module in heads.items() if len(classes) != classes_of(module)]
    if differing:
        raise ConfigError(f'{heads[differing[0]].num_classes} differs from the {len(classes)} classes of {key} '
                          '(metainfo.classes, or those of its type)', f'{differing[0]}.num_classes',
                          '--cfg-options ' + ' '.join(f'{head}.num_classes={len(classes)}' for head in differing))


def check_losses(heads: dict[str, nn.Module]) -> None:
    """Losses must fit the outputs of their heads: a softmax needs two, weights of classes one for each."""
    for key, head in heads.items():
        several = isinstance(head.loss_decode, nn.ModuleList)
        for i, loss in enumerate(head.loss_decode if several else [head.loss_decode]):
            where, outputs = f'{key}.loss_decode' + f'.{i}' * several, head.out_channels
            is_sigmoid, weights = getattr(loss, 'use_sigmoid', None), getattr(loss, 'class_weight', None)
            if outputs == 1 and is_sigmoid is False:
                raise ConfigError(f'False, and a softmax of the one output of {key} is always 1: nothing is learnt',
                                  f'{where}.use_sigmoid', f'set it to True, or {key}.out_channels to 2')
            if isinstance(weights, (list, tuple)) and len(weights) != outputs:
                raise ConfigError(f'{len(weights)} weights, and {key} has {outputs} outputs', f'{where}.class_weight',
                                  'give one for each')
            if weights is not None and is_sigmoid and outputs > 1 and type(loss).__name__ == 'CrossEntropyLoss':
                raise ConfigError(f'{weights}: the sigmoid cross entropy of mmseg takes it for weights of columns',
                                  f'{where}.class_weight', 'leave it out, or set use_sigmoid=False')


def check_labelled(dataset: Dataset, metrics: Iterable, split: str) -> None:
    """A metric that compares with label maps needs some, as the first sample shows."""
    from mmseg.evaluation import IoUMetric
    needing = [metric for metric in metrics if isinstance(metric, IoUMetric) and not metric.format_only]
    if not needing or not len(dataset):
        return
    with seeded('labels', 0):
        samples = dataset[0].get('data_samples')
    sample = samples[0] if isinstance(samples, (list, tuple)) and samples else samples  # several of TestTimeAug
    if isinstance(sample, BaseDataElement) and 'gt_sem_seg' not in sample:
        raise ConfigError(f'{type(needing[0]).__name__} needs label maps, and the samples have none',
                          f'{split}_dataloader.dataset.pipeline',
                          'load them by nepa_mm.LoadSegAnnotations, from data_prefix.seg_map_path; of images without any write '
                          f'predictions alone: format_only=True and output_dir of {split}_evaluator')


def check_merging(model: nn.Module) -> None:
    """mmseg's model of test-time augmentation takes the sigmoid of one output twice; all merge the predictions of one head."""
    from mmseg.models import SegTTAModel

    from nepa_mm.models.dense.multi_head import MultiHeadEncoderDecoder
    if isinstance(model, SegTTAModel) and isinstance(unwrapped(model), MultiHeadEncoderDecoder):
        raise ConfigError("'nepa_mm.MultiHeadEncoderDecoder' has several heads, and the versions of an image are merged for one",
                          'model.module.type', "set 'nepa_mm.PaddedEncoderDecoder', which tests the first, and one metric; or "
                                               'leave out --tta')
    if type(model) is SegTTAModel and getattr(unwrapped(model), 'out_channels', None) == 1:
        raise ConfigError("'SegTTAModel' of mmseg takes the sigmoid of one output twice", 'tta_model.type',
                          "set 'nepa_mm.SegTTAModel'")


def check_pooled_norms(model: nn.Module, loader: DataLoader) -> None:
    """A batch normalisation needs two values, and a map that is pooled to 1 x 1 gives one for each image."""
    batch = loader.batch_size
    if batch is None:  # a batch sampler of its own decides
        return
    is_cut = not is_infinite(loader) and not loader.drop_last and len(loader.sampler) % batch == 1
    if batch > 1 and not is_cut:
        return
    for name, module in model.named_modules():
        pools = isinstance(module, nn.Sequential) and any(
            isinstance(part, nn.AdaptiveAvgPool2d) and part.output_size in (1, (1, 1)) for part in module)
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)] if pools else []
        if any(get_world_size() == 1 or not isinstance(norm, nn.SyncBatchNorm) for norm in norms):
            what, key, remedy = (f'{batch} image', 'batch_size', 'set 2 or more') if batch == 1 else (
                'False leaves 1 image to the last batch of an epoch', 'drop_last', 'set True')
            raise ConfigError(f'{what}: the batch normalisation in model.{name}, behind a pooling to 1 x 1, needs two values',
                              f'train_dataloader.{key}', f"{remedy}, or norm_cfg=dict(type='GN', num_groups=8)"
                              ' of the head')
