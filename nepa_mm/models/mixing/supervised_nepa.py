"""Two losses in one training: next embeddings, and labels by the mean output of the patches.

Shapes: B batch, L tokens, D width.
"""
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from nepa_mm.errors import DataError
from nepa_mm.models.nepa import NEPA
from nepa_mm.registry import MODELS


@MODELS.register_module()
class SupervisedNEPA(NEPA):
    """:class:`NEPA` and any classification head of mmpretrain on the mean of what the backbone predicts at the patches.

    mmengine adds the two up. Their weights are ``loss_weight`` of :class:`NextEmbeddingLoss` and of the head's own loss.
    ``mask_ratio`` hides patches from both.

    Args:
        cls_head: Config or module of a head that takes features [B, D], e.g. ``LinearClsHead``.
    """

    def __init__(self, cls_head: dict | nn.Module, **kwargs) -> None:
        super().__init__(**kwargs)
        self.cls_head = cls_head if isinstance(cls_head, nn.Module) else MODELS.build(cls_head)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses of normalised images [B, 3, H, W] with labels: NEPA's, and the head's with ``cls_`` before their names.

        Raises:
            DataError: If an image has no label.
        """
        if not data_samples or not all('gt_label' in sample or 'gt_score' in sample for sample in data_samples):
            raise DataError('SupervisedNEPA got an image without a label', 'train_dataloader.dataset',
                            'set with_label=True and end its pipeline with PackInputs')
        z = self.backbone.embed(inputs)  # [B, L, D]
        z_hat = self.backbone.predict(self.mask(z), inputs.shape[-2:])  # [B, L, D]
        features = z_hat[:, self.backbone.num_extra_tokens:].mean(dim=1)  # [B, D]
        supervised = self.cls_head.loss((features, ), data_samples)
        return {**self.head(z_hat, self.targets(inputs, z)), **{f'cls_{name}': value for name, value in supervised.items()}}
