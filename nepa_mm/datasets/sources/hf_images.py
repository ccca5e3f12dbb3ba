"""Images in Hugging Face's formats on this machine's disk."""
import os
from pathlib import Path

from mmpretrain.datasets import BaseDataset

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.registry import DATASETS


@DATASETS.register_module()
class HFImageDataset(BaseDataset):
    """Images that Hugging Face ``datasets`` saved with ``save_to_disk``, or a folder of parquet files as on the hub.

    The same samples in the same order as mmpretrain's folders of images, that is by label, then by file name, so that a seed
    draws the same batches from either. What tools/dataset_converters/pack_images.py wrote is in that order already. Images stay
    encoded until :class:`LoadImage` decodes them; the network is never asked.

    Images without file names come in the order of their rows, which a line on standard error says once.

    Arrow files (of ``save_to_disk``) are mapped into memory and read where they are. Parquet files cannot be read image by
    image: ``datasets`` first copies them, once, to Arrow files of the same size below ``HF_DATASETS_CACHE``.

    Args:
        data_root: The folder given to ``save_to_disk``, or one that holds parquet files, in folders of its own too
            (``data/train-00000-of-00294.parquet``).
        split: 'train', 'val' (or Hugging Face's 'validation'), 'test', ...; '' for a dataset saved without a split.
        with_label: Whether to give ``gt_label``.
        image_column: Column of images.
        label_column: Column of integers. Where there is one, it orders images without labels too, as folders of classes do.
        **kwargs: ``pipeline``, ``metainfo``, ``indices``, ... of mmpretrain's ``BaseDataset``. Unless they give classes,
            ``metainfo['classes']`` are the names of the label column, where it has any.

    Raises:
        ConfigError: If ``datasets`` is not installed.
        DataError: If folder, split, column, images or labels are missing or cannot be read.
    """

    def __init__(self, data_root: str, split: str = 'train', with_label: bool = True, image_column: str = 'image',
                 label_column: str = 'label', **kwargs) -> None:
        self.split, self.with_label, self.image_column, self.label_column = split, with_label, image_column, label_column
        super().__init__(ann_file='', data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Order the rows: a dict of ``row`` and, with labels, ``gt_label`` for each. No image is read."""
        try:
            from . import hf_arrow
        except ImportError as error:
            raise ConfigError(f"'HFImageDataset' needs a library ({error})", 'dataset.type', 'pip install datasets') from error
        images = hf_arrow.open_split(Path(self.data_root), self.split)
        table = images[:]  # a view of the mapped files
        column, where = self._column(table, 'image_column')
        names = hf_arrow.image_names(column, where)
        hf_arrow.say_lost(names, column, where)
        labels = None
        if self.with_label:
            labels = hf_arrow.checked_labels(*self._column(table, 'label_column'))
            classes = getattr(images.features[self.label_column], 'names', None)
            self.label_names = classes  # which CheckDatasetsHook compares
            if self.CLASSES is None and classes:
                self._metainfo['classes'] = tuple(classes)
        elif self.label_column in table.column_names:
            labels = table[self.label_column]
        self._images = images.select_columns([self.image_column])
        if images.info.builder_name == hf_arrow.PACKED:
            rows = hf_arrow.pa.array(range(len(table)))  # in order already
        else:
            rows = hf_arrow.sort_rows(names, labels)
        if not self.with_label:
            return [dict(row=row) for row in rows.to_pylist()]
        return [dict(row=row, gt_label=label) for row, label in zip(rows.to_pylist(), labels.take(rows).to_pylist())]

    def get_data_info(self, idx: int) -> dict:
        """``img_path``, ``gt_label`` and, unless the row only refers to a file, ``img_bytes`` of one sample."""
        info = super().get_data_info(idx)
        row = info.pop('row')
        image = self._images.data.column(self.image_column)[row].as_py()  # past the library's formatting: half of its time
        if image['bytes'] is None and image['path']:
            return dict(info, img_path=image['path'])
        # There is no such file: the path tells a person which image this is.
        name = os.path.basename(image['path']) if image['path'] else f'row {row}'
        return dict(info, img_path=os.path.join(self.data_root, self.split, name), img_bytes=image['bytes'])

    def _column(self, table, key: str) -> tuple:
        """The column that argument ``key`` names, and what errors about it begin with."""
        column, where = getattr(self, key), f'data_root={self.data_root!r} split={self.split!r}'
        if column not in table.column_names:
            raise DataError(f'{column!r} is no column of {where}', key, f'choose from {table.column_names}')
        if not len(table):
            raise DataError('it holds no images', where, 'choose another split')
        return table[column], f'{where} {key}={column!r}'

    def extra_repr(self) -> list[str]:
        return [f'Root of dataset: \t{self.data_root}', f'Split: \t{self.split}']
