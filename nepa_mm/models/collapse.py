"""Whether representations have collapsed: every image gets the same embeddings."""
from torch import Tensor


def mean_pairwise_cosine(unit: Tensor) -> Tensor:
    """Mean cosine over all pairs of different images at the same position, of unit vectors [B, L, D].

    It nears 1 when every image gets the same embeddings: representations have collapsed.
    """
    batch, length, _ = unit.shape
    # |sum of unit vectors|^2 = B + the sum over ordered pairs of different images
    pairs = unit.sum(0).square().sum() / length - batch
    return pairs / (batch * (batch - 1))
