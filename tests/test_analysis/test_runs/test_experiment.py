from collections import Counter
from pathlib import Path
from threading import Barrier

import pytest

from nepa_mm.analysis.runs.experiment import Row, Training, configured, list_of_labels, settings_of, train_all, trainings_of
from nepa_mm.errors import DataError
from nepa_mm.launch.read_config import read_config


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Empty files where CIFAR-10 has its training images: three classes of 40."""
    for label in range(3):
        folder = tmp_path / f'data/cifar10/train/{label}_class'
        folder.mkdir(parents=True)
        for i in range(40):
            (folder / f'{i}.jpg').touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'data/cifar10/train'


def test_a_list_has_as_many_images_of_each_class(images):
    lines = list_of_labels('10pct', 0, Path('out')).read_text().splitlines()
    assert Counter(line.split('/')[0] for line in lines) == {f'{label}_class': 4 for label in range(3)}
    assert len(set(lines)) == 12 and all((images / line.split()[0]).is_file() for line in lines)
    assert all(line[0] == line.split()[1] for line in lines)  # classes by name have the numbers that mmpretrain gives them


def test_a_list_depends_on_the_seed_alone(images):
    first, other = (list_of_labels('10pct', seed, Path('out')) for seed in (0, 1))
    assert first.read_text() != other.read_text()
    assert list_of_labels('10pct', 0, Path('elsewhere')).read_text() == first.read_text()
    first.write_text('kept\n')
    assert list_of_labels('10pct', 0, Path('out')).read_text() == 'kept\n'  # finished trainings were of it


def test_without_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'data/cifar10/train' does not exist"):
        list_of_labels('1pct', 0, Path('out'))


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A config, a change with a base of its own, and a pretraining that has ended."""
    monkeypatch.chdir(tmp_path)
    Path('configs').mkdir()
    Path('configs/small.py').write_text("model = dict(type='A', backbone=dict(depth=4, width=8))\nlr = 1.0\n")
    Path('configs/change.py').write_text("_base_ = './absent.py'\nmodel = dict(backbone=dict(depth=2))\nlr = 2.0\n")
    ended = Path('out/start/seed1')
    ended.mkdir(parents=True)
    (ended / 'last_checkpoint').write_text('/moved/since/epoch_8.pth')


def test_a_change_is_put_on_a_config(configs):
    Path('elsewhere/deep').mkdir(parents=True)
    Path('out/linked').symlink_to(Path('elsewhere/deep').resolve())  # as work_dirs/ often is
    path = configured(Training('changed', 'small.py', 'change.py'), Path('out/linked'))
    cfg = read_config(str(path))
    assert cfg.model == dict(type='A', backbone=dict(depth=2, width=8)) and cfg.lr == 1.0  # variables are not settings
    assert configured(Training('plain', 'small.py'), Path('out')) == Path('configs/small.py')


@pytest.mark.parametrize('epoch, name', [(None, 'epoch_8.pth'), (2, 'epoch_2.pth')])
def test_settings_by_hand(configs, epoch, name):
    training = Training('tuned', 'small.py', start=Training('start', 'small.py'), start_epoch=epoch, options=('lr=3',))
    config, place, options = settings_of(training, 1, Path('out'))
    assert (config, place) == (Path('configs/small.py'), Path('out/tuned/seed1'))
    assert options == ['randomness.seed=1', 'lr=3', f'model.backbone.init_cfg.checkpoint=out/start/seed1/{name}']


def test_each_training_once_pretrainings_first():
    start = Training('start', 'a.py')
    tuned = [Training(name, 'b.py', start=start) for name in 'xy']
    rows = [Row('1', '', {'loss': (start, 'loss'), 'x': (tuned[0], 'top-1')}), Row('2', '', {'x': (tuned[0], 'top-1')}),
            Row('3', '', {'x': (tuned[1], 'top-1'), 'z': (Training('scratch', 'b.py'), 'top-1')})]
    assert [training.name for training in trainings_of(rows)] == ['start', 'x', 'y', 'scratch']


def test_order_and_failure(monkeypatch):
    start = Training('start', 'a.py')
    trainings = [Training('tuned', 'b.py', start=start), start, Training('scratch', 'b.py')]
    ran = []

    def run(training, seed, folder):
        ran.append(f'{training.name}{seed}')
        if ran[-1] == fails:
            raise SystemExit(3)

    monkeypatch.setattr('nepa_mm.analysis.runs.experiment.train', run)
    fails = None
    pairs = [(training, seed) for seed in range(2) for training in trainings]
    train_all(pairs, 1, Path('out'))
    assert ran == ['start0', 'tuned0', 'scratch0', 'start1', 'tuned1', 'scratch1']
    ran.clear()
    train_all([(trainings[2], 0), (trainings[0], 1)], 1, Path('out'))  # whose start is not given
    assert ran == ['scratch0', 'start1', 'tuned1']
    ran.clear()
    fails = 'start0'
    with pytest.raises(SystemExit) as raised:
        train_all(pairs, 1, Path('out'))
    assert raised.value.code == 3 and ran == ['start0']


def test_what_starts_from_one_pretraining_runs_at_once(monkeypatch):
    start, both = Training('start', 'a.py'), Barrier(2)
    ran = []

    def run(training, seed, folder):
        if training.start:
            both.wait(timeout=30)  # for the other one
        ran.append(training.name)

    monkeypatch.setattr('nepa_mm.analysis.runs.experiment.train', run)
    train_all([(Training(name, 'b.py', start=start), 0) for name in 'xy'], 3, Path('out'))
    assert ran[0] == 'start' and sorted(ran[1:]) == ['x', 'y']
