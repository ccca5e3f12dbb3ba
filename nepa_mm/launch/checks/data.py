"""Look for the folders, lists and images of each data set that a config names."""
import os
from collections.abc import Collection
from pathlib import Path

from mmengine.config import Config

from nepa_mm.errors import ConfigError, DataError
from nepa_mm.find_images import IMAGE_SUFFIXES, names_under, say_left_out, shown
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import FOLDERS, SPLITS, datasets_of

from .label_maps import check_label_maps, some_names
from .metrics import UNLABELLED

PICKLE_SUFFIXES = ('.pkl', '.pickle', '.p')  # which mmengine's datasets would run


def check_data(cfg: Config, splits: tuple[str, ...] = SPLITS) -> None:
    """Look for the data of each loader; some datasets download theirs, or name folders in ways of their own."""
    for key, dataset in datasets_of(cfg, splits):
        for name, value in dataset.items():
            if isinstance(value, str) and value.lower().endswith(PICKLE_SUFFIXES):
                raise DataError(f'{value!r} is a pickle, which would run code as it is read; nothing was run', f'{key}.{name}',
                                'write it as .txt or .json')
        kind = name_of(dataset)
        by_class = kind in FOLDERS and dataset.get('split') != 'test'
        if not dataset.get('data_root') or not (
                by_class or kind == 'HFImageDataset' or isinstance(dataset.get('data_prefix'), dict)):
            continue
        root = Path(dataset['data_root'])
        if not root.is_dir():
            raise DataError(f'{str(root)!r} does not exist', f'{key}.data_root',
                            f'link the data there, or give its place with --cfg-options {key}.data_root=PATH')
        if kind == 'HFImageDataset':  # splits are in files, which the dataset reads
            continue
        folders = check_folders(dataset, root, key)
        if by_class:
            check_images(dataset, root, folders, key)
        if 'seg_map_path' in folders:
            check_label_maps(dataset, key)


def check_folders(dataset: dict, root: Path, key: str) -> dict[str, Path]:
    """Folders of a dataset by their names in ``data_prefix``, '' if it is one alone; they and the list must be there."""
    name = 'data_prefix' if dataset.get('data_prefix') else 'split'
    prefix = dataset.get(name) or ''
    folders = prefix if isinstance(prefix, dict) else {'': prefix}
    for kind, folder in folders.items():
        place = f'{key}.{name}.{kind}'.rstrip('.')
        if not isinstance(folder, str):
            raise ConfigError(f'{folder!r} is no folder', place, 'give its path below data_root, or leave the key out')
        if not (root / folder).is_dir():
            raise DataError(f'{folder!r}: there is no folder {str(root / folder)!r}', place,
                            f'choose from what data_root={str(root)!r} holds, {some_names(root)}')
    ann_file = dataset.get('ann_file')
    if ann_file and not (root / ann_file).exists():
        raise DataError(f'{ann_file!r}: there is no file {str(root / ann_file)!r}', f'{key}.ann_file', 'give the list of images')
    return {kind: root / folder for kind, folder in folders.items()}


def check_images(dataset: dict, root: Path, folders: dict[str, Path], key: str) -> None:
    with_label, ann_file = dataset.get('with_label', True), dataset.get('ann_file')
    if ann_file:
        check_lines(root / ann_file, list(folders.values()), key, with_label)
    if ann_file or (root / 'meta' / f'{dataset.get("data_prefix") or dataset.get("split") or ""}.txt').is_file():
        return
    folder = folders.get('img_path', folders.get('', root))
    suffixes = [suffix.lower() for suffix in dataset.get('extensions', IMAGE_SUFFIXES)]
    classes = check_folder(folder, suffixes, key, with_label)
    if with_label:
        check_class_count(dataset, folder, classes, key)


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


def check_folder(folder: Path, suffixes: Collection[str], key: str, with_label: bool) -> int:
    """Images of a folder, or of each class folder in it; what does not end as they do is counted on standard error.

    Args:
        folder: With one folder for each class, if there are labels.
        suffixes: Of the dataset's images, in small letters.
        with_label: Whether the folders are classes.

    Returns:
        The number of classes.

    Raises:
        DataError: If there is no image; if a class of a training has none. In validations and tests, some of whose classes may
            well be rare, an empty folder keeps the numbers of those behind it; mmpretrain warns of it.
    """
    classes, beside = next(os.walk(folder))[1:] if with_label else ([''], [])
    folders = [folder / name for name in sorted(classes)]
    if not folders:
        others = f'; {UNLABELLED}' if key.startswith('test_dataloader') else ''
        raise DataError(f'{str(folder)!r} has no class folders', key, f'it must hold one folder of images for each class{others}')
    names, empty = [], []
    for path in folders:
        found = list(names_under(path))
        if not any(name.lower().endswith(tuple(suffixes)) for name in found):
            empty.append(path)
        names += found
    if len(empty) == len(folders) or (empty and key.startswith('train_dataloader')):
        raise DataError(f'{"class folder " * with_label}{str(empty[0])!r} holds no image (known: {shown(suffixes)})', key,
                        'fill it or remove it' if with_label else 'choose another folder, or set extensions of the dataset')
    say_left_out(f'{key}: {str(folder)!r}', names, suffixes)
    say_left_out(f'{key}: {str(folder)!r}', beside, (), 'lie beside the class folders')
    return len(folders)


def check_class_count(dataset: dict, folder: Path, count: int, key: str) -> None:
    """Names of classes must be as many as the folders, whose place in the alphabet is the label."""
    given = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(given, (list, tuple)) and len(given) != count:
        absent = [name for name in given if not (folder / str(name)).is_dir()]
        missing = f'; none is called {", ".join(map(repr, absent[:5]))}' if len(absent) < len(given) and absent else ''
        raise DataError(f'{len(given)} names, but {str(folder)!r} has {count} folders{missing}', f'{key}.metainfo.classes',
                        'name each folder; images of some classes are listed in an ann_file, with the numbers of these')
    if name_of(dataset) == 'ImageNet' and not dataset.get('metainfo') and count != 1000:
        raise DataError(f"'ImageNet' has 1000 classes, but {str(folder)!r} has {count} folders", f'{key}.type',
                        f'name them in order: --cfg-options {key}.metainfo.classes="[a,b]"')
