"""timm's mixup and cutmix as a batch augmentation of mmpretrain's classifiers."""
import inspect

import torch
from timm.data import Mixup

from nepa_mm.errors import ConfigError
from nepa_mm.registry import BATCH_AUGMENTS


@BATCH_AUGMENTS.register_module()
class TimmMixup:
    """The images and targets of ``timm.data.Mixup``, which the release calls.

    Under one seed they are those of the installed timm. Since its version 1.0.29 a box of CutMix whose side is an odd number of
    pixels is a pixel larger than before, and the mixed targets are as much different.

    mmpretrain's ``Mixup`` and ``CutMix`` pair images at random and leave label smoothing to the loss; timm pairs the first
    with the last and smooths the targets. So the loss is the plain soft cross-entropy,
    ``loss=dict(type='CrossEntropyLoss', use_soft=True)``, and never ``LabelSmoothLoss``, which would smooth twice.
    In a config::

        train_cfg=dict(augments=[dict(type='nepa_mm.TimmMixup', num_classes=1000, mixup_alpha=0.8, cutmix_alpha=1.0)])

    Args:
        num_classes: That of ``data_preprocessor`` and head.
        **kwargs: Others of ``timm.data.Mixup``: ``mixup_alpha``, ``cutmix_alpha``, ``label_smoothing`` (0.1), ...

    Raises:
        ConfigError: For fewer than 2 classes, an argument that timm does not have, scores for another number of classes, or a
            batch that cannot be paired.
    """

    def __init__(self, num_classes: int, **kwargs) -> None:
        if num_classes < 2:
            raise ConfigError(f'{num_classes} leaves nothing to mix', 'TimmMixup.num_classes',
                              'set it to the number of classes of the dataset, 2 or more')
        known = set(inspect.signature(Mixup).parameters)
        for key, value in kwargs.items():
            if key not in known:
                raise ConfigError(f'{value!r} is for no argument of timm.data.Mixup', f'TimmMixup.{key}',
                                  f'choose from {sorted(known)}')
        self.timm = Mixup(num_classes=num_classes, **kwargs)

    def __call__(self, batch_input: torch.Tensor, batch_score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix images [B, C, H, W] and their one-hot scores [B, num_classes]; B must be even. The arguments stay as they are.

        Returns:
            Mixed images, and targets [B, num_classes] in float32 that sum to 1.
        """
        if len(batch_input) % 2:
            raise ConfigError(f'TimmMixup mixes pairs, but got a batch of {len(batch_input)}', 'train_dataloader.batch_size',
                              'set an even batch_size and drop_last=True')
        if batch_score.shape[1] != self.timm.num_classes:
            raise ConfigError(f'{self.timm.num_classes} differs from model.data_preprocessor.num_classes={batch_score.shape[1]}',
                              'TimmMixup.num_classes', 'set both to that of the dataset')
        return self.timm(batch_input.clone(), batch_score.argmax(dim=1))  # timm mixes in place
