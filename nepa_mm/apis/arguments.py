"""Arguments that commands share: the images and the model that a person names, on which device; and what they stand for."""
import argparse
import os
import sys
from contextlib import redirect_stdout

import torch
from mmengine.model import BaseModel

from nepa_mm.errors import ConfigError, first_line
from nepa_mm.launch.read_config import Options

from .load_model import load_model

MODEL_HELP = ('checkpoint of ours, hf:FOLDER or hf:ORG/NAME in the released format, raw:PATH or ema:PATH for one of the two '
              'weights of a training; or a config file, with --checkpoint')
INPUT_HELP = 'images, folders, and .txt files with a path on each line, as of the frames of a video'


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Images, for :func:`find_images`."""
    parser.add_argument('inputs', metavar='INPUT', nargs='+', help=INPUT_HELP)


def add_model(parser: argparse.ArgumentParser, device: str | None = None, by_name: bool = False) -> None:
    """A model, for :func:`model_of`.

    Args:
        parser: To add to.
        device: Where the model is by default; None is a GPU where there is one.
        by_name: Leave out ``MODEL`` itself, as the command finds it among its other arguments.
    """
    if not by_name:
        parser.add_argument('model', metavar='MODEL', help=MODEL_HELP)
    parser.add_argument('--checkpoint', help='weights for a config file')
    usual = device or 'cuda where there is one'
    parser.add_argument('--device', default=device, help=f'cpu, cuda, cuda:1, ...; default: {usual}')
    parser.add_argument('--cfg-options', nargs='+', action=Options,
                        help='settings of the config to override, KEY=VALUE; of a checkpoint alone, model.backbone.*')


def model_of(args: argparse.Namespace, out_type: str | None = None) -> BaseModel:
    """The model that the arguments name, on its device. What the hosts say about it goes to standard error.

    Raises:
        ConfigError: For a device that cannot be, or as of :func:`load_model`.
        CheckpointError: As of :func:`load_model`.
    """
    device = device_of(args.device)
    with redirect_stdout(sys.stderr):
        return load_model(args.model, args.checkpoint, args.cfg_options, out_type).to(device)


def device_of(name: str | None) -> torch.device:
    """The device of that name, if it is there; without one the GPU, or that of this process, if there is one."""
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        if device.type == 'cuda' and device.index is None:  # each process of a launcher has a GPU of its own
            device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'{name} cannot be used here ({first_line(error)})', '--device', 'try --device cpu') from error
    return device
