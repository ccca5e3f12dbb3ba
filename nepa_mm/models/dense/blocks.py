"""Logits of an image that is too large for memory: windows come from the top, and rows are given as soon as they are final.

What is added up at a time is a span of columns, as high as a window. Where the image is so wide that its logits take too much
memory, spans follow each other, and windows that reach over an end of one are predicted once for each of the two.

Shapes: C classes, N windows at once, h x w of a window.
"""
from collections.abc import Callable, Iterator, Sequence

import torch
from mmseg.models import EncoderDecoder as MMSegEncoderDecoder
from torch import Tensor

from .windows import WINDOWS, window_places

LOGITS = 2**26  # bytes that are added up at a time
# Widths of a window that a span has, whatever that takes. Of a wide image a sixth of the windows is then predicted twice with
# steps of two thirds of a window, a quarter at most with any steps; a third at most where the last span is short
LEAST = 4
Place = tuple[slice, slice]  # rows and columns


def window_grid(size: tuple[int, int], test_cfg: dict) -> tuple[list[slice], list[slice]]:
    """Rows, and columns, of the windows of slide mode over an image (H, W)."""
    rows, columns = map(window_places, size, test_cfg.crop_size, test_cfg.stride)
    return rows, columns


def logit_blocks(model: MMSegEncoderDecoder, size: tuple[int, int], read: Callable[[Sequence[Place]], Tensor],
                 most: int = LOGITS) -> Iterator[tuple[slice, slice, Tensor]]:
    """Logits of slide mode, the mean over the windows that see a pixel, added up in the order of the whole image's.

    Args:
        model: Any that has mmseg's slide mode.
        size: Of the image (H, W).
        read: From places of windows to the model's inputs [N, bands, h, w].
        most: Bytes of logits that are added up at a time, if four windows beside each other are no more.

    Yields:
        Rows, columns and logits [C, rows, columns] of blocks, which cover each pixel once. The logits are valid until the next.
    """
    rows, columns = window_grid(size, model.test_cfg)
    height = rows[0].stop - rows[0].start
    width = max(most // (4 * model.out_channels * height), LEAST * (columns[0].stop - columns[0].start))
    for span in spans(columns, width):
        within = [place for place in columns if place.start < span.stop and place.stop > span.start]
        total = seen = None
        for row, following in zip(rows, [*rows[1:], slice(size[0], None)]):
            for places, windows in predicted(model, [(row, column) for column in within], read):
                if total is None:
                    total = windows.new_zeros(model.out_channels, height, span.stop - span.start, dtype=torch.float32)
                    seen = torch.zeros_like(total[0])
                for (_, place), window in zip(places, windows):
                    begin, end = max(place.start, span.start), min(place.stop, span.stop)
                    part = slice(begin - span.start, end - span.start)
                    total[:, :, part] += window[:, :, begin - place.start:end - place.start]
                    seen[:, part] += 1
            final = following.start - row.start
            yield slice(row.start, following.start), span, total[:, :final].div_(seen[:final])
            for sums in (total, seen):  # those of the rows that the next windows see too come first
                sums[..., :height - final, :] = sums[..., final:, :].clone()
                sums[..., height - final:, :] = 0


def spans(columns: Sequence[slice], most: int) -> Iterator[slice]:
    """Parts of the width of an image, each of whole steps of the windows and of ``most`` pixels, if a step is no more."""
    begin, ends = 0, [*(place.start for place in columns[1:]), columns[-1].stop]
    while begin < ends[-1]:
        end = max((end for end in ends if end <= begin + most), default=0)
        if end <= begin:
            end = next(end for end in ends if end > begin)
        yield slice(begin, end)
        begin = end


def predicted(model: MMSegEncoderDecoder, places: Sequence[Place],
              read: Callable[[Sequence[Place]], Tensor]) -> Iterator[tuple[Sequence[Place], Tensor]]:
    """Windows, as many as the model is to get at once, and their logits [N, C, h, w]."""
    at_once = model.test_cfg.get('windows_at_once', WINDOWS)
    for first in range(0, len(places), at_once):
        some = places[first:first + at_once]
        inputs = read(some)
        size = inputs.shape[2:]  # a torch.Size, by which mmseg's heads know slide mode
        yield some, model.encode_decode(inputs, [dict(ori_shape=size, img_shape=size, pad_shape=size)] * len(some))


def labels_of(model: MMSegEncoderDecoder, logits: Tensor) -> Tensor:
    """Class numbers [H, W] of logits [C, H, W], as mmseg's: that of the largest, or whether one output is above its threshold."""
    if len(logits) > 1:
        return logits.argmax(0)
    return logits[0].sigmoid() > model.decode_head.threshold
