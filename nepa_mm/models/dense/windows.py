"""Logits of a large image from windows that slide over it, several at once."""
import logging
from itertools import product

import torch
from mmengine.logging import print_log
from mmseg.models import EncoderDecoder as MMSegEncoderDecoder
from torch import Tensor

from nepa_mm.registry import MODELS

WINDOWS = 4  # at once, where test_cfg does not say
MANY = 5000  # windows of an image, of which a line warns


@MODELS.register_module()
class EncoderDecoder(MMSegEncoderDecoder):
    """mmseg's ``EncoderDecoder`` that puts several windows of its slide mode through the model at once.

    mmseg gives the model one window after the other, and adds the logits of each, padded to the size of the image, to those of
    the whole image: for 150 classes more work than a small model's. Here logits are added where the window lies. Sums have
    mmseg's order, so logits differ only as kernels round otherwise in a larger batch.

    ``test_cfg.windows_at_once`` says how many windows the model gets at once, counted over all images of a batch, 4 if it is not
    there; of each image it gets one at least. Memory grows with this number and not with how many windows an image has.
    """

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Images [B, 3, H, W] -> logits [B, num_classes, H, W], the mean over the windows that see a pixel."""
        size, images = inputs.shape[2:], len(inputs)
        logits = inputs.new_zeros(images, self.out_channels, *size)
        seen = inputs.new_zeros(size)  # by how many windows
        places = list(product(*map(window_places, size, self.test_cfg.crop_size, self.test_cfg.stride)))
        warning = many_windows(len(places), size, self.test_cfg)
        if warning:
            print_log(warning, 'current', logging.WARNING)
        at_once = max(1, self.test_cfg.get('windows_at_once', WINDOWS) // images)
        for first in range(0, len(places), at_once):
            self.add_logits(inputs, batch_img_metas, places[first:first + at_once], logits)
        for rows, columns in places:
            seen[rows, columns] += 1
        return logits.div_(seen)

    def add_logits(self, inputs: Tensor, batch_img_metas: list[dict], places: list[tuple[slice, slice]], logits: Tensor) -> None:
        """Add the logits of windows at some places, all of one size, to those of the whole images, in place."""
        windows = torch.cat([inputs[:, :, rows, columns] for rows, columns in places])  # [windows * B, 3, h, w]
        size = windows.shape[2:]  # mmseg's heads resize their logits to img_shape, those of masks to pad_shape
        metas = [dict(meta, img_shape=size, pad_shape=size) for meta in batch_img_metas] * len(places)
        found = self.encode_decode(windows, metas).split(len(inputs))
        for (rows, columns), window in zip(places, found):
            logits[:, :, rows, columns] += window


def window_places(side: int, window: int, stride: int) -> list[slice]:
    """Where windows lie along one side of an image, as mmseg places them: the last one ends where the image does."""
    count = max(side - window + stride - 1, 0) // stride + 1
    ends = [min(i * stride + window, side) for i in range(count)]
    return [slice(max(end - window, 0), end) for end in ends]


def many_windows(count: int, size: tuple[int, int], test_cfg: dict) -> str | None:
    """What is to be said of an image (H, W) of thousands of windows; None of fewer."""
    if count < MANY:
        return None
    return (f'{size[1]}x{size[0]} pixels are {count} windows | model.test_cfg.crop_size={tuple(test_cfg["crop_size"])}, '
            f'stride={tuple(test_cfg["stride"])} | longer steps, or an image that is scaled down, take less time')
