"""Folders of images: that each class has some, and what is left out of them."""
import os
from collections.abc import Collection
from pathlib import Path

from nepa_mm.datasets.sources.find_images import names_under, say_left_out, shown
from nepa_mm.errors import DataError


def check_folder(folder: Path, suffixes: Collection[str], key: str, with_label: bool) -> int:
    """Images of a folder, or of each class folder in it; what does not end as they do is counted on standard error.

    Args:
        folder: With one folder for each class, if there are labels.
        suffixes: Of the dataset's images, in small letters.
        key: Of the dataset.
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
        raise DataError(f'{str(folder)!r} has no class folders', key, 'it must hold one folder of images for each class')
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
