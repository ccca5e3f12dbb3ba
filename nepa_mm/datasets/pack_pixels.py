"""End a pipeline with pixels alone."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackPixels(BaseTransform):
    """mmpretrain's ``PackInputs`` where nothing but pixels is needed: pretraining reads no labels and no paths.

    A ``DataSample`` for each image costs the training process more than the pixels of a batch that a worker has stacked
    (``default_collate``): it is pickled, sent and built anew, image by image. In its stead is an empty list, which
    stays one in a batch, so that any algorithm and ``data_preprocessor`` of mmpretrain finds the two keys that it expects.
    """

    def transform(self, results: dict) -> dict:
        """Turn ``img``, uint8 BGR [H, W, 3], into ``inputs``, uint8 BGR [3, H, W]."""
        rgb = np.ascontiguousarray(results['img'][..., ::-1].transpose(2, 0, 1))  # no copy after RandomResizedCropFlip
        return dict(inputs=torch.from_numpy(rgb).flip(0), data_samples=[])
