"""Test-time augmentation of a segmentor, of one output as well."""
import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel as MMSegTTAModel
from mmseg.structures import SegDataSample

from nepa_mm.registry import MODELS


@MODELS.register_module()
class SegTTAModel(MMSegTTAModel):
    """mmseg's ``SegTTAModel``, which means over the probabilities of the versions of an image, right for one output too.

    With one output mmseg's segmentors give the sigmoid already, and its ``SegTTAModel`` takes it once more: all pixels are above
    0.5 then.
    """

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """One sample for each image of several versions, whose ``seg_logits`` are [C, H, W], or probabilities [1, H, W]."""
        if self.module.out_channels > 1:
            return super().merge_preds(data_samples_list)
        merged = []
        for versions in data_samples_list:
            sample = versions[0]  # with labels and path
            mean = torch.stack([version.seg_logits.data for version in versions]).mean(0)  # [1, H, W]
            predicted = (mean > self.module.decode_head.threshold).to(mean)
            sample.set_data(dict(seg_logits=PixelData(data=mean), pred_sem_seg=PixelData(data=predicted)))
            merged.append(sample)
        return merged
