"""Resize images of any number of channels with Pillow's antialiasing."""
import mmpretrain.datasets as theirs
import numpy as np
from mmcv.image.geometric import pillow_interp_codes
from PIL import Image

from nepa_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ResizeEdge(theirs.ResizeEdge):
    """mmpretrain's ``ResizeEdge``, which resizes images that are not RGB channel by channel, in uint8 or float32.

    There, Pillow would take a second or fourth channel for transparency, and has no images of more; OpenCV reduces such without
    antialiasing.

    Args:
        **kwargs: ``scale``, ``edge``, ``backend`` and ``interpolation`` of mmpretrain's; ``backend`` is 'pillow' if not given.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **{'backend': 'pillow', **kwargs})

    def _resize_img(self, results: dict) -> None:
        img = results['img']
        if self.backend != 'pillow' or (img.dtype == np.uint8 and img.shape[2:] in ((), (3, ))):
            return super()._resize_img(results)
        height, width = img.shape[:2]
        mode = pillow_interp_codes[self.interpolation]
        channels = [np.asarray(Image.fromarray(channel).resize(results['scale'], mode))
                    for channel in np.atleast_3d(img).transpose(2, 0, 1)]
        results['img'] = np.stack(channels, axis=-1)
        results['img_shape'], results['scale_factor'] = results['img'].shape[:2], (results['scale'][0] / width,
                                                                                   results['scale'][1] / height)
