import shutil
from functools import cache

import pytest

from runs import at, finish, start, train, write_config
from two import shared_out, train_two


@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    """Config and work dir of a training of a kind that nothing interrupts."""
    @cache
    def trained(kind):
        folder = tmp_path_factory.mktemp(kind)
        config = write_config(folder, kind)
        train(config, folder / 'whole')
        return config, folder / 'whole'

    return trained


@pytest.fixture(scope='session')
def killed(whole, tmp_path_factory):
    """Work dir of a training of iterations that was killed in step 14, and so holds iter_4.pth, iter_8.pth and iter_12.pth."""
    folder = tmp_path_factory.mktemp('killed') / 'run'
    # What is saved while the training goes on may not be there yet
    finish(start(whole('iter')[0], folder, before=at('mmengine.optim:OptimWrapper.step', 14),
                 default_hooks__checkpoint__background=False), -9)
    assert {path.name for path in folder.glob('*.pth')} == {'iter_4.pth', 'iter_8.pth', 'iter_12.pth'}
    return folder


@pytest.fixture(scope='session')
def whole_in_halves(tmp_path_factory):
    """Config and work dir of a training by two processes, each with half of the model."""
    folder = tmp_path_factory.mktemp('halves')
    config = shared_out(write_config(folder))
    train_two(config, folder / 'whole')
    return config, folder / 'whole'


@pytest.fixture
def copy(killed, tmp_path):
    """A copy of it, in a place of its own."""
    return shutil.copytree(killed, tmp_path / 'run')
