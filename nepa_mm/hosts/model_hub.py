"""Make mmpretrain's ``get_model``, ``list_models`` and inferencers know the names of our configs.

Nothing is read before one of them is asked for a name; host_imports.py says when this begins.
"""
import warnings
from pathlib import Path

MIM = Path(__file__).parents[1] / '.mim'
# mmpretrain builds a model in its own scope, where those of segmentation and detection have no heads.
FOLDERS = ('pretrain', 'classification', 'ablation')


def extend(hub) -> None:
    """Let mmpretrain's ``ModelHub`` register our models after its own, the first time it is asked."""
    register_theirs, done = getattr(hub, '_register_mmpretrain_models', None), []
    if register_theirs is None:  # another mmpretrain, which does not wait until it is asked
        register_ours(hub)
        return

    def register() -> None:
        register_theirs()
        if not done:
            done.append(True)
            register_ours(hub)

    hub._register_mmpretrain_models = staticmethod(register)


def register_ours(hub) -> None:
    """Tell of our models by mmpretrain's public method, which refuses a name that is taken."""
    for folder in FOLDERS:
        try:
            hub.register_model_index(MIM / 'configs' / folder / 'metafile.yml', config_prefix=MIM)
        except (ValueError, OSError) as error:
            warnings.warn(f'models of nepa_mm are missing in list_models ({error})', stacklevel=2)
