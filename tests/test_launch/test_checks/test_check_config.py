"""One call checks a config, and accepts what hosts and recipes are."""
import os
from glob import glob

import mmpretrain
import mmseg
from mmengine.config import Config

from nepa_mm.launch.checks import SETTINGS, check_config
from nepa_mm.launch.config_parts import SPLITS
from tiny import ROOT


def test_configs_of_this_repository_and_every_eightieth_of_the_hosts_fit():
    hosts = [path for host in (mmpretrain, mmseg)
             for path in sorted(glob(os.path.join(os.path.dirname(host.__file__), '.mim/configs/*/*.py')))[::80]
             if '/_base_/' not in path]
    ours = [str(path) for path in ROOT.glob('configs/*/*.py') if path.parent.name != '_base_'][::8]
    assert len(hosts) > 10 and len(ours) > 10
    for path in hosts + ours:
        check_config(Config.fromfile(path), SPLITS, SETTINGS)


def test_each_check_is_run_in_its_order_with_the_splits():
    ran, cfg = [], Config()
    check_config(cfg, ('test', ), [lambda *given: ran.append((1, *given)), lambda *given: ran.append((2, *given))])
    assert ran == [(1, cfg, ('test', )), (2, cfg, ('test', ))]
