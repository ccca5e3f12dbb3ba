"""Segment images that are too large for memory: windows are read from a TIFF and predicted, labels go to a tiled TIFF."""
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
import tifffile
import torch
from mmengine.model import BaseModel
from mmseg.models import EncoderDecoder
from PIL import Image
from torch import Tensor

from nepa_mm.datasets.tiff_windows import LARGE, TiffWindows, is_tiff, size_in, thumbnail
from nepa_mm.errors import ConfigError, DataError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.models.dense.blocks import Place, labels_of, logit_blocks, window_grid
from nepa_mm.models.dense.windows import WINDOWS, many_windows
from nepa_mm.new_files import NotWritten, new_file

from .image_batches import unpredicted
from .images import picture_of, steps_of
from .run_model import Inference, failure, progress_bar
from .untrusted_config import LABELS

BY_PIXEL = ('PackSegInputs', 'Normalize', 'CutWindow')  # steps that make the same of a window as of the whole
TILE = 512  # side of a tile of a label map, in pixels
PICTURE = 2048  # longest side of a picture, in pixels


def require_windows(model: BaseModel) -> None:
    """ConfigError for a model whose labels of the windows of an image are not those of the whole image: one without slide
    mode, or whose test pipeline does more than to load, normalise and pack.
    """
    test_cfg = getattr(model, 'test_cfg', None) or {}
    if not isinstance(model, EncoderDecoder) or test_cfg.get('mode') != 'slide':
        raise ConfigError(f'{test_cfg.get("mode")!r}: windows are read for slide mode', 'model.test_cfg.mode',
                          "set 'slide', with crop_size and stride, in the config file")
    other = [name_of(step) for step in steps_of(model)[1:] if name_of(step) not in BY_PIXEL and step['type'] not in LABELS]
    if other:
        raise ConfigError(f'{other[0]} makes of the whole image what windows cannot have', 'test_dataloader.dataset.pipeline',
                          'take it out of the config file, and give that with --checkpoint')
    if getattr(model.data_preprocessor, 'test_cfg', None):
        raise ConfigError(f'{model.data_preprocessor.test_cfg} pads whole images', 'model.data_preprocessor.test_cfg',
                          'leave it out')


