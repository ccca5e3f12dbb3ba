"""The model that a command's arguments name, on its device."""
import argparse
import os
import sys
from contextlib import redirect_stdout

import torch
from mmengine.model import BaseModel

from nepa_mm.errors import ConfigError, first_line

from .load_model import load_model


def model_of(args: argparse.Namespace, out_type: str | None = None) -> BaseModel:
    """The model that the arguments name, on its device; what the hosts say about it goes to standard error."""
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
