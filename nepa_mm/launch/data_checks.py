"""Look for the data that a config names before anything is built, and name its keys in errors about a file."""
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from nepa_mm.datasets.sources.find_images import IMAGE_SUFFIXES, say_left_out
from nepa_mm.errors import ConfigError, DataError, first_line

from .folder_checks import check_folder, names_under

PICKLE_SUFFIXES = ('.pkl', '.pickle', '.p')  # which mmengine's datasets would run
FOLDERS = ('CustomDataset', 'ImageNet')  # mmpretrain's datasets of folders of images


def check_data(cfg: Config, splits: tuple[str, ...] = ('train', 'val', 'test')) -> None:
    """Look for the data of each loader before a model is built."""
    for key, dataset in datasets_of(cfg, splits):
        check_dataset(dataset, key)


def read_every_suffix(cfg: Config) -> None:
    """Let folders of images hold all that Pillow reads, where a dataset names no extensions: mmpretrain leaves out .webp."""
    for _, dataset in datasets_of(cfg, ('train', 'val', 'test')):
        if isinstance(dataset.get('type'), str) and dataset['type'].split('.')[-1] in FOLDERS:
            dataset.setdefault('extensions', IMAGE_SUFFIXES)


def datasets_of(cfg: Config, splits: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each dataset of the loaders, of those inside wrappers too."""
    for split in splits:
        if cfg.get(f'{split}_dataloader'):
            yield from parts_of(cfg[f'{split}_dataloader'].get('dataset', {}), f'{split}_dataloader.dataset')


def parts_of(dataset: dict, key: str) -> Iterator[tuple[str, dict]]:
    """A dataset with its key, after those that it holds; one that wraps a single one is passed over if it has no pipeline."""
    if 'dataset' in dataset:
        yield from parts_of(dataset['dataset'], f'{key}.dataset')
        if 'pipeline' not in dataset:
            return
    for i, part in enumerate(dataset.get('datasets', [])):
        yield from parts_of(part, f'{key}.datasets.{i}')
    yield key, dataset


def check_dataset(dataset: dict, key: str) -> None:
    """Check the folders and lists of a dataset config."""
    for name, value in dataset.items():
        if isinstance(value, str) and value.lower().endswith(PICKLE_SUFFIXES):
            raise DataError(f'{value!r} is a pickle, which would run code as it is read; nothing was run', f'{key}.{name}',
                            'write it as .txt or .json')
    # Others may download their data, or name folders in ways of their own.
    kind = dataset.get('type', '').split('.')[-1]
    by_class = kind in FOLDERS and dataset.get('split') != 'test'
    is_hf = kind == 'HFImageDataset'
    if not dataset.get('data_root') or not (by_class or is_hf or isinstance(dataset.get('data_prefix'), dict)):
        return
    root = Path(dataset['data_root'])
    if not root.is_dir():
        raise DataError(f'{str(root)!r} does not exist', f'{key}.data_root',
                        f'link the data there, or give its place with --cfg-options {key}.data_root=PATH')
    if is_hf:  # splits are in files, which the dataset reads
        return
    prefix = dataset.get('data_prefix') or dataset.get('split') or ''
    prefixes = prefix if isinstance(prefix, dict) else {'': prefix}
    for name, folder in prefixes.items():
        where = f'{key}.data_prefix.{name}' if name else f'{key}.{"data_prefix" if dataset.get("data_prefix") else "split"}'
        if not (root / folder).is_dir():
            raise DataError(f'{folder!r}: there is no folder {str(root / folder)!r}', where,
                            f'choose from what data_root={str(root)!r} holds, {some_names(root)}')
    ann_file = dataset.get('ann_file')
    if ann_file and not (root / ann_file).exists():
        raise DataError(f'{ann_file!r}: there is no file {str(root / ann_file)!r}', f'{key}.ann_file', 'give the list of images')
    if ann_file and by_class:
        check_lines(root / ann_file, [root / folder for folder in prefixes.values()], key, dataset.get('with_label', True))
    listed = ann_file or (root / 'meta' / f'{prefix}.txt').is_file()
    if by_class and not listed:
        with_label, suffixes = dataset.get('with_label', True), dataset.get('extensions', IMAGE_SUFFIXES)
        folder = root / prefixes.get('img_path', prefixes.get('', ''))
        classes = check_folder(folder, [suffix.lower() for suffix in suffixes], key, with_label)
        if with_label:
            check_class_count(dataset, folder, classes, key)
        if kind == 'ImageNet' and with_label and not dataset.get('metainfo') and classes != 1000:
            raise DataError(f"'ImageNet' has 1000 classes, but {str(folder)!r} has {classes} folders", f'{key}.type',
                            f'name them in order: --cfg-options {key}.metainfo.classes="[a,b]"')
    if 'seg_map_path' in prefixes:
        check_label_maps(dataset, key)


def check_lines(path: Path, folders: list[Path], key: str, with_label: bool) -> None:
    """A list of images, one in a line, must not lead out of the folder that they are in."""
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.startswith('/') and '..' not in line:  # nearly all
                continue
            name = line.strip().rsplit(' ', 1)[0] if with_label else line.strip()
            if not any(Path(os.path.normpath(folder / name)).is_relative_to(os.path.normpath(folder)) for folder in folders):
                raise DataError(f'line {number} of {str(path)!r}, {name!r}, leads out of {str(folders[0])!r}; nothing was read',
                                f'{key}.ann_file', 'list files inside it, or choose data_prefix above them all')


def some_names(folder: Path) -> list[str]:
    """Names of the first ten things in a folder."""
    return sorted(path.name for path in folder.iterdir())[:10]


def check_class_count(dataset: dict, folder: Path, count: int, key: str) -> None:
    """Names of classes must be as many as the folders, whose place in the alphabet is the label."""
    given = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(given, (list, tuple)) and len(given) != count:
        absent = [name for name in given if not (folder / str(name)).is_dir()]
        missing = f'; none is called {", ".join(map(repr, absent[:5]))}' if len(absent) < len(given) and absent else ''
        raise DataError(f'{len(given)} names, but {str(folder)!r} has {count} folders{missing}', f'{key}.metainfo.classes',
                        'name each folder; images of some classes are listed in an ann_file, with the numbers of these')


def check_label_maps(dataset: dict, key: str) -> None:
    """A segmentation dataset of mmseg must find images, and a label map for each."""
    from mmseg.datasets import BaseSegDataset  # which the other tasks do without
    from mmseg.registry import DATASETS
    try:
        kind = DATASETS.get(dataset['type'])
    except RuntimeError:  # not registered yet
        return
    if getattr(kind, 'load_data_list', None) is not BaseSegDataset.load_data_list:
        return
    arguments = {name: value for name, value in dataset.items() if name not in ('type', 'pipeline')}
    try:
        built = kind(**{**arguments, 'lazy_init': True})
    except (AssertionError, ValueError) as error:
        if str(error):  # about classes or palette
            raise ConfigError(f'it does not fit {dataset["type"]}: {first_line(error)}', f'{key}.metainfo',
                              'give classes of the dataset, and a palette as long') from error
        raise ConfigError(f'{dataset.get("ann_file")!r} is no list of images, which {dataset["type"]} needs', f'{key}.ann_file',
                          'give one') from error
    for step_key, step in steps_of(dataset.get('pipeline', []), f'{key}.pipeline'):
        reduced = step.get('reduce_zero_label')
        if step.get('type', '').endswith('Annotations') and reduced not in (None, built.reduce_zero_label):
            raise ConfigError(f'{reduced} differs from {key}.reduce_zero_label={built.reduce_zero_label}',
                              f'{step_key}.reduce_zero_label',
                              'set both to True if 0 in the label maps is no class, else to False')
    pairs = built.load_data_list()
    if not pairs:
        folder = built.data_prefix['img_path']
        if built.ann_file:
            raise DataError(f'{dataset["ann_file"]!r} lists no image', f'{key}.ann_file', 'give the list of images')
        raise DataError(f'{built.img_suffix!r}: no file in {folder!r} ends so', f'{key}.img_suffix',
                        f'give the suffix of what it holds, {some_names(Path(folder))}')
    if not built.ann_file and built.data_prefix['img_path'] != built.data_prefix.get('seg_map_path'):
        folder, suffix = built.data_prefix['img_path'], built.img_suffix
        say_left_out(f'{key}: {folder!r}', names_under(folder), (suffix, ), f'do not end in img_suffix={suffix!r}')
    if dataset.get('indices') is None:  # or else the loader says what is missing among those
        check_pairs(built, pairs, key)


def check_pairs(built, pairs: list[dict], key: str) -> None:
    """Each image that a file lists, and each label map, must be there."""
    images, labels = ([os.path.normpath(pair[kind]) for pair in pairs] for kind in ('img_path', 'seg_map_path'))
    if built.ann_file:
        absent = sorted(set(images).difference(files_under(built.data_prefix['img_path'])))
        if absent:
            raise DataError(f'{built.ann_file!r} lists {len(pairs)} images, of which {len(absent)} are not there, such as '
                            f'{absent[0]!r}', f'{key}.ann_file',
                            f'add them, or check data_prefix.img_path and img_suffix={built.img_suffix!r}')
    there = set(files_under(built.data_prefix['seg_map_path']))
    absent = [(image, label) for image, label in zip(images, labels) if label not in there]
    if absent:
        raise DataError(f'{built.data_prefix["seg_map_path"]!r}: {len(absent)} of {len(pairs)} images have no label map, such as '
                        f'{absent[0][0]!r}, whose would be {absent[0][1]!r}', f'{key}.data_prefix.seg_map_path',
                        f'add them, or check seg_map_suffix={built.seg_map_suffix!r} too')


def files_under(folder: str) -> Iterator[str]:
    """Paths of all files in a folder and those inside it, as one listing gives them: asking for each is slow on a network."""
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (os.path.normpath(os.path.join(place, name)) for name in names)


def steps_of(pipeline: list, key: str) -> Iterator[tuple[str, dict]]:
    """Dotted key and config of each transform of a pipeline, of those that others hold too."""
    for i, step in enumerate(pipeline):
        if isinstance(step, dict):
            yield f'{key}.{i}', step
            yield from steps_of(step.get('transforms', []), f'{key}.{i}.transforms')
        elif isinstance(step, (list, tuple)):  # TestTimeAug's choices
            yield from steps_of(step, f'{key}.{i}')


@contextmanager
def naming_data(cfg: Config, splits: tuple[str, ...]) -> Iterator[None]:
    """Name the dotted key that led to a file in an error about one, ``3 channels ... | seg_map_path='...'``."""
    try:
        yield
    except DataError as error:
        found = re.fullmatch(r"(img_path|seg_map_path)='([^']+)'", error.where)
        if found is None:
            raise
        kind, path = found.groups()
        keys = [f'{key}.data_prefix.{kind}' for key, dataset in datasets_of(cfg, splits) if is_inside(path, dataset, kind)]
        if not keys:
            raise
        raise DataError(error.what, f'{error.where} ({" or ".join(keys)})',
                        error.remedy) from error


def is_inside(path: str, dataset: dict, kind: str) -> bool:
    """Whether a file is under a dataset's folder of one kind."""
    prefix = dataset.get('data_prefix')
    return isinstance(prefix, dict) and isinstance(prefix.get(kind), str) and Path(path).is_relative_to(
        Path(dataset.get('data_root') or '') / prefix[kind])
