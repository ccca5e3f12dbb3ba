"""What the loader's benchmark compares, and how curves are compared."""
import importlib.util
import json
import sys

import numpy as np
import pytest
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image

from nepa_mm.errors import ConfigError
from tiny import ROOT


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/analysis_tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / 'tools/analysis_tools'))  # as where it is started
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def test_pipelines_see_the_same_crops(tmp_path, capsys):
    benchmark = load('benchmark_loader')
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    paths = [str(tmp_path / f'{i}.jpg') for i in range(2)]
    for path in paths:
        Image.fromarray(pixels).save(path)
    init_default_scope('mmpretrain')
    times, differences = benchmark.measure_pipelines(paths, 1)
    DefaultScope._instance_dict.clear()
    assert list(times)[:6] == ['authors', 'mm', 'before', 'torchvision', 'whole', 'images_224.py']
    assert all(len(each) == 1 for each in times.values())
    assert all(differences[name]['max'] == 0 for name in ('mm', 'whole', 'images_224.py'))
    assert all(differences[name]['max'] <= 2 for name in list(times)[6:])
    assert all(0 < differences[name]['mean'] < 0.1 and differences[name]['max'] <= 2 for name in ('before', 'torchvision'))
    table = benchmark.show('pipeline', dict(slow=[4., 6., 2.], fast=[1., 2., 1.]))
    assert table['fast']['ratio'] == 3 and table['fast']['us'] == 1 and table['slow']['ratios'] == [1, 1, 1]
    assert '| fast | 1 | 1,000,000 | 3.00 (2.00 to 4.00) |  |' in capsys.readouterr().out


def test_curves_are_held_against_the_plain_one_and_against_chance(tmp_path, monkeypatch, capsys):
    compare = load('compare_curves')
    runs = []

    def train(config, options, seed, folder):
        runs.append((config, options, seed))
        return np.linspace(0, -1, 30) + (0.01 if 'fast=True' in options else 0) + 0.1 * (seed - 1337)

    monkeypatch.setattr(compare, 'train', train)
    monkeypatch.setattr(sys, 'argv', ['', 'a.py', '--steps', '20', '--change', 'fast=True', '--cfg-options', 'lr=1', '--json',
                                      str(tmp_path / 'curves.json')])
    compare.main(compare.parse_args())
    assert runs == [('a.py', ['lr=1'], 1337), ('a.py', ['lr=1', 'fast=True'], 1337), ('a.py', ['lr=1'], 1338)]
    numbers = json.loads((tmp_path / 'curves.json').read_text())['numbers']
    assert numbers['changed']['largest'] == pytest.approx(0.01) and numbers['seed']['mean'] == pytest.approx(0.1)
    assert '| fast=True | 0.01000 |' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['', 'a.py', '--change', 'fast=True'])
    with pytest.raises(ConfigError, match=r'^200: a.py trains for 30 \| --steps \| set train_cfg.max_epochs$'):
        compare.main(compare.parse_args())


def test_segmentation_takes_turns_with_mmseg(tmp_path, monkeypatch):
    benchmark = load('benchmark_loader')
    monkeypatch.setattr(benchmark, 'COUNT', 10)
    for folder, form, shape in (('images', 'jpg', (60, 80, 3)), ('annotations', 'png', (60, 80))):
        (tmp_path / folder / 'training').mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 150, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / folder / f'training/a.{form}')
    init_default_scope('mmseg')
    times, off = benchmark.measure_segmentation(benchmark.labelled_images(tmp_path), 1)
    DefaultScope._instance_dict.clear()
    assert list(times) == ['before', 'mmseg', 'ade20k_512.py'] and all(len(each) == 1 for each in times.values())
    assert off['ade20k_512.py'] == dict(max=0, mean=0) and list(off) == ['mmseg', 'ade20k_512.py']
