"""What the benchmark of inference compares, on few images."""
import json
import sys
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image
from test_benchmark_loader import load

from nepa_mm.errors import ConfigError


def test_it_takes_turns_with_timm_and_mmpretrain(tmp_path, monkeypatch, capsys):
    benchmark = load('benchmark_inference')
    (tmp_path / 'images/class').mkdir(parents=True)
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/class/{i}.jpg')
    monkeypatch.setattr(benchmark, 'WAYS', dict(float32={}, amp=dict(amp=True)))
    monkeypatch.setattr(sys, 'argv', [
        '', str(tmp_path / 'images'), '--archs', 'tiny', '--turns', '1', '--turn-images', '2', '--batch-size', '2', '--images',
        '60', '--workers', '0', '--device', 'cpu', '--json', str(tmp_path / 'inference.json')])
    benchmark.main(benchmark.parse_args())
    found = json.loads((tmp_path / 'inference.json').read_text())
    assert {name: each['images'] for name, each in found['main'].items()} == {
        'features': 50, 'classes': 50, 'features, mmpretrain': 20, 'classes, mmpretrain': 20}
    assert all(each['us'] > 0 for each in found['main'].values())
    assert {name: each['images'] for name, each in found['timm'].items()} == dict(stub=6, tiny=2)
    assert all(len(each['ours_of_timm']['pairs']) == 1 for each in found['timm'].values())
    assert found['faster']['tiny']['float32']['faster']['median'] == 1 and found['faster']['tiny']['amp']['images_per_s'] > 0
    assert '| tiny, amp | ' in capsys.readouterr().out


def test_growth_is_told_from_what_was_there():
    found = load('benchmark_inference').growth([(10, 1., 500.), (20, 2., 530.), (110, 3., 510.)])
    assert found == dict(images=100, us=pytest.approx(20_000), mb=30.)


def test_few_images_are_some_or_refused(tmp_path, monkeypatch):
    benchmark = load('benchmark_inference')
    assert benchmark.turns_of('base', 9, Namespace(turn_images=4, batch_size=64, device=torch.device('cpu'))) == (1, 1)
    monkeypatch.setattr(sys, 'argv', ['', str(tmp_path), '--images', '100'])
    with pytest.raises(ConfigError, match=r'^100 is less than six batches.* \| --images \| give 384 or more'):
        benchmark.parse_args()
