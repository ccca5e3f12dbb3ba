"""How many dimensions the features of a model really use: measures of quality that need no labels.

Shapes: N images, D width.
"""
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from nepa_mm.errors import ConfigError
from nepa_mm.registry import METRICS

from .feature_metric import FeatureMetric


def effective_rank(values: Tensor) -> float:
    """exp of the entropy of non-negative numbers as shares of their sum: n for n equal ones, 1 for a single one above 0."""
    shares = values / values.sum()
    return torch.special.entr(shares).sum().exp().item()


def rankme(features: Tensor) -> float:
    """RankMe (arXiv 2210.02885, section 3.2): effective rank of the singular values of features [N, D], not centred."""
    return effective_rank(torch.linalg.svdvals(features.double()))


def lidar(features: Tensor, images: Tensor) -> float:
    """LiDAR (arXiv 2312.04000, section 4): effective rank of the matrix of linear discriminant analysis, each image a class.

    Args:
        features: [N, D], several views of each image.
        images: Number of the image [N], from 0 without gaps, that each is a view of.
    """
    features = features.double()
    counts = images.bincount().double()
    means = torch.zeros(len(counts), features.shape[1], dtype=features.dtype).index_add_(0, images, features) / counts[:, None]
    between = (means - means.mean(0)) / len(means) ** 0.5
    within = (features - means[images]) / (counts[images] * len(means)).sqrt()[:, None]
    within = within.T @ within + 1e-4 * torch.eye(features.shape[1], dtype=features.dtype)  # the source's delta
    # S_w^-1/2 S_b S_w^-1/2 has the squared singular values of S_b's root behind any root of S_w
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(within), between.T, upper=False)
    return effective_rank(torch.linalg.svdvals(whitened).square())


class RankMetric(FeatureMetric):
    """One number of the features of all images."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the feature and the name of each image, in the loader's order."""
        self.results += [(self.feature_of(sample), sample.get('img_path') or sample.get('sample_idx')) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return self.measure(self.features_of(results), [name for _, name in results])


@METRICS.register_module()
class RankMe(RankMetric):
    """``rankme`` of the validation's features, from 1 (collapsed) to their width; more is better, of one method and width.

    The source takes 25,600 images; with fewer than ten times the width the number of images holds it down.
    """

    def measure(self, features: Tensor, names: list) -> dict[str, float]:
        return dict(rankme=rankme(features))


@METRICS.register_module()
class LiDAR(RankMetric):
    """``lidar`` of the validation's features, from 1 to the smaller of their width and the number of images less one.

    Each image must come in several views: a ``RepeatDataset`` of images whose pipeline crops at random. The source takes 1,000
    images in 50 views.

    Raises:
        ConfigError: Also for an image that comes once.
    """

    def measure(self, features: Tensor, names: list) -> dict[str, float]:
        views = defaultdict(int)
        for name in names:
            views[name] += 1
        if once := [name for name, count in views.items() if count == 1 or name is None]:
            raise ConfigError(f'{once[0]!r} comes in one view', 'val_dataloader.dataset',
                              "wrap it: dict(type='RepeatDataset', times=10, dataset=...), with random crops in its pipeline")
        numbers = {name: number for number, name in enumerate(views)}
        return dict(lidar=lidar(features, torch.tensor([numbers[name] for name in names])))
