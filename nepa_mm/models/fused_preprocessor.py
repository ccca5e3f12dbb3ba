"""Bring a batch of pixels to the device and normalise it there."""
import torch
from mmpretrain.models import SelfSupDataPreprocessor
from torch import Tensor

from nepa_mm.registry import MODELS

from .any_channels import AnyChannels
from .compiled import compiled


@MODELS.register_module()
class FusedSelfSupDataPreprocessor(AnyChannels, SelfSupDataPreprocessor):
    """mmpretrain's ``SelfSupDataPreprocessor``, to the bit, in fewer passes over the batch.

    The uint8 batch is sent as it is, without waiting where the loader pins memory, and its channels are swapped as bytes. It
    becomes float32 once, as ``(pixels - mean) / std`` without copies between. Under autocast it becomes autocast's type in the
    same go, which is what the first layer would make of it. So this is for algorithms whose backbone alone sees the
    pixels, as NEPA; MAE's target are pixels too. There may be any number of channels.

    Args:
        compile: Do all of it in one kernel by ``torch.compile`` while training; needs a C++ compiler.
        **kwargs: ``mean``, ``std``, ``to_rgb``, ... of ``SelfSupDataPreprocessor``; ``non_blocking`` is True if not given.
    """

    def __init__(self, *args, compile: bool = False, **kwargs) -> None:
        super().__init__(*args, **{'non_blocking': True, **kwargs})
        self.compiled = compile
        if self._enable_normalize:
            self.mean, self.std = self.mean.float(), self.std.float()  # whole numbers in the config are integers here

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise ``inputs`` [B, C, H, W]; a list of views goes the parent's way. ``data_samples`` may be missing."""
        if not isinstance(data['inputs'], Tensor):
            return super().forward(data, training)
        pixels = self.cast_data(data['inputs'])
        kind = pixels.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        run = compiled(normalize) if self.compiled and training else normalize
        mean, std = (self.mean, self.std) if self._enable_normalize else (None, None)
        return dict(
            inputs=run(pixels, mean, std, self._channel_conversion, dtype), data_samples=self.cast_data(data.get('data_samples')))


def normalize(pixels: Tensor, mean: Tensor | None, std: Tensor | None, swap: bool, dtype: torch.dtype) -> Tensor:
    """``(pixels - mean) / std`` in float32, then ``dtype``; pixels [B, C, H, W] of any type, their channels swapped before."""
    if swap:
        pixels = pixels.flip(1)
    if mean is not None:
        pixels = torch.sub(pixels, mean).div_(std)  # uint8 - float32 is one pass, which makes the float32 tensor
    return pixels.to(dtype)
