"""Which images of a validation set are there to vote."""
from mmcv.transforms import BaseTransform

from nepa_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class KNNBank(BaseTransform):
    """Mark a packed image as one of the labelled ones that vote in :class:`nepa_mm.evaluation.KNNAccuracy`.

    It ends the pipeline of the bank, behind ``PackInputs`` or any other packing, and sets ``knn_bank=True`` in the data sample.
    """

    def transform(self, results: dict) -> dict:
        """Set ``knn_bank`` in ``results['data_samples']``."""
        results['data_samples'].set_field(True, 'knn_bank')
        return results
