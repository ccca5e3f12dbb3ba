"""That a segmentation data set of mmseg finds images, and a label map for each."""
import os
from pathlib import Path

from nepa_mm.errors import ConfigError, DataError, first_line
from nepa_mm.find_images import files_under, names_under, say_left_out
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import steps_of


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
    for step_key, step in steps_of(dataset, key):
        reduced = step.get('reduce_zero_label')
        if name_of(step).endswith('Annotations') and reduced not in (None, built.reduce_zero_label):
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
    """Each image that a file lists, and each label map, must be there; a test may do without labels (``format_only``)."""
    images = [os.path.normpath(pair['img_path']) for pair in pairs]
    if built.ann_file:
        absent = sorted(set(images).difference(files_under(built.data_prefix['img_path'])))
        if absent:
            raise DataError(f'{built.ann_file!r} lists {len(pairs)} images, of which {len(absent)} are not there, such as '
                            f'{absent[0]!r}', f'{key}.ann_file',
                            f'add them, or check data_prefix.img_path and img_suffix={built.img_suffix!r}')
    if 'seg_map_path' not in pairs[0]:
        return
    labels = [os.path.normpath(pair['seg_map_path']) for pair in pairs]
    there = set(files_under(built.data_prefix['seg_map_path']))
    absent = [(image, label) for image, label in zip(images, labels) if label not in there]
    if absent:
        raise DataError(f'{built.data_prefix["seg_map_path"]!r}: {len(absent)} of {len(pairs)} images have no label map, such as '
                        f'{absent[0][0]!r}, whose would be {absent[0][1]!r}', f'{key}.data_prefix.seg_map_path',
                        f'add them, or check seg_map_suffix={built.seg_map_suffix!r} too')


def some_names(folder: Path) -> list[str]:
    """Names of the first ten things in a folder."""
    return sorted(path.name for path in folder.iterdir())[:10]
