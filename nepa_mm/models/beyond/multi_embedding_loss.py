"""Predict the next K embeddings instead of one, by any of three distances (arXiv 2610.02203)."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nepa_mm.errors import ConfigError, checked_choice
from nepa_mm.models.compiled import compiled_in_training
from nepa_mm.models.next_embedding_loss import mean_pairwise_cosine
from nepa_mm.registry import MODELS


def cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean negative cosine similarity, as of :class:`NextEmbeddingLoss`."""
    return -(F.normalize(prediction, dim=-1) * F.normalize(target, dim=-1)).sum(-1).mean()


def infonce(prediction: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of finding each prediction's own target among all those of its image, by raw dot products."""
    with torch.autocast(prediction.device.type, enabled=False):
        logits = prediction @ target.transpose(1, 2)  # [B, L, L]
    own = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.flatten(0, 1), own.flatten())


# Of predictions and targets [B, L, D], as they are, to one number.
DISTANCES = {'cosine': cosine, 'mse': F.mse_loss, 'infonce': infonce}


@MODELS.register_module()
class MultiEmbeddingLoss(nn.Module):
    """Mean distance, over the next K embeddings, of what is predicted at position t to the embedding at t + k.

    The next embedding is predicted by the backbone's own output, as in NEPA, and each later one by a linear map of that output,
    which starts as the identity and is thrown away after training. With K = 1 and the cosine this is :class:`NextEmbeddingLoss`.
    How the source makes its K predictions was not at hand; linear maps, one for each, are those of multi-token prediction in
    language (arXiv 2404.19737). InfoNCE's keys are the targets of the same image at the same distance k, so that the right one
    of position t is the t-th.

    Args:
        embed_dims: Width D of the embeddings.
        num_predictions: K; at most the number of tokens less one.
        distance: 'cosine' (negative cosine similarity), 'mse' (mean squared error of the raw embeddings) or 'infonce'.
        stop_grad: Treat the targets as constants.
        loss_weight: Factor of ``loss``; ``cosine`` and ``collapse`` are reported as they are.
        compile: Run through ``torch.compile`` while training; needs a C++ compiler.

    Raises:
        ConfigError: For an unknown distance or a K that is no positive number.
    """

    def __init__(self, embed_dims: int, num_predictions: int = 1, distance: str = 'cosine', stop_grad: bool = True,
                 loss_weight: float = 1., compile: bool = False) -> None:
        super().__init__()
        if not isinstance(num_predictions, int) or num_predictions < 1:
            raise ConfigError(f'{num_predictions!r} embeddings cannot be predicted', 'num_predictions', 'give 1 or more')
        self.distance = checked_choice('distance', distance, DISTANCES)
        self.num_predictions, self.stop_grad, self.loss_weight, self.compiled = num_predictions, stop_grad, loss_weight, compile
        self.later = nn.ModuleList(nn.Linear(embed_dims, embed_dims) for _ in range(num_predictions - 1))
        for layer in self.later:
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)

    @compiled_in_training
    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare outputs with embeddings, both [B, L, D] (batch, tokens, width), in float32 whatever their type.

        Returns ``loss``, ``cosine`` (mean similarity of the next embedding and its prediction, 1 at best) and, for two images
        or more, ``collapse`` (:func:`mean_pairwise_cosine` of the next embeddings).

        Raises:
            ConfigError: For sequences of K tokens or fewer.
        """
        if target.shape[1] <= self.num_predictions:
            raise ConfigError(
                f'an image of {target.shape[1]} tokens has no {self.num_predictions} next ones', 'model.head.num_predictions',
                f'give at most {target.shape[1] - 1}, or use larger images or smaller patches')
        if self.stop_grad:
            target = target.detach()
        target = target.float()
        distances = []
        for k in range(1, self.num_predictions + 1):
            predicted = prediction[:, :-k] if k == 1 else self.later[k - 2](prediction[:, :-k])
            distances.append(DISTANCES[self.distance](predicted.float(), target[:, k:]))
        p, t = F.normalize(prediction[:, :-1].float(), dim=-1).detach(), F.normalize(target[:, 1:], dim=-1).detach()
        result = dict(loss=self.loss_weight * torch.stack(distances).mean(), cosine=(p * t).sum(-1).mean())
        if len(t) > 1:
            result['collapse'] = mean_pairwise_cosine(t)
        return result
