"""The next-embedding loss (arXiv 2512.16922, section 3.1 and Algorithm 1). Shift and stop-gradient live only here."""
import torch.nn.functional as F
from torch import Tensor, nn

from nepa_mm.errors import ConfigError, checked_choice
from nepa_mm.registry import MODELS

from .compiled import compiled_in_training

# Distances of unit vectors [..., D] -> [...]. The paper uses the negative cosine, and allows any suitable one.
DISTANCES = {
    'cosine': lambda p, t: -(p * t).sum(-1),
    'l2': lambda p, t: (p - t).square().sum(-1),
    'smooth_l1': lambda p, t: F.smooth_l1_loss(p, t, reduction='none').sum(-1),
}


@MODELS.register_module()
class NextEmbeddingLoss(nn.Module):
    """Mean distance of the prediction at position t to the embedding at t + 1.

    Args:
        distance: 'cosine' (negative cosine similarity), 'l2' (squared) or 'smooth_l1', of normalised embeddings.
        shift: Compare with the next embedding; False compares with the same position (Table 1a: fails).
        stop_grad: Treat the target as a constant; False lets gradients reach it (Table 1a: collapses).
        loss_weight: Factor of ``loss`` beside other losses; ``cosine`` and ``collapse`` are reported as they are.
        compile: Run through ``torch.compile`` while training; needs a C++ compiler.
    """

    def __init__(self, distance: str = 'cosine', shift: bool = True, stop_grad: bool = True, loss_weight: float = 1.,
                 compile: bool = False) -> None:
        super().__init__()
        self.distance = checked_choice('distance', distance, DISTANCES)
        self.shift, self.stop_grad, self.loss_weight = shift, stop_grad, loss_weight
        self.compiled = compile

    @compiled_in_training
    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare predictions with targets, both [B, L, D] (batch, tokens, width), in float32 whatever their type.

        Returns ``loss``, ``cosine`` (mean similarity of prediction and target, 1 at best) and, for two images or more,
        ``collapse`` (:func:`mean_pairwise_cosine` of the targets).

        Raises:
            ConfigError: With ``shift``, for sequences of one token.
        """
        if self.shift:
            if target.shape[1] < 2:
                raise ConfigError('an image of 1 token has no next one to predict', 'model.backbone',
                                  'use larger images or smaller patches')
            prediction, target = prediction[:, :-1], target[:, 1:]
        if self.stop_grad:
            target = target.detach()
        p, t = F.normalize(prediction.float(), dim=-1), F.normalize(target.float(), dim=-1)
        loss = DISTANCES[self.distance](p, t).mean()
        result = dict(loss=self.loss_weight * loss, cosine=(p * t).sum(-1).mean().detach())
        if len(t) > 1:
            result['collapse'] = mean_pairwise_cosine(t.detach())
        return result


def mean_pairwise_cosine(unit: Tensor) -> Tensor:
    """Mean cosine over all pairs of different images at the same position, of unit vectors [B, L, D].

    It nears 1 when every image gets the same embeddings: representations have collapsed.
    """
    batch, length, _ = unit.shape
    # |sum of unit vectors|^2 = B + the sum over ordered pairs of different images
    pairs = unit.sum(0).square().sum() / length - batch
    return pairs / (batch * (batch - 1))
