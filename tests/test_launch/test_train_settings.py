"""What --resume says of a runner that is not ours."""
import argparse

import pytest
from mmengine.config import Config

import nepa_mm  # noqa: F401, which registers the runner
from nepa_mm.errors import ConfigError
from nepa_mm.launch.train_settings import resume_from, set_training


@pytest.mark.parametrize('runner, said', [
    ({}, 'Runner resumes as mmengine does'), (dict(runner_type='FlexibleRunner'), 'FlexibleRunner resumes as mmengine does'),
    (dict(runner_type='nepa_mm.ReliableRunner'), '')])
def test_a_runner_of_mmengine_resumes_its_way_and_it_is_said_in_one_line(runner, said, capsys):
    cfg = Config(dict(runner, load_from='a.pth'))
    resume_from(cfg, 'auto')
    err = capsys.readouterr().err
    assert cfg.resume is True and cfg.load_from is None
    assert err.count('\n') == bool(said) and said in err
    resume_from(cfg, 'b.pth')
    assert cfg.load_from == 'b.pth'
    with pytest.raises(ConfigError, match='--resume'):
        resume_from(cfg, 'raw:b.pth')


ASKED = dict.fromkeys(
    ('no_validate', 'amp', 'resume', 'overwrite', 'allow_resume_change', 'auto_scale_lr', 'no_pin_memory',
     'no_persistent_workers'))


def test_scaling_a_rate_of_no_batch_is_refused():
    args = argparse.Namespace(**{**ASKED, 'auto_scale_lr': True, 'config': 'a.py'})
    for stated in ({}, dict(auto_scale_lr=None)):
        with pytest.raises(ConfigError, match=r'a.py does not set it \| auto_scale_lr.base_batch_size'):
            set_training(Config(dict(stated)), args)


def test_a_run_that_is_moved_aside_is_not_resumed():
    args = argparse.Namespace(**{**ASKED, 'overwrite': True})
    cfg = Config(dict(resume=True))
    set_training(cfg, args)
    assert cfg.resume is False


def test_precision_of_no_optimizer_is_refused():
    args = argparse.Namespace(**{**ASKED, 'amp': True, 'config': 'a.py'})
    with pytest.raises(ConfigError, match=r'--amp needs it, and a.py has none \| optim_wrapper'):
        set_training(Config({}), args)
