"""Configs that tools/new_config.py writes, in the process of a test and without the seconds that a step takes to count."""
import runpy
import sys

from mmengine.config import Config

from nepa_mm.own_data import machine
from nepa_mm.own_data.new_config import new_config
from tiny import ROOT

GPU = machine.Machine('H100', 80 * 2**30, 16, True)
DATA, CONFIG = 'data', 'own.py'


def written(monkeypatch, task: str, *options, on: machine.Machine | None = None) -> Config:
    """The config of DATA in this folder, CONFIG; chosen for a CPU unless told.

    A step takes 4 GiB and 1/4 GiB for each image.
    """
    on = on or machine.Machine('2 CPU cores', 16 * 2**30, 2, False)
    monkeypatch.setattr(machine.Cost, 'of', lambda cfg: machine.Cost(4 * 2**30, 2**28, 1e9))
    monkeypatch.setattr(machine.Machine, 'here', lambda memory, cpu: on)
    argv = ['new_config.py', task, DATA, '-o', CONFIG, '--workers', '1', *map(str, options)]
    monkeypatch.setattr(sys, 'argv', argv)
    return Config.fromfile(new_config(runpy.run_path(str(ROOT / 'tools/new_config.py'))['parse_args']())[-1])
