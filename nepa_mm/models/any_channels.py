"""Normalise images of any number of channels, which mmengine allows for one and three alone."""
from collections.abc import Sequence

import torch

from nepa_mm.errors import ConfigError


class AnyChannels:
    """First base of a data preprocessor that is made of mmengine's ``ImgDataPreprocessor``.

    ConfigError if mean and std are not of as many channels, or if more channels than three are to change places.
    """

    def __init__(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, *args, **kwargs) -> None:
        are_others = mean is not None and len(mean) not in (1, 3)
        super().__init__(*([None, None] if are_others else [mean, std]), *args, **kwargs)
        if not are_others:
            return
        if std is None or len(std) != len(mean):
            raise ConfigError(f'{std} is not of the {len(mean)} channels of mean', 'model.data_preprocessor.std', 'give as many')
        if any(getattr(self, name, False) for name in ('_channel_conversion', 'channel_conversion')):  # mmengine's, mmseg's
            raise ConfigError(f'True, and the {len(mean)} channels of mean are not BGR',
                              'model.data_preprocessor.to_rgb (bgr_to_rgb, rgb_to_bgr)', 'set it to False')
        self._enable_normalize = True
        for name, values in dict(mean=mean, std=std).items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)
