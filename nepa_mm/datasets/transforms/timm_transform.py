"""timm's image augmentation as a transform of mm pipelines."""
import inspect

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from timm.data import auto_augment, create_transform

from nepa_mm.errors import ConfigError
from nepa_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TimmTransform(BaseTransform):
    """The pixels of ``timm.data.create_transform``, which the release calls, bit for bit.

    mmpretrain's own RandAugment and RandomErasing draw and fill otherwise. What timm returns is already **normalised RGB**, so
    nothing may follow but ``PackInputs``, and the model's ``data_preprocessor`` must have no ``mean``, ``std`` or ``to_rgb``,
    which would normalise and swap again.

    Random numbers are drawn from ``random``, ``numpy.random`` and ``torch``, in timm's order.

    Args:
        **kwargs: Arguments of ``create_transform``: ``input_size``, ``is_training``, ``mean``, ``std`` (of pixels in [0, 1]),
            ``interpolation``; in training ``auto_augment``, ``re_prob``, ``re_mode``, ...; in evaluation ``crop_pct``:
            the short side is resized to floor(``input_size`` / ``crop_pct``), 256 for 0.875; with ``crop_mode='squash'`` both
            sides are, as the release tests its large model: 235 for 0.95.

    Raises:
        ConfigError: For an argument that ``create_transform`` does not have, or ``separate``, which makes three of it.
    """

    def __init__(self, **kwargs) -> None:
        known = set(inspect.signature(create_transform).parameters) - {'separate'}
        for key, value in kwargs.items():
            if key not in known:
                raise ConfigError(f'{value!r} is for no argument of timm.data.create_transform', f'TimmTransform.{key}',
                                  f'choose from {sorted(known)}')
        self.timm = create_transform(**kwargs)
        for step in self.timm.transforms:
            for op in [*getattr(step, 'ops', []), *sum(getattr(step, 'policy', []), [])]:  # RandAugment's, AutoAugment's
                if op.aug_fn is auto_augment.posterize:
                    op.aug_fn = posterize

    def transform(self, results: dict) -> dict:
        """Replace ``img``, uint8 BGR [H, W, 3] or a PIL image in RGB, by normalised float32 RGB [h, w, 3]."""
        img = results['img']
        if isinstance(img, np.ndarray):
            img = Image.fromarray(np.ascontiguousarray(img[..., ::-1]))
        # Channels last, as other transforms leave an image and mmpretrain's browse_dataset draws one; PackInputs turns it back.
        results['img'] = self.timm(img).permute(1, 2, 0).numpy()
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.timm})'


def timm_arguments(step: dict) -> dict:
    """All arguments of ``create_transform`` for the config of a :class:`TimmTransform`, with timm's own defaults."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(create_transform).parameters.items()}
    return {**defaults, **{key: value for key, value in step.items() if key in defaults}}


def posterize(img: Image.Image, bits_to_keep: int, **kwargs) -> Image.Image:
    """timm's, and black where it keeps no bit, as from Pillow before version 13, which refuses to: one image in some 650."""
    return auto_augment.posterize(img, bits_to_keep) if bits_to_keep else Image.new(img.mode, img.size)