class LargeImages:
    """Images of which windows are read, and their labels; ``always`` so, whatever their size.

    ConfigError if all are to be, and the model does not allow it.
    """

    def __init__(self, inference: Inference, always: bool) -> None:
        self.inference, self.model, self.always, self.why_not = inference, inference.model, always, None
        try:
            require_windows(self.model)
        except ConfigError as error:
            if always:
                raise
            self.why_not = error

    def include(self, path: Path) -> bool:
        """Whether an image is read by windows: a TIFF of more than 4096 x 4096 pixels, or any if all are.

        Where the model does not allow it, those alone that Pillow refuses for their size, which then end in a line.
        """
        most = LARGE if self.why_not is None else 2 * (Image.MAX_IMAGE_PIXELS or 2**62)
        return self.always or prod(size_in(path)) > most

    def label(self, path: Path, label_map: Path | None, say: Callable[[Path, np.ndarray], None],
              draw: Callable[[Path, np.ndarray, np.ndarray], None]) -> int:
        """Label an image. What is wrong with it costs a line; 1 then, to count. ConfigError for want of memory, or of a place.

        Args:
            label_map: The file to write its labels to, a tiled TIFF, which is there when all is done; None writes nothing.
            say: Called with the path, and how many pixels each class has [256].
            draw: If there is a label map: called with the path, and both scaled down: the image, RGB [h, w, 3], and its labels.
        """
        try:
            pixels = self.open(path)
            if label_map is None:
                say(path, self.counts(pixels))
                return 0
            label_map.parent.mkdir(parents=True, exist_ok=True)
            with new_file(label_map) as temporary:
                counts = self.write(pixels, temporary)
                step = -(-max(pixels.shape[:2]) // PICTURE)
                say(path, counts)
                are_bands = getattr(self.inference.load, 'channels', None) is not None
                draw(path, picture_of(thumbnail(pixels, step), are_bands), thumbnail(TiffWindows(temporary), step))
        except DataError as error:
            return failure(str(error))
        except NotWritten:  # the label map
            raise
        except torch.OutOfMemoryError:
            at_once = self.model.test_cfg.get('windows_at_once', WINDOWS)
            raise ConfigError(f'{at_once} windows take more memory than the device has', 'model.test_cfg.windows_at_once',
                              'lower it') from None
        except (ConfigError, RuntimeError) as error:  # of the model, as of an image smaller than a patch
            if os.environ.get('NEPA_DEBUG') == '1':
                raise
            return failure(unpredicted(pixels.shape[:2], error, str(path)))
        return 0

    def open(self, path: Path) -> TiffWindows:
        """An image, as the first step of the model's test pipeline loads it, of which windows are read."""
        if self.why_not is not None:
            raise DataError(f'too large to be read at once, and {self.why_not.where}: {self.why_not.what}', str(path),
                            self.why_not.remedy)
        if not is_tiff(path):
            raise DataError('no TIFF, and windows are read of nothing else', str(path),
                            'leave out --windows, or save it as a tiled TIFF')
        return self.inference.load.windows(str(path))

    def write(self, pixels: TiffWindows, path: Path) -> np.ndarray:
        """Label an image and write its label map; gives how many pixels each class has, int64 [256]."""
        size = pixels.shape[:2]
        # Blocks follow each other from the top, span by span, and the tiles of a file row by row
        with TemporaryFile(dir=path.parent) as plain:
            counts = self.counts(pixels, plain)
            tifffile.imwrite(path, tiles_of(plain, size), shape=size, dtype=np.uint8, tile=(TILE, TILE), compression='zlib',
                             photometric='minisblack', metadata=None)
        return counts

    def counts(self, pixels: TiffWindows, plain: BinaryIO | None = None) -> np.ndarray:
        """Label an image: pixels of each class, int64 [256]. The labels go, row by row, to an open file if there is one."""
        counts = np.zeros(256, np.int64)
        for rows, columns, labels in self.blocks(pixels):
            counts += np.bincount(labels.ravel(), minlength=256)
            for y, row in enumerate(labels if plain else (), rows.start):
                plain.seek(y * pixels.shape[1] + columns.start)
                plain.write(row.tobytes())
        return counts

    def blocks(self, pixels: TiffWindows) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Rows, columns and labels, uint8 [rows, columns], of blocks that cover each pixel once."""
        size, inference = pixels.shape[:2], self.inference
        rows, columns = window_grid(size, self.model.test_cfg)
        warning = many_windows(len(rows) * len(columns), size, self.model.test_cfg)
        if warning:
            print(f'nepa_mm: {pixels.path}: {warning}', file=sys.stderr, flush=True)
        with progress_bar(len(rows) * len(columns), 'windows') as advance, torch.no_grad(), \
                torch.autocast(inference.device.type, torch.bfloat16, enabled=inference.amp):
            def read(places: Sequence[Place]) -> Tensor:
                advance(len(places))
                return self.inputs(pixels, places)

            for rows, columns, logits in logit_blocks(self.model, size, read):
                yield rows, columns, labels_of(self.model, logits).to(torch.uint8).cpu().numpy()

    def inputs(self, pixels: TiffWindows, places: Sequence[Place]) -> Tensor:
        """Windows as the model's test gets them, [N, bands, h, w] on its device."""
        prepared = []
        for rows, columns in places:
            window = pixels[rows, columns]
            size = window.shape[:2]
            prepared.append(self.inference.prepare(dict(img=window, img_shape=size, ori_shape=size)))
        data = dict(inputs=[each['inputs'] for each in prepared], data_samples=[each['data_samples'] for each in prepared])
        return self.model.data_preprocessor(data, False)['inputs']


def tiles_of(plain: BinaryIO, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Tiles of labels that lie row by row in a file, from the left and from the top; the last ones are filled up with 0."""
    height, width = size
    for top in range(0, height, TILE):
        plain.seek(top * width)
        band = np.frombuffer(plain.read(min(TILE, height - top) * width), np.uint8).reshape(-1, width)
        for left in range(0, width, TILE):
            tile = np.zeros((TILE, TILE), np.uint8)
            part = band[:, left:left + TILE]
            tile[:part.shape[0], :part.shape[1]] = part
            yield tile
