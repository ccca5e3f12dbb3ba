import math

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from nepa_mm.errors import ConfigError
from nepa_mm.evaluation.feature_rank import effective_rank, lidar, rankme
from nepa_mm.registry import METRICS


def with_singular_values(values, rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(size, len(values), generator=generator, dtype=torch.float64))[0]
                   for size in (rows, columns))
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T


@pytest.mark.parametrize('rank', [1, 3, 16])
def test_rankme_of_a_matrix_of_equal_singular_values_is_its_rank(rank):
    assert rankme(with_singular_values([2.] * rank, 100, 16)) == pytest.approx(rank, rel=1e-6)


def test_rankme_is_the_entropy_of_numpys_singular_values():
    features = np.random.default_rng(0).normal(size=(50, 8)) * np.arange(1, 9) + 1
    values = np.linalg.svd(features, compute_uv=False)
    shares = values / values.sum()
    assert rankme(torch.from_numpy(features)) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-9)
    assert effective_rank(torch.tensor([3., 1.])) == pytest.approx(4 / 3**0.75)  # by hand


def views_of(means, spread, times=40, seed=0):
    """Views of images with given means, spread around them alike in each direction; the means of the views are exact."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(means), times, means.shape[1], generator=generator, dtype=torch.float64)
    noise -= noise.mean(1, keepdim=True)
    return (means[:, None] + spread * noise).flatten(0, 1), torch.arange(len(means)).repeat_interleave(times)


def test_lidar_counts_the_directions_in_which_images_differ_more_than_their_views():
    means = with_singular_values([30., 30., 30.], 64, 8)
    means -= means.mean(0)
    features, images = views_of(means, spread=0.1)
    assert lidar(features, images) == pytest.approx(3, rel=0.05)
    assert rankme(features) > 3.5  # which takes the spread of views for dimensions that are used


def test_lidar_is_the_definition_written_with_loops():
    generator = np.random.default_rng(0)
    features, images = generator.normal(size=(60, 4)) * [1, 2, 3, 4], np.arange(60) % 12
    features += generator.normal(size=(12, 4))[images]
    means = np.stack([features[images == i].mean(0) for i in range(12)])
    between = sum(np.outer(m - means.mean(0), m - means.mean(0)) for m in means) / 12
    within = sum(np.outer(f - means[i], f - means[i]) for f, i in zip(features, images)) / 60 + 1e-4 * np.eye(4)
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    found = np.linalg.eigvalsh(root @ between @ root)
    shares = found / found.sum()
    expected = math.exp(-(shares * np.log(shares)).sum())
    assert lidar(torch.from_numpy(features), torch.from_numpy(images)) == pytest.approx(expected, rel=1e-6)


def evaluated(kind, features, names):
    metric = METRICS.build(dict(type=f'nepa_mm.{kind}'))
    for feature, name in zip(features, names):
        metric.process({}, [DataSample(feature=feature, metainfo=dict(img_path=name)).to_dict()])
    return metric.evaluate(len(features))


def test_metrics_take_the_features_of_the_validation_loop():
    features = torch.randn(12, 4)
    names = [f'{i // 3}.png' for i in range(12)]
    assert evaluated('RankMe', features, names) == {'rankme': pytest.approx(rankme(features))}
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))  # views need not come side by side
    expected = lidar(features, torch.arange(12) // 3)
    assert evaluated('LiDAR', features[order], [names[i] for i in order]) == {'lidar': pytest.approx(expected, rel=1e-6)}


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match=r"'b.png' comes in one view \| val_dataloader.dataset \| wrap it: .*RepeatDataset"):
        evaluated('LiDAR', torch.randn(3, 4), ['a.png', 'a.png', 'b.png'])
    with pytest.raises(ConfigError, match='RankMe found features that are not finite'):
        evaluated('RankMe', torch.full((3, 4), torch.nan), ['a', 'b', 'c'])
    with pytest.raises(ConfigError, match=r'LiDAR found no features \| val_evaluator'):
        METRICS.build(dict(type='nepa_mm.LiDAR')).process({}, [{}])
