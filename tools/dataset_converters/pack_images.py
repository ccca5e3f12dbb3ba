"""Pack a folder of images into a few large files, each image with the bytes of its file.

    python tools/dataset_converters/pack_images.py data/imagenet/train data/imagenet-packed/train

SRC holds one folder of images for each class, or images without classes. DST, which names the split, becomes a dataset of Hugging
Face's `save_to_disk` with the same samples, labels and classes in the same order. Train from it with

    --cfg-options train_dataloader.dataset.type=nepa_mm.HFImageDataset train_dataloader.dataset.data_root=data/imagenet-packed

It appears as a whole, after every image was read back and compared, or not at all: until then it is in a hidden folder beside
DST, which an error or Ctrl-C removes.
"""
import argparse
import json
import os
import uuid
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from rich.progress import track

from nepa_mm.errors import ConfigError, DataError, one_line_errors
from nepa_mm.find_images import IMAGE_SUFFIXES, names_under, say_left_out, shown
from nepa_mm.new_files import refuse_existing, require_place

BATCH, BATCHES = 32 << 20, 64  # bytes of images in a record batch; batches in a file, which makes 2 GB


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', metavar='SRC', type=Path, help='folder of class folders, or of images')
    parser.add_argument('dst', metavar='DST', type=Path, help='folder to make, named as the split: .../train')
    return parser.parse_args()


def list_images(src: Path) -> tuple[list[dict], list[str] | None]:
    """``img_path`` and, with classes, ``gt_label`` of each image, as mmpretrain's CustomDataset orders them; classes."""
    from mmpretrain.datasets import CustomDataset
    entries = [entry for entry in os.scandir(src) if not entry.name.startswith('.')]
    with_label = any(entry.is_dir() for entry in entries)
    beside = sorted(entry.name for entry in entries if entry.is_file() and entry.name.lower().endswith(IMAGE_SUFFIXES))
    if with_label and beside:
        raise DataError(f'{str(src)!r} holds {len(beside)} images beside its folders, such as {beside[0]!r}, which are of no '
                        'class and would be left out', 'SRC', 'move them into a folder or away')
    try:
        dataset = CustomDataset(str(src), with_label=with_label, extensions=IMAGE_SUFFIXES, serialize_data=False)
    except RuntimeError as error:  # its own, of an empty folder
        raise DataError(f'{str(src)!r} holds no image', 'SRC',
                        f'give another folder; known: {shown(IMAGE_SUFFIXES)}') from error
    say_left_out(repr(str(src)), names_under(src), IMAGE_SUFFIXES)
    return dataset.data_list, list(dataset.metainfo['classes']) if with_label else None


def write(images: list[dict], classes: list[str] | None, folder: Path) -> list[int]:
    import datasets

    from nepa_mm.datasets.sources.hf_arrow import PACKED
    features = datasets.Features(image=datasets.Image(), **(dict(label=datasets.ClassLabel(names=classes)) if classes else {}))
    sums, names = [], []
    packed = batches(read(images, sums))
    while first := next(packed, None):
        names.append(f'data-{len(names):05d}.arrow')
        write_shard(chain([first], islice(packed, BATCHES - 1)), features.arrow_schema, folder / names[-1])
    datasets.DatasetInfo(features=features, builder_name=PACKED).write_to_directory(str(folder))
    state = dict(
        _data_files=[dict(filename=name) for name in names], _fingerprint=uuid.uuid4().hex[:16], _format_columns=None,
        _format_kwargs={}, _format_type=None, _output_all_columns=False, _split=None)
    (folder / 'state.json').write_text(json.dumps(state, indent=2))
    return sums


def read(images: list[dict], sums: list[int]) -> Iterator[dict]:
    """Rows of the dataset; their checksums are put into ``sums``."""
    for info in track(images, description=f'Packing {len(images)} images'):
        path = Path(info['img_path'])
        content = path.read_bytes()
        if not content:
            raise DataError('it is empty', f'img_path={str(path)!r}', 'mend the file or take it out of the folder')
        sums.append(crc32(content))
        row = dict(image=dict(bytes=content, path=path.name))
        yield dict(row, label=info['gt_label']) if 'gt_label' in info else row


def batches(rows: Iterator[dict]) -> Iterator[list[dict]]:
    """Rows in lists of BATCH bytes."""
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += len(row['image']['bytes'])
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def write_shard(packed: Iterator[list[dict]], schema, path: Path) -> None:
    """One Arrow file, which is on the disk at the end."""
    import pyarrow as pa
    with open(path, 'wb') as file:
        with pa.ipc.new_stream(file, schema) as stream:
            for batch in packed:
                stream.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
        file.flush()
        os.fsync(file.fileno())


def verify(images: list[dict], sums: list[int], folder: Path) -> None:
    """Read every image back as training reads it, and compare checksums and labels."""
    from nepa_mm.datasets import HFImageDataset
    packed = HFImageDataset(str(folder.parent), split=folder.name, with_label='gt_label' in images[0])
    if len(packed) != len(images):
        raise DataError(f'{len(images)} images were packed, but {len(packed)} are there', str(folder),
                        'look at the disk and pack again')
    for i in track(range(len(images)), description=f'Comparing {len(images)} images'):
        info = packed.get_data_info(i)
        if crc32(info['img_bytes']) != sums[i] or info.get('gt_label') != images[i].get('gt_label'):
            raise DataError('it was read back otherwise', f'img_path={images[i]["img_path"]!r}',
                            'look at the disk and pack again')


def pack(src: Path, dst: Path) -> None:
    """Make ``dst`` of ``src``; raises DataError and leaves nothing if it cannot."""
    refuse_existing(dst)
    if not src.is_dir():
        raise DataError(f'{str(src)!r} is no folder', 'SRC', 'give one that holds a folder of images for each class, or images')
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(f'packing needs a library ({error})', 'environment', 'pip install datasets') from error
    datasets.disable_progress_bars()
    images, classes = list_images(src)
    try:
        require_place(dst)
        with TemporaryDirectory(prefix=f'.{dst.name}-', dir=dst.parent) as parent:
            folder = Path(parent, dst.name)
            folder.mkdir()
            verify(images, write(images, classes, folder), folder)
            refuse_existing(dst)  # made meanwhile
            folder.rename(dst)
    except OSError as error:  # unreadable, disk full, a DST made meanwhile
        raise DataError(f'{str(src)!r} cannot be packed ({type(error).__name__}: {error})', str(dst),
                        'mend that and pack again') from error
    size = sum(path.stat().st_size for path in dst.iterdir())
    what = f'{len(images)} images' + (f' of {len(classes)} classes' if classes else '')
    print(f'{dst}: {what}, {size / 1e9:.2f} GB in {len(list(dst.glob("*.arrow")))} files')


if __name__ == '__main__':
    with one_line_errors():
        args = parse_args()
        pack(args.src, args.dst)
