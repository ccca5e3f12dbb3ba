"""Addresses of weights that mm takes as it takes a path: as ``load_from``, in ``init_cfg``, for ``tools/test.py``.

mmengine's EMAHook saves the average as ``state_dict`` and the raw weights as ``ema_state_dict``, so a plain path loads the
average. ``raw:PATH`` and ``ema:PATH`` say which. ``hf:FOLDER`` and ``hf:ORG/NAME`` are checkpoints in the released format.
"""
from mmengine.runner import CheckpointLoader

from ..errors import CheckpointError
from .released import mm_state_dict, read_released

SCHEMES = ('raw:', 'ema:')


@CheckpointLoader.register_scheme(prefixes=SCHEMES)
def load_raw_or_ema(filename: str, map_location=None) -> dict:
    """Load ``raw:PATH`` or ``ema:PATH``; the result holds the weights asked for as its only ``state_dict``.

    Raises:
        CheckpointError: For ``ema:`` if no average was saved.
    """
    kind, path = filename.split(':', 1)
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location)
    other = checkpoint.pop('ema_state_dict', None)
    if other is None and kind == 'ema':
        raise CheckpointError(f'{filename!r}: the checkpoint holds no averaged weights; it was trained without EMAHook. Leave '
                              'ema: out to load its weights')
    if other is not None and kind == 'raw':
        checkpoint['state_dict'] = {name.removeprefix('module.'): value for name, value in other.items()
                                    if name.startswith('module.')}
    return checkpoint


@CheckpointLoader.register_scheme(prefixes='hf:')
def load_released(filename: str, map_location=None) -> dict:
    """Load ``hf:FOLDER`` or ``hf:ORG/NAME``, renamed to our parameters.

    Raises:
        CheckpointError: If there is none, or it is no NEPA model.
    """
    _, released = read_released(filename.removeprefix('hf:'))
    return dict(state_dict=mm_state_dict(released))


def path_of(address: str) -> str:
    """The address without ``raw:`` or ``ema:``."""
    return address[4:] if address.startswith(SCHEMES) else address
