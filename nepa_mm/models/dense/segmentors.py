"""mmseg's segmentors, where a patch does not divide an image, and of one output."""
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import CascadeEncoderDecoder
from mmseg.models import SegTTAModel as MMSegTTAModel
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.registry import MODELS

from .windows import EncoderDecoder


@MODELS.register_module()
class PaddedEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder``, windows at once, that stretches logits over the padded image and cuts the padding off.

    A patch of 14 pixels does not divide a crop of 512. The backbone pads it to 518, on the right and at the bottom, and the
    feature map covers 37 whole patches. mmseg's would stretch it over the 512 pixels, and every pixel would read its logits up to
    six pixels too far left and up. Labels are padded with ``ignore_index``, logits are cropped; in whole and in slide mode.

    Args:
        backbone: Config of a :class:`NEPAViT` with ``out_type='padded_featmap'``.

    Raises:
        ConfigError: For another ``out_type``, whose feature maps cover the image alone, or heads that ignore different labels.
    """

    def __init__(self, backbone: dict, **kwargs) -> None:
        super().__init__(backbone=backbone, **kwargs)
        out_type = getattr(self.backbone, 'out_type', None)
        if out_type != 'padded_featmap':
            raise ConfigError(f"{out_type!r} does not fit {type(self).__name__}, whose backbone gives 'padded_featmap'",
                              'out_type', 'set that, or mmseg.EncoderDecoder as the type of the model')
        self.ignore_index = None  # labels are padded once for all heads
        for key in ('decode_head', 'auxiliary_head'):
            part = getattr(self, key, None)
            for head in part if isinstance(part, nn.ModuleList) else [part] if part is not None else []:
                if self.ignore_index is None:
                    self.ignore_index = head.ignore_index
                if head.ignore_index != self.ignore_index:
                    raise ConfigError(f'{head.ignore_index} differs from decode_head.ignore_index={self.ignore_index}, with '
                                      f'which {type(self).__name__} pads labels', f'{key}.ignore_index', 'set them to the same')

    def padded_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the whole patches that cover an image of H x W pixels."""
        return tuple(cells * self.backbone.patch_size for cells in self.backbone.grid(image_size))

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Images [B, 3, H, W] -> logits [B, num_classes, H, W]."""
        height, width = inputs.shape[-2:]
        # mmseg's heads resize their logits to img_shape if it is a torch.Size, as in slide mode, and those of masks to pad_shape.
        padded = torch.Size(self.padded_size((height, width)))
        logits = super().encode_decode(inputs, [dict(meta, img_shape=padded, pad_shape=padded) for meta in batch_img_metas])
        return logits[..., :height, :width]

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of images [B, 3, H, W]; what is padded counts for nothing."""
        padded = self.padded_size(tuple(inputs.shape[-2:]))
        return super().loss(inputs, [self.with_padded_label(sample, padded) for sample in data_samples])

    def with_padded_label(self, sample: SegDataSample, size: tuple[int, int]) -> SegDataSample:
        """A sample whose label map [1, H, W] is of the padded size."""
        label = sample.gt_sem_seg.data
        height, width = label.shape[-2:]
        label = F.pad(label, (0, size[1] - width, 0, size[0] - height), value=self.ignore_index)
        return SegDataSample(metainfo=sample.metainfo, gt_sem_seg=PixelData(data=label))


@MODELS.register_module()
class PaddedCascadeEncoderDecoder(PaddedEncoderDecoder, CascadeEncoderDecoder):
    """:class:`PaddedEncoderDecoder` of heads each of which takes the logits of the one before, as OCRHead those of FCNHead.

    Args:
        num_stages: Number of heads.
        decode_head: Their configs, a list.
    """


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
