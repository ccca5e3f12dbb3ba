"""Images and label maps that a list names, for mmseg."""
from pathlib import Path

from mmseg.datasets import BaseSegDataset

from nepa_mm.errors import DataError
from nepa_mm.registry import DATASETS


@DATASETS.register_module()
class SegPairs(BaseSegDataset):
    """mmseg's ``BaseSegDataset`` for label maps that are named otherwise than their images.

    ``BaseSegDataset`` makes the name of a label map from its image's by another ending. Here each line of a list names both, with
    a tab between, from ``data_root``. In a test (``test_mode``) a list may name images alone, which have no labels.

    Args:
        ann_file: The list.
        **kwargs: Those of ``BaseSegDataset``.

    Raises:
        DataError: If a line does not name two files that are there.
    """

    def load_data_list(self) -> list[dict]:
        """Facts about each image, in the order of the list."""
        root, found = Path(self.data_root or ''), []
        lines = [line.split('\t') for line in Path(self.ann_file).read_text().splitlines()]
        columns = 1 if self.test_mode and all(len(names) == 1 for names in lines) else 2
        for number, names in enumerate(lines, 1):
            absent = [name for name in names if not (root / name).is_file()]
            if len(names) != columns or absent:
                raise DataError(f'line {number} of {self.ann_file!r} names {absent or names}, and not two files in {str(root)!r}',
                                'ann_file', 'write an image and its label map on each line, with a tab between')
            paths = dict(zip(('img_path', 'seg_map_path'), (str(root / name) for name in names)))
            found.append(dict(**paths, label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[]))
        return found
