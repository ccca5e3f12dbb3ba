"""Several decode heads by name over one backbone: features are shared, and each head is trained and judged by itself."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleDict
from mmseg.models.decode_heads import DPTHead
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from nepa_mm.errors import ConfigError
from nepa_mm.registry import MODELS

from .segmentors import PaddedEncoderDecoder

AGREED = ('num_classes', 'out_channels', 'threshold', 'ignore_index', 'align_corners')  # which a segmentor asks its head for


@MODELS.register_module()
class NamedHeads(BaseModule):
    """Decode heads of mmseg on the same feature maps, in the place of one.

    Losses are named after their heads, ``decode.NAME.loss_ce``. Under any segmentor the first head is the one that predicts;
    :class:`MultiHeadEncoderDecoder` has all of them predict where it tests.

    Args:
        heads: Config of a decode head by its name; ``neck`` in it is the config of a neck before this head alone. Where the
            backbone gives pairs of feature map and [CLS], DPTHead gets the pairs, and the others the maps.
        **shared: Arguments of every head that does not say otherwise, such as ``num_classes`` and ``loss_decode``.

    Raises:
        ConfigError: For no head, a name that is not one of a variable or contains 'loss', which mmengine would sum, or heads
            that differ in classes, outputs, threshold, ``ignore_index`` or ``align_corners``.
    """

    def __init__(self, heads: dict[str, dict], init_cfg: dict | None = None, **shared) -> None:
        super().__init__(init_cfg)
        wrong = [name for name in heads if not name.isidentifier() or 'loss' in name]
        if wrong or not heads:
            raise ConfigError(f'{wrong[0]!r} is no name of a head' if wrong else 'there is no head', 'decode_head.heads',
                              "name each with letters and digits, without 'loss'")
        self.heads = ModuleDict({
            name: MMSEG_MODELS.build({**shared, **{key: value for key, value in head.items() if key != 'neck'}})
            for name, head in heads.items()})
        self.necks = ModuleDict({name: MMSEG_MODELS.build(head['neck']) for name, head in heads.items() if head.get('neck')})
        self.first = next(iter(heads))
        self.predicting = [self.first]
        for key in AGREED:
            values = {name: getattr(head, key) for name, head in self.heads.items()}
            for name, value in values.items():
                if value != values[self.first]:
                    raise ConfigError(f'{value} differs from that of {self.first!r}, {values[self.first]}',
                                      f'decode_head.heads.{name}.{key}', 'set them to the same')
            setattr(self, key, values[self.first])

    def inputs_of(self, name: str, inputs: Sequence) -> Sequence:
        """What a head gets of the backbone's outputs."""
        if not isinstance(inputs[0], Tensor) and not isinstance(self.heads[name], DPTHead):
            inputs = [featmap for featmap, _ in inputs]
        return self.necks[name](inputs) if name in self.necks else inputs

    def forward(self, inputs: Sequence) -> Tensor:
        """The first head's logits [B, C, h, w]."""
        return self.heads[self.first](self.inputs_of(self.first, inputs))

    def loss(self, inputs: Sequence, data_samples: list[SegDataSample], train_cfg: dict) -> dict[str, Tensor]:
        """Losses and accuracies of each head, by names that begin with the head's."""
        return {f'{name}.{key}': value for name, head in self.heads.items()
                for key, value in head.loss(self.inputs_of(name, inputs), data_samples, train_cfg).items()}

    def predict(self, inputs: Sequence, batch_img_metas: list[dict], test_cfg: dict) -> Tensor:
        """Logits of the heads that are ``predicting``, the first alone if nobody says otherwise, [B, heads * C, H, W]."""
        return torch.cat([self.heads[name].predict(self.inputs_of(name, inputs), batch_img_metas, test_cfg)
                          for name in self.predicting], dim=1)


@MODELS.register_module()
class MultiHeadEncoderDecoder(PaddedEncoderDecoder):
    """:class:`PaddedEncoderDecoder` whose :class:`NamedHeads` all predict, from one pass of the backbone.

    A sample's ``pred_sem_seg`` and ``seg_logits`` are the first head's, and ``pred_sem_seg_NAME`` that of each by its name, which
    ``nepa_mm.ExactIoUMetric(head=NAME)`` judges. Export and label maps of files are the first head's.

    Raises:
        ConfigError: For another decode head, beside those of :class:`PaddedEncoderDecoder`.
    """

    def __init__(self, backbone: dict, decode_head: dict, **kwargs) -> None:
        super().__init__(backbone, decode_head=decode_head, **kwargs)
        if not isinstance(self.decode_head, NamedHeads):
            raise ConfigError(f'{decode_head.get("type")!r} is one head', 'decode_head.type', "set 'nepa_mm.NamedHeads'")

    def inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Images [B, 3, H, W] -> logits of all heads one after the other, [B, heads * C, H, W]; whole or in windows."""
        heads, channels = self.decode_head, self.out_channels
        heads.predicting, self.out_channels = list(heads.heads), channels * len(heads.heads)  # of which windows are added up
        try:
            return super().inference(inputs, batch_img_metas)
        finally:
            heads.predicting, self.out_channels = [heads.first], channels

    def postprocess_result(self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """One sample for each image, with the label maps of all heads and the first head's logits."""
        logits = dict(zip(self.decode_head.heads, seg_logits.split(self.out_channels, dim=1), strict=True))
        found = {}
        for name in reversed(logits):  # the first head comes last: what is left in the samples is its own
            samples = super().postprocess_result(logits[name], data_samples)
            found[f'pred_sem_seg_{name}'] = [sample.pred_sem_seg for sample in samples]
        for name, maps in found.items():
            for sample, label_map in zip(samples, maps):
                sample.set_data({name: label_map})
        return samples
