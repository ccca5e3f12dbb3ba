"""Patches of images that random erasing fills, kept apart from the pixels, which stay bytes on their way to the device."""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class ErasedPatches:
    """What timm's RandomErasing writes into normalised images: where, and which values.

    Args:
        boxes: For each patch (top, bottom, left, right) in pixels; in a batch the number of the image goes first.
        values: float32, of all patches one after the other, each [C, height, width] made flat.
    """
    boxes: list[tuple[int, ...]]
    values: Tensor

    @classmethod
    def joined(cls, images: Sequence['ErasedPatches']) -> 'ErasedPatches':
        """Those of a batch, of one for each image."""
        return cls([(i, *box) for i, image in enumerate(images) for box in image.boxes],
                   torch.cat([image.values for image in images]))

    def write(self, pixels: Tensor | list[Tensor]) -> None:
        """Write those of a batch into its images [B, C, H, W], on the device of the values."""
        begin = 0
        for image, top, bottom, left, right in self.boxes:
            patch = pixels[image][:, top:bottom, left:right]
            patch.copy_(self.values[begin:begin + patch.numel()].view(patch.shape))
            begin += patch.numel()

    def to(self, device: torch.device) -> 'ErasedPatches':
        """With the values on a device, without waiting where they are pinned."""
        return replace(self, values=self.values.to(device, non_blocking=True))

    def pin_memory(self) -> 'ErasedPatches':
        """For DataLoader: in memory that a GPU reads from while the training process goes on."""
        return replace(self, values=self.values.pin_memory())


class RecordedErasing:
    """An image [C, H, W] without pixels, for timm's RandomErasing to write into.

    So its random numbers are drawn by timm's own code, in its order.
    """
    dtype = torch.float32

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape, self.boxes, self.values = shape, [], [torch.empty(0)]

    def size(self) -> tuple[int, int, int]:
        return self.shape

    def __setitem__(self, place: tuple, values: Tensor) -> None:
        _, rows, columns = place
        self.boxes.append((rows.start, rows.stop, columns.start, columns.stop))
        self.values.append(values.expand(self.shape[0], rows.stop - rows.start, columns.stop - columns.start).flatten())

    def patches(self) -> ErasedPatches:
        """What was written."""
        return ErasedPatches(self.boxes, torch.cat(self.values))
