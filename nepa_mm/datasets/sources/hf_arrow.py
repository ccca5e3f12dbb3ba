"""Opening and ordering what Hugging Face ``datasets`` saved. Imported only where it is used: the library is optional."""
import io
import json
import os
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from nepa_mm.errors import DataError

SAME_SPLIT = {'val': 'validation', 'validation': 'val'}  # mm's name and Hugging Face's
SHARD = re.compile(r'(?P<split>.+)-\d+-of-(?P<count>\d+)')
# Hugging Face's names of ImageNet's files end in the class: n01440764_10026_n01440764.JPEG
CLASS_SUFFIX = r'_n\d{8}(\.[^.]+)$'
LOOKED_AT = 16  # images whose encoding is looked at
PACKED = 'nepa_mm.pack_images'  # builder of what tools/dataset_converters/pack_images.py wrote, in the order of its folders


def open_split(root: Path, split: str) -> datasets.Dataset:
    """Open one split in ``root``, mapped into memory; its rows are Arrow tables."""
    if not root.is_dir():
        raise DataError(f'{str(root)!r} does not exist', 'data_root', 'link the data there, or give its place')
    splits = find_splits(root)
    if not splits:
        raise DataError(f'{str(root)!r} holds neither a dataset of save_to_disk nor parquet files, but '
                        f'{sorted(path.name for path in root.iterdir())[:10]}', 'data_root', 'give a folder that holds one')
    found = splits.get(split) or splits.get(SAME_SPLIT.get(split))
    if not found:
        hint = "set split='', it is one dataset without splits" if list(splits) == [''] else f'choose from {sorted(splits)}'
        raise DataError(f'{str(root)!r} has no split {split!r}', 'split', hint)
    try:
        if isinstance(found, Path):
            opened = datasets.load_from_disk(str(found), keep_in_memory=False)
        else:
            opened = datasets.Dataset.from_parquet([str(path) for path in complete(found)], keep_in_memory=False)
    except DataError:
        raise
    except Exception as error:  # of Arrow, parquet, the file system, or of datasets about an empty split
        cause = error.__cause__ or error
        raise DataError(f'split {split!r} cannot be read or holds no images ({type(cause).__name__}: '
                        f'{" ".join(str(cause).split())})', str(root), 'save or download it again') from error
    return opened.with_format('arrow')


def find_splits(root: Path) -> dict[str, Path | list[Path]]:
    """Splits in ``root``, each with its folder of Arrow files, or with its parquet files in order."""
    saved = {path.parent.name: path.parent for path in root.glob('*/state.json')}
    if (root / 'state.json').is_file():  # a Dataset alone, not a DatasetDict
        saved[json.loads((root / 'state.json').read_text()).get('_split') or ''] = root
    if saved:
        return saved
    parquet = defaultdict(list)
    for path in sorted(root.rglob('*.parquet')):
        shard = SHARD.match(path.name)
        # train-00000-of-00294.parquet, train/0000.parquet, train.parquet
        parquet[shard['split'] if shard else path.parent.name if path.stem.isdigit() else path.stem].append(path)
    return dict(parquet)


def complete(paths: list[Path]) -> list[Path]:
    """The same parquet files: an interrupted download must not pass for a smaller dataset."""
    shards = [SHARD.match(path.name) for path in paths]
    counts = {int(shard['count']) for shard in shards if shard}
    if counts and counts != {len(paths)}:
        raise DataError(f'{len(paths)} parquet files like {paths[0].name!r}, but their names count {sorted(counts)}',
                        str(paths[0].parent), 'download the rest or remove the others')
    return paths


def image_names(images: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """File names of a column of ``datasets.Image``, None for an image without; the bytes beside them are not read."""
    if not pa.types.is_struct(images.type) or {field.name for field in images.type} != {'bytes', 'path'}:
        raise DataError(f'a column of the type {images.type}, not that of datasets.Image', where,
                        'choose another column or cast it')
    return pc.replace_substring_regex(pc.struct_field(images, 'path'), r'^.*/', '')


def say_lost(names: pa.ChunkedArray, images: pa.ChunkedArray, where: str) -> None:
    """Say once, on standard error, that images have no file names, and whether they look as if they were encoded anew.

    A ``map`` of ``datasets`` that only looks at an image decodes it, writes it again, a JPEG with Pillow's quality of 75, and
    drops its name. Whoever did so has other pixels than the files had.
    """
    if not names.null_count or os.environ.get('RANK', '0') != '0':
        return
    rows = range(0, len(images), max(1, len(images) // LOOKED_AT))[:LOOKED_AT]
    kinds = [written_at_75(images[row].as_py()['bytes']) for row in rows]
    anew = ''
    if all(kinds):
        anew = (f'; {len(kinds)} that were looked at are JPEG of quality 75 ({sum(kinds) / len(kinds):.2f} bytes a pixel): a map '
                'of datasets that decodes images encodes them anew, with a loss')
    print(f'nepa_mm: {where}: {names.null_count} of {len(names)} images have no file name, so these come in the order of their '
          f'rows, and a seed draws other batches than from the files{anew}. Build it without decoding: '
          'cast_column("image", datasets.Image(decode=False)) before map', file=sys.stderr)


def written_at_75(content: bytes | None) -> float:
    """Bytes a pixel of a JPEG that was written with Pillow's own quality; 0 if it is none."""
    if not content:
        return 0.
    try:
        with Image.open(io.BytesIO(content)) as image:
            tables = getattr(image, 'quantization', None)
            return len(content) / (image.width * image.height) if tables and tables[0] == luminance_of_75() else 0.
    except (OSError, Image.DecompressionBombError):  # a broken one is named when it is drawn
        return 0.


@cache
def luminance_of_75() -> list[int]:
    """Pillow's table by which a JPEG is quantised at its own quality."""
    file = io.BytesIO()
    Image.new('L', (8, 8)).save(file, 'JPEG')
    with Image.open(file) as image:
        return image.quantization[0]


def checked_labels(labels: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """The same labels, after a look that each image has one."""
    if not pa.types.is_integer(labels.type):
        raise DataError(f'a column of the type {labels.type}', where,
                        'choose a column of integers or cast it to datasets.ClassLabel')
    missing = labels.null_count + (pc.sum(pc.less(labels, 0)).as_py() or 0)
    if missing:  # ImageNet's test images have -1
        raise DataError(f'{missing} of {len(labels)} images have no label', where, 'set with_label=False')
    return labels


def sort_rows(names: pa.ChunkedArray, labels: pa.ChunkedArray | None) -> pa.Array:
    """Row numbers by label, then by file name as it was before Hugging Face's suffix; rows without a name keep their order."""
    keys = dict(name=pc.replace_substring_regex(names, CLASS_SUFFIX, r'\1'))
    if labels is not None:
        keys = dict(label=labels, **keys)
    return pc.sort_indices(pa.table(keys), sort_keys=[(key, 'ascending') for key in keys])
