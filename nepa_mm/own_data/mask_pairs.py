"""Images and their label maps: which file is which, and which two belong together, by the words in their names."""
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nepa_mm.errors import DataError
from nepa_mm.find_images import IMAGE_SUFFIXES, files_under

from .files import image_files
from .splits import NAMES, draw_split, sifted, split_in, split_named, words_of

MASKS = set('mask masks label labels labeled labelled seg segs segmentation segmentations segmap annotation annotations annot '
            'annots ann anns gt gts groundtruth target targets'.split())
IMAGES = set('image images img imgs photo photos picture pictures jpegimages rgb input inputs frame frames raw'.split())
ASIDE = set('object objects instance instances color colors colour colours overlay overlays preview vis'.split())
FILLERS = {'class', 'classes', 'fine', 'ids', 'id', 'left', 'bit', 'l', 'dir'}  # beside words that say what a file is
Pair = tuple[Path, Path]


@dataclass
class MaskPairs:
    """Images with their label maps, by split."""
    root: Path
    splits: dict[str, list[Pair]]
    remarks: list[str] = field(default_factory=list)
    drawn: bool = False  # whether the split was

    @property
    def pairs(self) -> list[Pair]:
        """All of them."""
        return [pair for pairs in self.splits.values() for pair in pairs]

    def without(self, paths: Collection[Path]) -> None:
        """Take out the pairs with these images or label maps."""
        self.splits = sifted(self.splits, lambda pair: not paths & set(pair), self.root)


@dataclass(frozen=True)
class Named:
    """A file, what it is, and what it shares with its partner."""
    path: Path
    role: str | None  # 'mask', 'image', or not said
    key: tuple  # split and words that are left
    aside: bool  # a second way to show the labels

    @classmethod
    def of(cls, path: Path, root: Path, mask_suffix: str | None, image_suffix: str | None) -> 'Named':
        """By the words of its folders and its name, or the end of this where that is told."""
        folders, stem = path.relative_to(root).parts[:-1], path.stem
        if mask_suffix is not None:
            role = 'mask' if path.name.endswith(mask_suffix) else 'image' if path.name.endswith(image_suffix or '') else 'none'
            stem = path.name.removesuffix(mask_suffix if role == 'mask' else image_suffix or path.suffix)
        else:
            role = role_of(folders, words_of(stem))
        words = [word for folder in folders for word in words_of(folder)] + words_of(stem)
        said = MASKS | IMAGES | ASIDE
        telling = any(word in said for word in words)
        key = tuple(word for word in words if word not in said and word not in NAMES and not (telling and word in FILLERS))
        return cls(path, role, (split_in(folders), *key), any(word in ASIDE for word in words))


def role_of(folders: Sequence[str], stem: Sequence[str]) -> str | None:
    """'mask' or 'image' by the end of a name, or by the innermost folder that says it, or by the beginning of the name."""
    while stem and stem[-1] in FILLERS | ASIDE and len(stem) > 1:
        stem = stem[:-1]
    if stem and (stem[-1] in MASKS or stem[0] in ('mask', 'masks')):
        return 'mask'
    for folder in reversed(folders):
        words = set(words_of(folder))
        if words & MASKS:
            return 'mask'
        if words & IMAGES:
            return 'image'
    if stem and (stem[0] in MASKS or stem[-1] in IMAGES or stem[0] in IMAGES):
        return 'mask' if stem[0] in MASKS else 'image'
    return None


def find_pairs(data: Path, val_share: float, seed: int, mask_suffix: str | None = None,
               image_suffix: str | None = None) -> MaskPairs:
    """Images and label maps in a folder.

    Args:
        data: The folder.
        val_share: Of the images that validate, where no split says which.
        seed: Of their drawing.
        mask_suffix: How names of label maps end, as '_mask.png', where words do not say it.
        image_suffix: How names of images end, then.

    Raises:
        DataError: If there are no pairs, a label map has no image, or an image several.
    """
    files = [Named.of(path, data, mask_suffix, image_suffix) for path in image_files(data)]
    masks, images = ([file for file in files if file.role == role] for role in ('mask', 'image'))
    images = images or [file for file in files if file.role is None]
    if not masks or not images:
        raise DataError(f'{len(images)} images and {len(masks)} label maps are told by their names', str(data),
                        "call their folders images/ and masks/, or say how names of label maps end: --mask-suffix _mask.png")
    pairs, alone = matched(images, masks, str(data))
    if not pairs:
        raise DataError(f'none of {len(images)} images has a label map: {images[0].path.name!r} and {masks[0].path.name!r} are '
                        'not named alike', str(data), 'name both alike, or say how names end: --mask-suffix, --image-suffix')
    found = MaskPairs(data, by_split(pairs, data))
    listed = sum(map(len, found.splits.values()))
    if listed < len(pairs):
        found.remarks.append(f'{len(pairs) - listed} images with label maps are in no list of a split and are left out')
    if alone:
        found.remarks.append(f'{len(alone)} images have no label map and are left out, such as {alone[0].relative_to(data)}')
    draw_missing(found, val_share, seed)
    return found


