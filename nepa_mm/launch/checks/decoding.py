"""Whether what is left undecoded meets a transform that decodes it."""
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, datasets_of, steps_of

TAKE_ENCODED = ('RandomResizedCropFlip', 'TimmTransform')  # transforms that decode no more than their crop


def check_decoding(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """``LoadImage(whole=False)`` must stand before a transform that takes an :class:`EncodedJpeg`.

    Raises:
        ConfigError: If it does not.
    """
    for key, dataset in datasets_of(cfg, splits):
        steps = list(steps_of(dataset, key))
        for (place, step), (_, following) in zip(steps, [*steps[1:], ('', {})]):
            if name_of(step) == 'LoadImage' and not step.get('whole', True) and name_of(following) not in TAKE_ENCODED:
                raise ConfigError(f'False leaves images encoded, which {name_of(following) or "nothing"} does not take',
                                  f'{place}.whole', f'set whole=True, or let {" or ".join(TAKE_ENCODED)} follow')
