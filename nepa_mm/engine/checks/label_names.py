"""What datasets call their labels, and where that shows that the same number is another class."""
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch.utils.data import Dataset

from nepa_mm.errors import DataError

from .built_parts import wrapped_datasets


class LabelNames(NamedTuple):
    """Names by label, what says them, and whether they are those of the data, such as folders, of which labels are places."""
    names: list[str]
    key: str
    of_data: bool


def label_names_in(dataset: Dataset, key: str) -> Iterator[LabelNames]:
    """Names of the labels of a dataset, and of each that it is made of: those of folders or columns, and those given to it."""
    for part in wrapped_datasets(dataset):
        if not getattr(part, 'with_label', True):
            continue
        folders = getattr(part, 'folder_to_idx', None)
        in_data = sorted(folders, key=folders.get) if folders else getattr(part, 'label_names', None)
        if in_data:
            yield LabelNames(list(in_data), f'{key} ({getattr(part, "img_prefix", None) or part.data_root!r})', True)
        given = (getattr(part, 'metainfo', None) or {}).get('classes')
        if given:
            yield LabelNames(list(given), f'{key}.metainfo.classes', False)


def check_names(expected: LabelNames, found: LabelNames) -> None:
    """The same label must not be one class here and another there, as far as names can tell: those that only one has cannot.

    Raises:
        DataError: If a name that both have is another label, or of two lists of folders with common names one is not the
            beginning of the other.
    """
    label = contradiction(expected, found)
    if label is None:
        return
    name = repr(expected.names[label]) if label < len(expected.names) else 'no class'
    absent = [each for each in expected.names if each not in found.names] if found.of_data else []
    missing = f'; {", ".join(map(repr, absent[:5]))} is not there' if absent else ''
    order = f'{expected.names[:5]}{", ..." * (len(expected.names) > 5)}'
    remedy = ('give both the same folders, an empty one in validation or test where a class has no images, or list images in an '
              'ann_file, with the numbers of these'
              if found.of_data else f'name the classes in the order of their labels, {order}')
    raise DataError(f'label {label} is {found.names[label]!r}, and {name} in {expected.key}{missing}', found.key, remedy)


def contradiction(expected: LabelNames, found: LabelNames) -> int | None:
    """The first label whose name shows that it is another class."""
    place = {name: label for label, name in unique(expected.names)}
    common = {label: place[name] for label, name in unique(found.names) if name in place}
    for label, other in common.items():
        if label != other:
            return label
    if common and expected.of_data and found.of_data:
        for label, name in enumerate(found.names):
            if name != (expected.names[label:label + 1] or [None])[0]:
                return label
    return None


def unique(names: Sequence[str]) -> list[tuple[int, str]]:
    """Labels and names, without names that two labels have, as 'crane' of ImageNet."""
    count = Counter(names)
    return [(label, name) for label, name in enumerate(names) if count[name] == 1]
