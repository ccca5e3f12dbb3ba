"""Parts of a model that run through ``torch.compile`` while they train."""
import os
import shutil
from collections.abc import Callable
from functools import cache, wraps

import torch

from nepa_mm.errors import ConfigError


def compiled_in_training(method: Callable) -> Callable:
    """Compile a module's method where the module's ``compiled`` is set, in training alone; ConfigError if there is no compiler.

    In place: modules, parameters and their names stay as they are, and all modules of a class share what was compiled once.
    Evaluation meets images of other sizes and would wait for the compiler at each; it computes what it does without.
    """

    @wraps(method)
    def run(self, *args):
        function = compiled(method) if self.compiled and self.training else method
        return function(self, *args)

    return run


@cache
def compiled(function: Callable) -> Callable:
    """``torch.compile`` of a function, or the function where PyTorch's ``TORCH_COMPILE_DISABLE=1`` forbids it; made once,
    because each result compiles anew."""
    if is_disabled():
        return function
    require_compiler('compile')
    # DDP's own optimizer would cut each block where a bucket ends. Between blocks gradients are handed over anyway.
    torch._dynamo.config.optimize_ddp = False
    if torch.__version__ < (2, 5):  # which would compile anew for each block, and after eight of them no more
        torch._dynamo.config.inline_inbuilt_nn_modules = True
    return torch.compile(function)


def require_compiler(asked: str) -> None:
    """Refuse to compile where that must fail; ``asked`` is the setting that asks for it."""
    if not any(shutil.which(name) for name in (os.environ.get('CXX', 'g++'), 'g++', 'clang++')):
        raise ConfigError('it needs a C++ compiler, and there is no g++', asked, 'install it or set TORCH_COMPILE_DISABLE=1')


def is_disabled() -> bool:
    """Whether PyTorch's own switch turns compiling off."""
    return os.environ.get('TORCH_COMPILE_DISABLE') == '1'


def check_with_cp(with_cp: bool | int, compile: bool) -> None:
    """Refuse what is no number of blocks, and to compile what is computed again in the backward pass where torch cannot.

    Torch 2.4 traces a function with the checkpoint's hooks on, which then keep what was only traced.
    """
    if not isinstance(with_cp, int) or with_cp < 0:
        raise ConfigError(f'{with_cp!r} is no number of blocks', 'with_cp',
                          'give True for all blocks, n for every n-th, or False')
    if compile and with_cp and torch.__version__ < (2, 5) and not is_disabled():
        raise ConfigError(f'True together with with_cp=True fails in torch {torch.__version__}', 'compile',
                          'set model.backbone.compile=False, model.backbone.with_cp=False or TORCH_COMPILE_DISABLE=1, or use a '
                          'later torch')
