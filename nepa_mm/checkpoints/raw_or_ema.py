"""Raw or averaged weights of one checkpoint, wherever mm takes the address of one.

mmengine's EMAHook saves the average as ``state_dict`` and the raw weights as ``ema_state_dict``, so a plain path loads the
average. ``raw:PATH`` and ``ema:PATH`` say which, as ``load_from``, in ``init_cfg`` and for ``tools/test.py``.
"""
from mmengine.runner import CheckpointLoader

from ..errors import CheckpointError

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


def path_of(address: str) -> str:
    """The address without ``raw:`` or ``ema:``."""
    return address[4:] if address.startswith(SCHEMES) else address
