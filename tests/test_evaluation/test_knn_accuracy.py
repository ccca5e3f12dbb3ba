import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import METRICS
from mmpretrain.structures import DataSample

from nepa_mm.datasets import KNNBank
from nepa_mm.errors import ConfigError, DataError
from nepa_mm.evaluation import knn_accuracy, knn_predict
from tiny import ROOT


def naive(bank, labels, queries, k, temperature, num_classes):
    """DINO's rule, one query and one neighbour at a time."""
    predictions = []
    for query in queries.double():
        cosine = [float(query @ image / query.norm() / image.norm()) for image in bank.double()]
        votes = [0.] * num_classes
        for i in sorted(range(len(bank)), key=lambda i: (-cosine[i], i))[:k]:
            votes[labels[i]] += math.exp(cosine[i] / temperature)
        predictions.append(votes.index(max(votes)))
    return predictions


@pytest.mark.parametrize('k', [1, 3, 20])
@pytest.mark.parametrize('temperature', [0.07, 1.])
@pytest.mark.parametrize('chunk', [2**26, 120])  # all queries at once; three at a time
def test_agrees_with_a_naive_loop(k, temperature, chunk, monkeypatch):
    monkeypatch.setattr(knn_accuracy, 'CHUNK', chunk)
    bank, queries, labels = torch.randn(40, 6), torch.randn(25, 6), torch.randint(5, (40, ))
    expected = naive(bank, labels, queries, k, temperature, 5)
    assert knn_predict(bank, labels, queries, k, temperature, 5).tolist() == expected and len(set(expected)) > 2


def test_by_hand():
    # Angles to the query (1, 0): 0, 60, 60 degrees; cosines 1, 1/2, 1/2
    bank = torch.tensor([[5., 0.], [1., math.sqrt(3)], [1., -math.sqrt(3)]])
    labels, query = torch.tensor([0, 1, 1]), torch.tensor([[2., 0.]])
    assert knn_predict(bank, labels, query, 1, 0.07, 2).tolist() == [0]
    # One vote of e^(1/T) against two of e^(1/2T): equal at T = 1 / (2 ln 2) = 0.72
    assert knn_predict(bank, labels, query, 3, 0.71, 2).tolist() == [0]
    assert knn_predict(bank, labels, query, 3, 0.73, 2).tolist() == [1]
    assert knn_predict(bank, labels, query, 3, 1e-4, 2).tolist() == [0]  # e^10000 would be infinite


def test_ties_go_to_the_first_images_and_the_smallest_class():
    bank = torch.ones(100, 4)  # collapsed
    labels = torch.arange(100) % 10
    assert knn_predict(bank, labels.flip(0), torch.ones(2, 4), 1, 0.07, 10).tolist() == [9, 9]
    assert knn_predict(bank, labels.flip(0), torch.ones(2, 4), 3, 0.07, 10).tolist() == [7, 7]  # of 9, 8, 7 one vote each


def sample(feature, label, bank=False):
    result = DataSample()
    result.set_field(torch.tensor(feature), 'feature')
    if label is not None:
        result.set_gt_label(label)
    if bank:
        KNNBank()(dict(data_samples=result))
    return result.to_dict()


BANK = [sample([1., 0.], 0, bank=True), sample([0., 1.], 1, bank=True), sample([0.1, 1.], 1, bank=True)]


def evaluate(samples, size=None, **kwargs):
    metric = METRICS.build(dict(type='nepa_mm.KNNAccuracy', **kwargs))
    metric.process({}, samples)
    return metric.evaluate(size or len(samples))


def test_accuracy_in_percent_for_each_k():
    queries = [sample([1., 0.1], 0), sample([0., 2.], 1), sample([2., 0.], 0), sample([3., 0.], 1)]
    assert evaluate(BANK + queries, k=[1, 3]) == {'knn/top1_k1': 75., 'knn/top1_k3': 75.}
    assert evaluate(BANK + queries, k=3, temperature=100., prefix='far') == {'far/top1_k3': 50.}  # the majority is of class 1
    assert evaluate(queries[:1] + BANK[::-1] + queries[1:], k=1) == {'knn/top1_k1': 75.}  # any order
    assert evaluate(BANK + queries[:2] + BANK[:1], size=5, k=3, temperature=100.) == {'knn/top1_k3': 50.}  # padding is cut off


@pytest.mark.parametrize('samples, kwargs, error, message', [
    (BANK, dict(k=1), ConfigError, "found no queries.*without 'nepa_mm.KNNBank'"),
    ([sample([1., 0.], 0)], dict(k=1), ConfigError, "found no bank.*end the pipeline.*type='nepa_mm.KNNBank'"),
    (BANK + [sample([1., 0.], 0)], dict(k=[1, 4]), ConfigError, r'4 is more than the 3 images of the bank \| val_evaluator.k'),
    (BANK + [sample([1., 0.], None)], dict(k=1), DataError, r'no label.*with_label=True'),
    (BANK + [sample([math.nan, 0.], 0)], dict(k=1), ConfigError, r'not finite.* \| optim_wrapper.optimizer.lr \| .*smaller'),
    ([{}], dict(k=1), ConfigError, r"no features.* \| set val_cfg.type='nepa_mm.FeatureValLoop'"),
    ([], dict(k=0), ConfigError, r'^0 is no positive number .* \| k'),
    ([], dict(k=[]), ConfigError, r'^\[\] is no positive number .* \| k'),
    ([], dict(temperature=0.), ConfigError, r'^0.0 is not positive \| temperature'),
])
def test_errors(samples, kwargs, error, message):
    with pytest.raises(error, match=message) as raised:
        evaluate(samples, **kwargs)
    assert '\n' not in str(raised.value)


def test_the_config_takes_bank_and_queries_from_their_own_images():
    config = 'nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k'
    cfg, plain = (Config.fromfile(ROOT / f'configs/pretrain/{config}{variant}.py') for variant in ('-knn', ''))
    bank, queries = cfg.val_dataloader.dataset.datasets
    assert (bank.split, queries.split) == ('train', 'val') and cfg.val_dataloader.sampler.shuffle is False
    assert bank.pipeline == [*queries.pipeline, dict(type='nepa_mm.KNNBank')]
    METRICS.build(cfg.val_evaluator)
    for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_dataloader'):  # it trains the same
        assert cfg[key] == plain[key]
    assert cfg.custom_hooks == [dict(plain.custom_hooks[0], evaluate_on_origin=True)]
    assert cfg.train_cfg == dict(plain.train_cfg, val_interval=100)
