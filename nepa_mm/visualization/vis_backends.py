"""Visualization backends (TensorBoard, W&B, MLflow, ...) that cannot end the training that they watch."""
import functools
import logging
from collections.abc import Callable
from pathlib import PurePath

from mmengine.logging import print_log
from mmengine.visualization import DVCLiveVisBackend, MLflowVisBackend, Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend

from nepa_mm.errors import ConfigError, first_line

METHODS = ('add_config', 'add_graph', 'add_image', 'add_scalar', 'add_scalars', 'close')
# Name and step of a picture as the file that these keep for each name, without heed of steps; DVCLive's adds .png itself.
FILES = {MLflowVisBackend: '{}_{}.png', DVCLiveVisBackend: '{}_{}'}


def spare_training(visualizer: Visualizer) -> Visualizer:
    """Let the backends of a visualizer warn, each once, where they would raise; called twice, it does nothing more.

    A backend that cannot begin is left out from then on; one that fails later is called again. Pictures get a file name of their
    own for backends that need one.

    Raises:
        ConfigError: When the backends are given the config, at the start, if the package of one is missing.
    """
    for backend in visualizer._vis_backends.values():
        if not hasattr(backend, 'is_left_out'):
            backend.is_left_out = backend.has_warned = False
            backend._init_env, backend.add_image = beginning(backend), named(backend)
            for method in METHODS:
                setattr(backend, method, spared(backend, getattr(backend, method)))
    return visualizer


def beginning(backend: BaseVisBackend) -> Callable:
    """What begins a backend at its first use, and leaves it out if that fails."""
    begin = backend._init_env

    def call() -> None:
        backend.is_left_out = True
        begin()
        backend.is_left_out = False

    return call


def spared(backend: BaseVisBackend, method: Callable) -> Callable:
    """A method of a backend that warns instead of raising."""

    @functools.wraps(method)
    def call(*args, **kwargs) -> None:
        if backend.is_left_out:
            return
        try:
            method(*args, **kwargs)
        except Exception as error:
            name = type(backend).__name__
            if isinstance(error, ImportError) and method.__name__ == 'add_config':
                raise ConfigError(first_line(error), f'visualizer.vis_backends ({name})', 'do so, or leave it out') from error
            if not backend.has_warned:
                then = 'training goes on without it' if backend.is_left_out else 'more failures of it are not said'
                print_log(f'{name}.{method.__name__} failed: {type(error).__name__}: {first_line(error)}; {then}',
                          'current', logging.WARNING)
            backend.has_warned = True

    return call


def named(backend: BaseVisBackend) -> Callable:
    """``add_image`` of a backend, for pictures whose names may be no file's."""
    add_image = backend.add_image
    form = next((form for kind, form in FILES.items() if isinstance(backend, kind)), '{}')

    @functools.wraps(add_image)
    def call(name: str, image, step: int = 0, **kwargs) -> None:
        add_image(name if PurePath(name).suffix else form.format(name, step), image, step, **kwargs)

    return call
