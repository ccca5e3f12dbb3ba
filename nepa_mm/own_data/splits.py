"""Which images are there to train, to validate and to test."""
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from nepa_mm.errors import DataError

T = TypeVar('T')
NAMES = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test',
         'testing': 'test'}
WORDS = re.compile(r'[a-z]+|[0-9]+')
GLUED = re.compile(r'^(train|val|test)(annot|masks?|labels?|images?)$')


def words_of(name: str) -> list[str]:
    """Words of a name in small letters: of 'trainLabels_2' train, labels and 2; of 'valannot' val and annot."""
    words = WORDS.findall(re.sub(r'(?<=[a-z0-9])(?=[A-Z])', ' ', name).lower())
    return [part for word in words for part in (GLUED.sub(r'\1 \2', word).split())]


def split_named(folder: str) -> str | None:
    """'train', 'val' or 'test' where a folder's name is that of a split."""
    return NAMES.get(folder.lower())


def split_in(folders: Sequence[str]) -> str | None:
    """The split that a word in the names of folders says, the innermost counting: of 'train_masks' train."""
    for folder in reversed(folders):
        for word in words_of(folder):
            if word in NAMES:
                return NAMES[word]
    return None


def split_folders(root: Path) -> dict[str, str]:
    """Names of the folders in ``root`` that are splits, by 'train', 'val', 'test'; none without one to train on."""
    found = {NAMES[path.name.lower()]: path.name for path in sorted(root.iterdir())
             if path.is_dir() and path.name.lower() in NAMES}
    return found if 'train' in found else {}


def sifted(splits: Mapping[str, Sequence[T]], keep: Callable[[T], bool], root: Path) -> dict[str, list[T]]:
    """Of each split what is to be kept.

    Raises:
        DataError: If nothing of one is.
    """
    kept = {split: list(filter(keep, items)) for split, items in splits.items()}
    for split, items in kept.items():
        if not items:
            raise DataError(f'all {len(splits[split])} images of {split!r} are broken', str(root), 'mend one of them')
    return kept


def draw_split(items: Sequence[T], classes: Sequence[Hashable], share: float, seed: int) -> tuple[list[T], list[T]]:
    """Training and validation, drawn by a seed in each class, of which one stays to train on: their order is that of ``items``.

    Args:
        items: To share out.
        classes: Of each item.
        share: Of a class that goes to validation, rounded to the nearest; one at least of a class of two or more.
        seed: Of the drawing.
    """
    members = defaultdict(list)
    for index, name in enumerate(classes):
        members[name].append(index)
    number, chosen = np.random.default_rng(seed), set()
    for indices in members.values():
        count = min(max(round(share * len(indices)), 1), len(indices) - 1)
        chosen.update(number.permutation(indices)[:count].tolist())
    return ([item for index, item in enumerate(items) if index not in chosen],
            [item for index, item in enumerate(items) if index in chosen])
