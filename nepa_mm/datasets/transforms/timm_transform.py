"""timm's image augmentation as a transform of mm pipelines."""
import inspect
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from timm.data import auto_augment, create_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import MaybeToTensor
from torchvision.transforms import Normalize

from nepa_mm.datasets.erased_patches import RecordedErasing
from nepa_mm.errors import ConfigError
from nepa_mm.registry import TRANSFORMS

from .pillow_kernels import by_kernel, library
from .timm_crops import crop_of, part_of

NORMALIZING = [MaybeToTensor, Normalize]
AFFINE = (auto_augment.shear_x, auto_augment.shear_y, auto_augment.translate_x_rel, auto_augment.translate_y_rel,
          auto_augment.translate_x_abs, auto_augment.translate_y_abs, auto_augment.rotate)


@TRANSFORMS.register_module()
class TimmTransform(BaseTransform):
    """The pixels of ``timm.data.create_transform``, which the release calls, bit for bit.

    mmpretrain's own RandAugment and RandomErasing draw and fill otherwise. What timm returns is already **normalised RGB**, so
    nothing may follow but ``PackInputs``, and the model's ``data_preprocessor`` must have no ``mean``, ``std`` or ``to_rgb``,
    which would normalise and swap again.

    With ``on_device`` it leaves timm's ToTensor, Normalize and the writing of RandomErasing to the model's
    ``nepa_mm.TimmDataPreprocessor``, which gives the same floats: the image stays uint8 RGB until it is there. Where training
    erases, ``nepa_mm.PackTimm`` follows, and the loader has ``collate_fn=dict(type='nepa_mm.collate_and_hold')``.

    Random numbers are drawn from ``random``, ``numpy.random`` and ``torch``, in timm's order, by timm's own code.

    Args:
        on_device: See above.
        compile: Resize, shear, move and rotate by C of ours that gives Pillow's pixels in less time. It is compiled at first use,
            once for a machine; without a C compiler a line says so, and Pillow does it.
        **kwargs: Arguments of ``create_transform``: ``input_size``, ``is_training``, ``mean``, ``std`` (of pixels in [0, 1]),
            ``interpolation``; in training ``auto_augment``, ``re_prob``, ``re_mode``, ...; in evaluation ``crop_pct``:
            the short side is resized to floor(``input_size`` / ``crop_pct``), 256 for 0.875; with ``crop_mode='squash'`` both
            sides are, as the release tests its large model: 235 for 0.95.

    Raises:
        ConfigError: For an argument that ``create_transform`` does not have, or ``separate``, which makes three of it; with
            ``on_device``, for what does not end in ToTensor and Normalize.
    """

    def __init__(self, on_device: bool = False, compile: bool = False, **kwargs) -> None:
        known = set(inspect.signature(create_transform).parameters) - {'separate'}
        for key, value in kwargs.items():
            if key not in known:
                raise ConfigError(f'{value!r} is for no argument of timm.data.create_transform', f'TimmTransform.{key}',
                                  f'choose from {sorted(known)}')
        self.timm, self.on_device = create_transform(**kwargs), on_device
        kernels = library() if compile else None  # compiled here, before there are workers
        for step in self.timm.transforms:
            for op in [*getattr(step, 'ops', []), *sum(getattr(step, 'policy', []), [])]:  # RandAugment's, AutoAugment's
                if op.aug_fn is auto_augment.posterize:
                    op.aug_fn = posterize
                elif op.aug_fn in AFFINE and kernels:
                    op.aug_fn = by_kernel(op.aug_fn)
        self.crop = crop_of(self.timm.transforms, compile)
        kinds = [type(step) for step in self.timm.transforms]
        self.end = kinds.index(MaybeToTensor) if on_device and MaybeToTensor in kinds else len(kinds)  # of the steps done here
        if on_device and kinds[self.end:] not in (NORMALIZING, [*NORMALIZING, RandomErasing]):
            raise ConfigError('on_device=True leaves ToTensor, Normalize and RandomErasing to the device, and timm ends in '
                              f'{", ".join(kind.__name__ for kind in kinds[-2:])}', 'TimmTransform.on_device', 'set it to False')

    def transform(self, results: dict) -> dict | None:
        """Replace ``img``, uint8 BGR [H, W, 3], an :class:`EncodedJpeg` or a PIL image, by normalised float32 RGB [h, w, 3].

        With ``on_device`` it is uint8 RGB [h, w, 3], and there is ``erased``, the :class:`ErasedPatches`, if erasing is on.
        """
        img, done = results['img'], 0
        if not isinstance(img, Image.Image):
            height, width = img.shape[:2]
            img, done = (self.crop(img), self.crop.steps) if self.crop else (part_of(img, 0, 0, width, height), 0)
        if img is None:  # damaged, and LoadImage was told to leave such out
            return None
        steps = self.timm.transforms[done:self.end]
        if steps and not isinstance(img, Image.Image):
            img = Image.fromarray(np.ascontiguousarray(img))
        for step in steps:
            img = step(img)
        if not self.on_device:
            # Channels last, as other transforms leave an image and mmpretrain's browse_dataset draws one; PackInputs turns it
            results['img'] = img.permute(1, 2, 0).numpy()
        else:
            results['img'] = np.ascontiguousarray(np.asarray(img).transpose(2, 0, 1)).transpose(1, 2, 0)  # as PackInputs likes it
            for step in self.timm.transforms[self.end + len(NORMALIZING):]:  # RandomErasing
                results['erased'] = step(RecordedErasing((3, *results['img'].shape[:2]))).patches()
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.timm}{", on_device=True" if self.on_device else ""})'


def normalization(mean: Sequence[float], std: Sequence[float]) -> list:
    """timm's steps from bytes to normalised floats."""
    return create_transform(is_training=False, mean=tuple(mean), std=tuple(std)).transforms[-2:]


def timm_arguments(step: dict) -> dict:
    """All arguments of ``create_transform`` for the config of a :class:`TimmTransform`, with timm's own defaults."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(create_transform).parameters.items()}
    return {**defaults, **{key: value for key, value in step.items() if key in defaults}}


def posterize(img: Image.Image, bits_to_keep: int, **kwargs) -> Image.Image:
    """timm's, and black where it keeps no bit, as from Pillow before version 13, which refuses to: one image in some 650."""
    return auto_augment.posterize(img, bits_to_keep) if bits_to_keep else Image.new(img.mode, img.size)