def matched(images: Sequence[Named], masks: Sequence[Named], where: str) -> tuple[list[Pair], list[Path]]:
    """Pairs in the order of the images, and images without a label map.

    Raises:
        DataError: For a label map without an image, or an image with several.
    """
    of_image, of_mask = grouped(images, masks, with_split=True)
    if not of_image.keys() & of_mask.keys():  # splits may be said of one of the two alone
        of_image, of_mask = grouped(images, masks, with_split=False)
    if not of_image.keys() & of_mask.keys():
        return [], []
    pairs, alone = [], []
    for key, found in of_image.items():
        there = of_mask.pop(key, [])
        labels = [file for file in there if not file.aside] or there
        if not labels:
            alone += [file.path for file in found]
        elif len(found) > 1 or len(labels) > 1:
            several = labels if len(labels) > 1 else found
            raise DataError(f'{len(several)} files are one {"label map" if several is labels else "image"} by their names: '
                            f'{several[0].path} and {several[1].path}', where,
                            'say how names end: --mask-suffix _labels.png, --image-suffix .jpg; labels of several files for an '
                            'image make one label map')
        else:
            pairs.append((found[0].path, labels[0].path))
    left = [file.path for group in of_mask.values() for file in group]
    if left:
        raise DataError(f'{len(left)} of {len(masks)} label maps match no image', str(left[0]),
                        'add their images, or say how names end: --mask-suffix, --image-suffix')
    return sorted(pairs), alone


def grouped(images: Sequence[Named], masks: Sequence[Named], with_split: bool) -> Iterator[dict[tuple, list[Named]]]:
    """Images, then label maps, by what partners share."""
    for files in (images, masks):
        groups = defaultdict(list)
        for file in files:
            groups[file.key if with_split else file.key[1:]].append(file)
        yield groups


def by_split(pairs: Sequence[Pair], data: Path) -> dict[str, list[Pair]]:
    """Pairs by the splits that lists or folders say; all to train on where none does."""
    listed = listed_splits(data)
    splits = defaultdict(list)
    for image, mask in pairs:
        place = image.relative_to(data)
        split = next((listed[end] for end in ends_of(place) if end in listed), None) if listed else split_in(place.parts[:-1])
        if split or not listed:
            splits[split or 'train'].append((image, mask))
    return dict(splits)


def listed_splits(data: Path) -> dict[tuple[str, ...], str]:
    """Splits of images by what lists call them, in train.txt, val.txt and test.txt of the folder or as VOC has them.

    Of paths, as video1/0001.png, their ends count too, where one split alone has such.
    """
    for folder in (data / 'ImageSets/Segmentation', data / 'ImageSets', data / 'splits', data):
        lists = {split_named(path.stem): path for path in sorted(folder.glob('*.txt')) if split_named(path.stem)}
        if 'train' in lists:
            named, ends = {}, defaultdict(set)
            for split, path in lists.items():
                for line in filter(str.strip, path.read_text().splitlines()):
                    for text in {line.strip(), line.split()[0]}:  # a name with blanks, or the first of several columns
                        whole, *others = ends_of(Path(text))
                        named[whole] = split
                        for end in others:
                            ends[end].add(split)
            return {end: splits.pop() for end, splits in ends.items() if len(splits) == 1} | named
    return {}


def ends_of(path: Path) -> list[tuple[str, ...]]:
    """Ends of a path, the longest first, without the suffix of an image."""
    parts = (*path.parts[:-1], path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name)
    return [parts[place:] for place in range(len(parts))]


def draw_missing(found: MaskPairs, val_share: float, seed: int) -> None:
    """Draw a validation where there is none.

    Raises:
        DataError: If nothing is left to train on.
    """
    if not found.splits.get('train'):
        raise DataError(f'no pair is there to train on, only {sorted(found.splits)}', str(found.root), 'give a train folder')
    if 'val' in found.splits:
        return
    pairs = found.splits['train']
    if len(pairs) < 2:
        raise DataError('it holds one image with its label map, and none is left to validate', str(found.root), 'give more')
    found.splits['train'], found.splits['val'] = draw_split(pairs, [0] * len(pairs), val_share, seed)
    found.drawn = True
    found.remarks.append(f'no validation is there, so {len(found.splits["val"])} images are drawn for it by seed {seed}, '
                         f'{100 * val_share:g} % of all')


@dataclass(frozen=True)
class Layout:
    """How mmseg's dataset finds the pairs of all splits: folders by split, and the ends of names."""
    folders: dict[str, dict[str, str]]
    image_suffix: str
    mask_suffix: str
    names: dict[str, list[str]]  # of each split, where its folder holds more than its images


def layout_of(found: MaskPairs) -> Layout | None:
    """The layout of pairs that ``BaseSegDataset`` can read; None where names differ in more than their ends."""
    suffixes = Counter(suffixes_of(image.name, mask.name) for image, mask in found.pairs)
    if len(suffixes) != 1:
        return None
    (image_suffix, mask_suffix), = suffixes
    folders, names = {}, {}
    for split, pairs in found.splits.items():
        roots = [Path(os.path.commonpath([pair[kind].parent for pair in pairs])) for kind in (0, 1)]
        rests = [[pair[kind].parent.relative_to(roots[kind]) for pair in pairs] for kind in (0, 1)]
        if rests[0] != rests[1]:
            return None
        folders[split] = dict(zip(('img_path', 'seg_map_path'), (relative(root, found.root) for root in roots)))
        there = sum(path.endswith(image_suffix) for path in files_under(roots[0]))
        if there != len(pairs):
            names[split] = [str(pair[0].relative_to(roots[0]))[:-len(image_suffix)] for pair in pairs]
    return Layout(folders, image_suffix, mask_suffix, names)


def relative(path: Path, root: Path) -> str:
    """A folder from the root; '' for the root itself."""
    return '' if path == root else str(path.relative_to(root))


def suffixes_of(image: str, mask: str) -> tuple[str, str]:
    """What differs at the ends of two names."""
    stem = Path(image).stem
    common = stem if mask.startswith(stem) else os.path.commonprefix([image, mask])
    return (image[len(common):], mask[len(common):]) if common else (image, mask)
