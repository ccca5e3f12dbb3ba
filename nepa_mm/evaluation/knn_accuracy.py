"""Accuracy of a weighted nearest-neighbour classifier on frozen features (Wu et al., arXiv 1805.01978; DINO, arXiv 2104.14294).

Shapes: N images of the bank, M queries, D width, K neighbours, C classes.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from torch import Tensor

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.registry import METRICS

from .feature_metric import FeatureMetric

CHUNK = 2**26  # similarities held at once; with what goes with them about 1 GB


@METRICS.register_module()
class KNNAccuracy(FeatureMetric):
    """Top-1 accuracy in percent, ``knn/top1_k20``, of queries that the labelled images of a bank vote on.

    Both come through one ``val_dataloader``: its dataset is a ``ConcatDataset`` of the bank, whose pipeline ends with
    ``nepa_mm.KNNBank``, and of the queries. The features come from ``nepa_mm.FeatureValLoop``. With several processes the first
    one votes, on its GPU if it has one, where the bank takes 2 * N * D * 4 bytes (ImageNet-1k with a width of 768: 8 GB).

    Args:
        k: Number of neighbours that vote, or several numbers.
        temperature: A neighbour's vote counts ``exp(cosine / temperature)``.
        **kwargs: ``prefix``, ``collect_device``, ... of mmengine's ``BaseMetric``.

    Raises:
        ConfigError: For a ``k`` or ``temperature`` that is not positive, a ``k`` above N, without bank or queries, for data
            samples without feature, or for features that are not finite.
        DataError: For an image without a label.
    """

    default_prefix = 'knn'

    def __init__(self, k: int | Sequence[int] = 20, temperature: float = 0.07, **kwargs) -> None:
        self.ks = [k] if isinstance(k, int) else list(k)
        if not self.ks or any(not isinstance(k, int) or k < 1 for k in self.ks):
            raise ConfigError(f'{k!r} is no positive number of neighbours, nor a list of such', 'k', 'give one, such as 20')
        if not temperature > 0:
            raise ConfigError(f'{temperature!r} is not positive', 'temperature', 'DINO uses 0.07')
        self.temperature = temperature
        super().__init__(**kwargs)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep feature, label and part of each image.

        One result an image in the loader's order: that is what lets ``collect_results`` put the order of the dataset together
        again from all processes, and then cut off the images with which the sampler filled the last round up.
        """
        for sample in data_samples:
            feature, label = self.feature_of(sample), sample.get('gt_label')
            if label is None or label.numel() != 1:
                raise DataError(f'{sample.get("img_path", "an image")!r} has no label, or several', 'val_dataloader.dataset',
                                'KNNAccuracy needs one for each image of bank and queries (with_label=True)')
            self.results.append((feature, int(label), bool(sample.get('knn_bank', False))))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Accuracy in percent for each k."""
        labels, is_bank = (torch.tensor(column) for column in list(zip(*results))[1:])
        num_bank = int(is_bank.sum())
        if num_bank == 0:
            raise ConfigError('KNNAccuracy found no bank among the images', 'val_dataloader.dataset',
                              "end the pipeline of the labelled images that vote with dict(type='nepa_mm.KNNBank')")
        if num_bank == len(results):
            raise ConfigError('KNNAccuracy found no queries, all images are of the bank', 'val_dataloader.dataset',
                              "give a ConcatDataset of bank and queries, the latter without 'nepa_mm.KNNBank'")
        if max(self.ks) > num_bank:
            raise ConfigError(f'{max(self.ks)} is more than the {num_bank} images of the bank', 'val_evaluator.k',
                              'choose a smaller k or a larger bank')
        features = self.features_of(results)
        num_classes = int(labels.max()) + 1
        bank, bank_labels, queries, labels = (part.to(get_device()) for part in (
            features[is_bank], labels[is_bank], features[~is_bank], labels[~is_bank]))
        similarity, nearest = nearest_labels(bank, bank_labels, queries, max(self.ks))
        predictions = {k: vote(similarity[:, :k], nearest[:, :k], self.temperature, num_classes) for k in self.ks}
        return {f'top1_k{k}': 100 * (classes == labels).double().mean().item() for k, classes in predictions.items()}


def knn_predict(bank: Tensor, bank_labels: Tensor, queries: Tensor, k: int, temperature: float, num_classes: int) -> Tensor:
    """Classes [M] of the queries [M, D] by the votes of their k <= N nearest among the bank [N, D] with labels [N].

    Nearness is cosine similarity, a vote counts ``exp(similarity / temperature)``. Of equally near images those that come
    first in the bank are chosen; of classes with equal votes the one with the smallest number wins.
    """
    similarity, labels = nearest_labels(bank, bank_labels, queries, k)
    return vote(similarity, labels, temperature, num_classes)


def nearest_labels(bank: Tensor, bank_labels: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosine similarities and labels, both [M, K], of the k nearest images of the bank, nearest first."""
    similarity, index = nearest(F.normalize(bank.float(), dim=1), F.normalize(queries.float(), dim=1), k)
    return similarity, bank_labels[index]


def nearest(bank: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Products with, and places of, the k nearest vectors of a bank [N, D] to each query [M, D], both [M, K], nearest first."""
    found = []
    for part in queries.split(max(1, CHUNK // len(bank))):
        similarity = part @ bank.T  # [m, N]
        # topk chooses as it likes among equals, of which collapsed features have many: choose them here
        kth = similarity.topk(k).values[:, -1:]
        above, equal = similarity > kth, similarity == kth
        wanted = k - above.sum(dim=1, keepdim=True)
        chosen = above | equal & (equal.cumsum(dim=1, dtype=torch.int32) <= wanted)
        index = chosen.nonzero()[:, 1].view(-1, k)  # [m, K], rising
        similarity, order = similarity.gather(1, index).sort(dim=1, descending=True, stable=True)
        found.append((similarity, index.gather(1, order)))
    similarities, places = zip(*found)
    return torch.cat(similarities), torch.cat(places)


def vote(similarity: Tensor, labels: Tensor, temperature: float, num_classes: int) -> Tensor:
    """Winning classes [M] from similarities and labels [M, K] of the neighbours, nearest first."""
    # Votes relative to the nearest neighbour's: the same winner, and no overflow at low temperatures
    weights = ((similarity - similarity[:, :1]) / temperature).exp()
    votes = weights.new_zeros(len(weights), num_classes)
    for column, weight in zip(labels.split(1, dim=1), weights.split(1, dim=1)):
        votes.scatter_add_(1, column, weight)  # one neighbour at a time, so that the order of the sums is fixed
    return votes.argmax(dim=1)
