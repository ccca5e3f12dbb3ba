"""Make of labels what losses and metrics take, on the device."""
from mmseg.models import SegDataPreProcessor as MMSegDataPreProcessor

from nepa_mm.models.any_channels import AnyChannels
from nepa_mm.registry import MODELS


@MODELS.register_module()
class SegDataPreProcessor(AnyChannels, MMSegDataPreProcessor):
    """mmseg's ``SegDataPreProcessor`` for labels of any whole numbers, such as the bytes of ``nepa_mm.PackSegInputs``.

    They are sent to the device as they are and become int64 there, before they are padded.
    Images may have any number of channels.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise and pad ``inputs`` and the label maps ``gt_sem_seg`` [1, H, W] of ``data_samples``, which may be missing."""
        data = self.cast_data(data)
        for sample in data.get('data_samples') or []:
            if 'gt_sem_seg' in sample:
                sample.gt_sem_seg.data = sample.gt_sem_seg.data.long()
        return super().forward(data, training)
