"""End a pipeline of timm's augmentation whose pixels are normalised on the device."""
from mmpretrain.datasets import PackInputs

from nepa_mm.registry import TRANSFORMS


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
