"""How an image becomes a model's input: as a config's test pipeline says it, and as ``preprocessor_config.json`` does."""
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.logging import print_log

from nepa_mm.errors import CheckpointError

# Pillow's numbers for them, which Hugging Face's files hold
FILTERS = dict(nearest=0, lanczos=1, bilinear=2, bicubic=3, box=4, hamming=5)
# Steps that change no pixel of an image in RGB or BGR, and the one that pixels_of reads
NEUTRAL = ('LoadImage', 'LoadImageFromFile', 'PackInputs', 'Normalize')
KEPT = 'put a preprocessor_config.json of your own into the folder first, which is kept'


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a decoded image, in this order.

    Args:
        mean: Of each channel, of pixels from 0 to 255.
        std: Likewise.
        channels: 'RGB' or 'BGR', their order as the network sees them.
        resize: (height, width), whatever the image's shape, or the length of its short side; None leaves the image.
        interpolation: Of resizing, with Pillow's antialiasing: one of ``FILTERS``.
        crop: (height, width) of the centre that is kept; None keeps all.
    """
    mean: list[float]
    std: list[float]
    channels: str = 'RGB'
    resize: tuple[int, int] | int | None = None
    interpolation: str = 'bilinear'
    crop: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of what comes out; None if they are the image's."""
        return self.crop or (self.resize if isinstance(self.resize, tuple) else None)

    def pipeline(self, bands: int | None = None) -> list[dict]:
        """Steps of a test pipeline, for a model whose data preprocessor normalises.

        ``bands`` are the channels of images that are not RGB; those of ``mean``, if these are not three. Their ratio is kept.
        """
        pillow = dict(backend='pillow', interpolation=self.interpolation)
        bands = bands or (None if len(self.mean) == 3 else len(self.mean))
        steps = [dict(type='nepa_mm.LoadImage') if bands is None else dict(type='nepa_mm.LoadImage', channels=bands)]
        if isinstance(self.resize, tuple) and bands is None:
            steps.append(dict(type='Resize', scale=self.resize[::-1], **pillow))
        elif self.resize:
            edge = self.resize if isinstance(self.resize, int) else min(self.resize)
            steps.append(dict(type='ResizeEdge' if bands is None else 'nepa_mm.ResizeEdge', scale=edge, edge='short', **pillow))
        if self.crop:
            steps.append(dict(type='CenterCrop', crop_size=self.crop[::-1]))
        return [*steps, dict(type='PackInputs')]

    def pixels(self) -> dict:
        return dict(mean=self.mean, std=self.std, to_rgb=self.channels == 'RGB' and len(self.mean) == 3)


def preprocessing_of(config: dict) -> Preprocessing | None:
    """What a config says of its test images; None if it says nothing of their pixels, or has no test pipeline.

    CheckpointError if it contradicts itself, or has a step that no :class:`Preprocessing` describes.
    """
    pixels, pipeline = pixels_of(config), pipeline_in(config, 'test_dataloader')
    if pixels is None or pipeline is None:
        return None
    return Preprocessing(**pixels, **geometry_of(pipeline))


def pixels_of(config: dict) -> dict | None:
    """``mean``, ``std`` (of 0 to 255), ``channels``; None if nothing normalises, CheckpointError if model and pipeline do."""
    place = 'model.data_preprocessor'
    model = (config.get('model') or {}).get('data_preprocessor') or config.get('data_preprocessor') or {}
    steps = [step for step in pipeline_in(config, 'test_dataloader') or [] if kind(step) in ('TimmTransform', 'Normalize')]
    if len(steps) > 1 or steps and model.get('mean') is not None:
        raise CheckpointError(f'{model.get("mean")} normalises what {kind(steps[0])} in the test pipeline normalised already',
                              f'its config, {place}.mean', 'leave out one of them')
    turned = bool(model.get('to_rgb') or model.get('bgr_to_rgb'))
    if not steps:
        if model.get('mean') is None:
            return None
        mean, std = model['mean'], model['std']
    elif kind(steps[0]) == 'Normalize':
        mean, std = steps[0]['mean'], steps[0]['std']
        turned = turned != bool(steps[0].get('to_rgb', True))
    else:
        from nepa_mm.datasets.transforms.timm_transform import timm_arguments  # slow to import
        mean, std = ([255 * value for value in timm_arguments(steps[0])[key]] for key in ('mean', 'std'))
        turned = not turned
    return dict(mean=[float(value) for value in mean], std=[float(value) for value in std], channels='RGB' if turned else 'BGR')


def pipeline_in(config: dict, loader: str) -> list[dict] | None:
    """The pipeline of a loader's dataset, or of the first that it wraps; None if it has none."""
    part = config.get(loader)
    while isinstance(part, dict):
        if isinstance(part.get('pipeline'), (list, tuple)):
            return [step for step in part['pipeline'] if isinstance(step, dict)]
        inner = part.get('dataset') or part.get('datasets')
        part = inner[0] if isinstance(inner, (list, tuple)) and inner else inner
    return None


def pipeline_of_one_view(config: dict) -> list[dict] | None:
    """The test pipeline; the variable ``test_pipeline``, if there is one, where the test itself averages over several views."""
    pipeline = pipeline_in(config, 'test_dataloader')
    if pipeline and all(kind(step) != 'TestTimeAug' for step in pipeline):
        return pipeline
    return [step for step in config.get('test_pipeline') or () if isinstance(step, dict)] or pipeline


