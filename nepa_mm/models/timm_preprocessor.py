"""Make timm's normalised floats of bytes, on the device."""
from collections.abc import Sequence

import torch
from mmpretrain.models import ClsDataPreprocessor
from PIL import Image
from torch import Tensor

from nepa_mm.datasets.erased_patches import ErasedPatches
from nepa_mm.datasets.transforms.timm_transform import normalization
from nepa_mm.registry import MODELS


@MODELS.register_module()
class TimmDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's ``ClsDataPreprocessor``, which ends what a :class:`TimmTransform` with ``on_device=True`` began.

    Bytes [B, 3, H, W] become the floats of timm's ToTensor and Normalize, looked up in a table of 256 for each channel, which
    timm's code made: they are timm's bit for bit, whatever the device. Then the patches of timm's RandomErasing are written, with
    the values that the worker drew. A quarter as much goes to the device, and no worker works on floats.

    Floats stay as they are, which a :class:`TimmTransform` without ``on_device`` has normalised; and with ``mean``, which is of
    pixels from 0 to 255, all is as mmpretrain has it.

    Args:
        timm_mean: Of each channel of RGB, of pixels in [0, 1]: that of the ``TimmTransform``.
        timm_std: Likewise.
    """

    def __init__(self, timm_mean: Sequence[float] = (0.5, ) * 3, timm_std: Sequence[float] = (0.5, ) * 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self._non_blocking = True  # where the loader pins memory
        table = Image.frombytes('L', (256, 1), bytes(range(256))).convert('RGB')
        with torch.device('cpu'):  # also of a model that is built without content, on 'meta'
            for step in normalization(timm_mean, timm_std):
                table = step(table)
        self.register_buffer('table', table.flatten(), persistent=False)  # [3 * 256]
        self.register_buffer('first', torch.arange(0, 768, 256, dtype=torch.int32).view(3, 1, 1), persistent=False)

    @property
    def takes_rgb(self) -> bool:
        """Whether bytes are RGB and become timm's floats; else they are mm's BGR, normalised by ``mean`` and ``std``."""
        return not self._enable_normalize

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise ``inputs`` [B, 3, H, W] or a list of [3, H, W], RGB, write ``erased``, and go on as mmpretrain does."""
        inputs = self.cast_data(data['inputs'])
        if self.takes_rgb:
            inputs = self.looked_up(inputs) if isinstance(inputs, Tensor) else [self.looked_up(image) for image in inputs]
        erased = data.get('erased')
        if erased is not None:
            erased = ErasedPatches.joined(erased) if isinstance(erased, list) else erased  # as pseudo_collate leaves them
            erased.to(self.device).write(inputs)
        return super().forward({**data, 'inputs': inputs}, training)

    def looked_up(self, pixels: Tensor) -> Tensor:
        """timm's floats of bytes [..., 3, H, W]; anything else as it is."""
        if pixels.dtype != torch.uint8:
            return pixels
        return self.table.index_select(0, (pixels + self.first).flatten()).view(pixels.shape)
