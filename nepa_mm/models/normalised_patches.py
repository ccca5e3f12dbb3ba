"""Images whose patches have all the same brightness and contrast, as MAE's targets have them (arXiv 2111.06377, section 3)."""
import torch.nn.functional as F
from torch import Tensor


def normalised_patches(images: Tensor, patch_size: int) -> Tensor:
    """Take from each patch of [B, C, H, W] its mean and divide by its standard deviation, over all its pixels and channels.

    Returned [B, C, h * patch_size, w * patch_size] of whole patches: a border that fills no patch is repeated until it does.
    """
    height, width = images.shape[-2:]
    # In float32: bfloat16 rounds means to half grey levels
    padded = F.pad(images.float(), (0, -width % patch_size, 0, -height % patch_size), mode='replicate')
    patches = padded.unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size))  # [B, C, h, p, w, p]
    pixels = (1, 3, 5)
    patches = (patches - patches.mean(pixels, keepdim=True)) / (patches.var(pixels, keepdim=True) + 1e-6).sqrt()
    return patches.flatten(4).flatten(2, 3).to(images.dtype)