def bands_in(config: dict) -> int | None:
    """Channels of images that a config's loader leaves as they are in the files; None where it makes RGB of them."""
    for loader in ('test_dataloader', 'train_dataloader'):
        first = next(iter(pipeline_in(config, loader) or ()), {})
        if first.get('channels') is not None:
            return first['channels']
    return None


def kind(step: dict) -> str:
    """The type of a step without its scope; torchvision's keep theirs, whose arguments go by other names."""
    name = str(step.get('type'))
    return name if name.startswith('torchvision') else name.rpartition('.')[2].strip("<>'")


def geometry_of(pipeline: Sequence[dict]) -> dict:
    """``resize``, ``interpolation`` and ``crop`` of a test pipeline; CheckpointError for another step, or another order."""
    facts = {}
    for step in pipeline:
        found = {} if kind(step) in NEUTRAL else geometry_of_step(step)
        if facts.keys() & found.keys() or 'resize' in found and 'crop' in facts:
            refuse(step, 'comes after a step of its kind')
        facts.update(found)
    return facts


def geometry_of_step(step: dict) -> dict:
    match kind(step):
        case 'TimmTransform':
            return of_timm(step)
        case 'ResizeEdge':
            if step.get('edge', 'short') != 'short':
                refuse(step, f'has edge={step["edge"]!r}')
            return dict(resize=step['scale'], interpolation=filter_of(step))
        case 'Resize':
            if step.get('keep_ratio') or step.get('scale') is None:
                refuse(step, 'keeps the ratio')
            return dict(resize=sides(step['scale'])[::-1], interpolation=filter_of(step))
        case 'CenterCrop':
            return dict(crop=sides(step['crop_size'])[::-1])
    refuse(step, 'is more than resizing and a centre crop')


def refuse(step: dict, why: str) -> None:
    """CheckpointError that names the step."""
    raise CheckpointError(f'{kind(step)} {why}, which preprocessor_config.json has no place for',
                          'its config, test_dataloader.dataset.pipeline', KEPT)


def of_timm(step: dict) -> dict:
    """What ``timm.data.create_transform`` makes of a test image."""
    from nepa_mm.datasets.transforms.timm_transform import timm_arguments  # slow to import
    timm = timm_arguments(step)
    others = ('is_training', 'no_aug', 'crop_border_pixels', 'tf_preprocessing', 'use_prefetcher', 'naflex', 'patchify')
    odd = [key for key in others if timm[key]]
    odd += [key for key, fits in dict(normalize=timm['normalize'], crop_mode=timm['crop_mode'] != 'border',
                                      interpolation=timm['interpolation'] in FILTERS).items() if not fits]
    if odd:
        refuse(step, f'has {odd[0]}={timm[odd[0]]!r}')
    size = sides(timm['input_size'])
    resize = tuple(int(side / (timm['crop_pct'] or 0.875)) for side in size)
    if timm['crop_mode'] != 'squash':
        if size[0] != size[1]:
            refuse(step, f'keeps the ratio and crops to {size}')
        resize = resize[0]
    return dict(resize=resize, interpolation=timm['interpolation'], crop=size)


def filter_of(step: dict) -> str:
    name = step.get('interpolation', 'bilinear')
    if step.get('backend', 'cv2') != 'pillow':
        print_log(f"{kind(step)} has backend='cv2', which does not antialias: Hugging Face's processors do, as "
                  f"backend='pillow' does, so that their pixels differ", 'current', logging.WARNING)
    if name not in FILTERS:
        refuse(step, f'has interpolation={name!r}')
    return name


def sides(size: int | Sequence[int]) -> tuple[int, int]:
    """The two sides of a size in their order, which is width and height in mm's steps; channels before them are left out."""
    return (size, size) if isinstance(size, int) else tuple(size)[-2:]


# Steps that end in images of one size, the argument with that size, and whether that names the width first
SIZES = dict(TimmTransform=('input_size', False), CenterCrop=('crop_size', True), RandomCrop=('crop_size', False),
             Resize=('scale', True), RandomResizedCrop=('scale', False), RandomResizedCropFlip=('size', False))
SIZES |= {f'torchvision/{name}': ('size', False) for name in ('RandomResizedCrop', 'CenterCrop', 'RandomCrop')}


def input_size(config: dict) -> tuple[int, int] | None:
    """Height and width of the images that a model was trained for; None if the config does not say.

    Of a segmentor it is the crop; else the size that the test pipeline ends in, or the training's, and only then ``img_size``,
    which may be that of the pretraining.
    """
    model = config.get('model') or {}
    size = (model.get('data_preprocessor') or config.get('data_preprocessor') or {}).get('size')
    for loader in ('test_dataloader', 'train_dataloader'):
        size = size or size_after(pipeline_in(config, loader) or [])
    size = size or (model.get('backbone') or {}).get('img_size')
    return None if size is None else sides(size)


def size_after(pipeline: Sequence[dict]) -> tuple[int, int] | None:
    """Height and width that a pipeline ends in; None if they are the image's."""
    for step in reversed(pipeline):
        key, width_first = SIZES.get(kind(step), (None, False))
        size = step.get(key, 224 if key == 'input_size' else None)
        if size is not None and not step.get('keep_ratio'):
            return sides(size)[::-1] if width_first else sides(size)
    return None
