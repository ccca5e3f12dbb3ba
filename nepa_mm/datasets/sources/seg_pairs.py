"""Images and label maps that a list names, for mmseg."""
import os
from functools import cache
from itertools import pairwise, product
from math import ceil
from pathlib import Path

from mmseg.datasets import BaseSegDataset

from nepa_mm.datasets.tiff_windows import size_in
from nepa_mm.errors import DataError
from nepa_mm.registry import DATASETS


@DATASETS.register_module()
class SegPairs(BaseSegDataset):
    """mmseg's ``BaseSegDataset`` for label maps that are named otherwise than their images.

    ``BaseSegDataset`` makes the name of a label map from its image's by another ending. Here each line of a list names both, with
    a tab between, from ``data_root``. In a test (``test_mode``) a list may name images alone, which have no labels.

    Args:
        ann_file: The list.
        window: Largest side in pixels of windows in which images, TIFF files, are taken one after the other; together they are
            the image. Their places are in ``window`` of what the dataset gives, for :class:`CutWindow`. None takes images whole.
        **kwargs: Those of ``BaseSegDataset``.

    Raises:
        DataError: If a line does not name two files that are there, or with ``window`` an image is no TIFF.
    """

    def __init__(self, window: int | None = None, **kwargs) -> None:
        self.window = window
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Facts about each image, in the order of the list."""
        root, found = self.data_root or '', []
        lines = [line.split('\t') for line in Path(self.ann_file).read_text().splitlines()]
        names_in = cache(lambda folder: set(os.listdir(folder or '.')) if os.path.isdir(folder or '.') else set())

        def is_there(path: str) -> bool:
            """By one listing of each folder: asking for each file takes long on a network."""
            folder, name = os.path.split(path)
            return name in names_in(folder) or os.path.isfile(path)  # which a file system may spell in its own way

        columns = 1 if self.test_mode and all(len(names) == 1 for names in lines) else 2
        for number, names in enumerate(lines, 1):
            paths = [os.path.join(root, name) for name in names]
            absent = [name for name, path in zip(names, paths) if not is_there(path)]
            if len(names) != columns or absent:
                raise DataError(f'line {number} of {self.ann_file!r} names {absent or names}, and not two files in {root!r}',
                                'ann_file', 'write an image and its label map on each line, with a tab between')
            facts = dict(zip(('img_path', 'seg_map_path'), paths))
            for window in [{}] if self.window is None else self.windows(paths[0]):
                found.append(dict(**facts, label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[],
                                  **window))
        return found

    def windows(self, path: str) -> list[dict]:
        """Windows of an image, as alike as can be: top, bottom, left and right of each."""
        size = size_in(path)
        if not all(size):
            raise DataError(f'no TIFF, and window={self.window} takes images in windows', f'img_path={path!r}',
                            'save it as a tiled TIFF, or leave out window')
        rows, columns = ([side * part // count for part in range(count + 1)]
                         for side, count in ((side, ceil(side / self.window)) for side in size))
        return [dict(window=(*vertical, *horizontal)) for vertical, horizontal in product(pairwise(rows), pairwise(columns))]
