"""Ends of pipelines: with pixels alone, or with those of timm's augmentation that are normalised on the device."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import PackInputs

from nepa_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackPixels(BaseTransform):
    """mmpretrain's ``PackInputs`` where nothing but pixels is needed: pretraining reads no labels and no paths.

    A ``DataSample`` for each image costs the training process more than the pixels of a batch that a worker has stacked
    (``default_collate``): it is pickled, sent and built anew, image by image. In its stead is an empty list, which
    stays one in a batch, so that any algorithm and ``data_preprocessor`` of mmpretrain finds the two keys that it expects.
    """

    def transform(self, results: dict) -> dict:
        """Turn ``img``, BGR [H, W, C] or grey [H, W], into ``inputs`` [C, H, W] of the same type."""
        planes = np.atleast_3d(results['img']).transpose(2, 0, 1)
        if not planes.flags.c_contiguous or min(planes.strides) < 0:  # no copy after RandomResizedCropFlip
            planes = planes.copy()
        return dict(inputs=torch.from_numpy(planes), data_samples=[])


@TRANSFORMS.register_module()
class PackTimm(PackInputs):
    """mmpretrain's ``PackInputs`` after a :class:`TimmTransform` with ``on_device=True``: it keeps the erased patches too.

    A batch needs ``collate_fn=dict(type='nepa_mm.collate_and_hold')``, which joins the patches of its images.
    """

    def transform(self, results: dict) -> dict:
        """Give ``inputs`` [C, H, W], ``data_samples`` and, where erasing is on, ``erased``, an :class:`ErasedPatches`."""
        packed = super().transform(results)
        if 'erased' in results:
            packed['erased'] = results['erased']
        return packed
