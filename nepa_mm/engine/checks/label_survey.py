"""What the label maps of a dataset hold: classes that are in none, and how much is ignored."""
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from mmcv.transforms import LoadImageFromFile
from PIL import Image
from torch.utils.data import Dataset

from nepa_mm.datasets import LoadImage, LoadSegAnnotations
from nepa_mm.datasets.tiff_windows import TiffWindows
from nepa_mm.datasets.transforms.orientation import orientation_in
from nepa_mm.errors import DataError

from .built_parts import transforms_in, wrapped_datasets

LOOKED_AT = 100  # label maps before a training begins, a fraction of a second
PIXELS = 2 * 10 ** 8  # or fewer maps, of large tiles
ROWS = 2**22  # of them at a time
MOST_IGNORED = 0.5  # of the pixels; driving and scenes ignore a tenth, and maps of a few strokes nearly all


@dataclass
class LabelSurvey:
    """Pixels of each label in the label maps of a dataset, one after the other."""
    classes: Sequence[str]  # their names; other labels are ignored
    total: int  # label maps of the dataset
    maps: int = 0  # of them that were counted
    turned: int = 0  # images that carry an EXIF orientation
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def add(self, pixels: np.ndarray) -> None:
        """Count a label map, of which these are the pixels of each label [256], as :func:`pixels_of` gives them."""
        self.pixels += pixels
        self.maps += 1

    @property
    def absent(self) -> list[int]:
        """Classes that are in no label map looked at."""
        return np.flatnonzero(self.pixels[:len(self.classes)] == 0).tolist()

    @property
    def ignored(self) -> dict[int, float]:
        shares = self.pixels / max(self.pixels.sum(), 1)
        return {label: shares[label] for label in np.argsort(-shares).tolist() if label >= len(self.classes) and shares[label]}

    @property
    def is_of_one_class(self) -> bool:
        """Whether all that is not ignored is one class, and something is ignored: two values, of which one was not meant so."""
        return self.maps > 0 and len(self.classes) - len(self.absent) < 2 and bool(self.ignored)

    @property
    def says_nothing_new(self) -> bool:
        """Whether what is missing is only what a part of a dataset of many classes may well lack."""
        return self.maps < self.total and len(self.absent) < len(self.classes) / 2 and sum(self.ignored.values()) < MOST_IGNORED

    def said(self) -> tuple[str, str] | None:
        """What is strange about the labels, and the remedy; None if nothing is."""
        absent, ignored = self.absent, self.ignored
        share = sum(ignored.values())
        if not self.maps or (not absent and share < MOST_IGNORED):
            return None
        maps = f'the {self.maps} label maps' if self.maps == self.total else f'{self.maps} label maps looked at of {self.total}'
        names = ', '.join(repr(self.classes[number]) for number in absent[:10]) + ', ...' * (len(absent) > 10)
        what = [f'{len(absent)} of {len(self.classes)} classes, {names}, in none of {maps}'] if absent else []
        what += [f'{100 * share:.1f} % of the pixels of {maps} ignored, labels {list(ignored)[:5]}'] if share else []
        remedy = 'leave these classes out, or look for label maps that have them' if absent else 'look at a label map'
        if absent and ignored:
            label = next(iter(ignored))
            remedy = (f'if {label} means {self.classes[absent[0]]!r}, say so in each pipeline: '
                      f"dict(type='nepa_mm.LoadSegAnnotations', values={{{label}: {absent[0]}}})")
        return '; '.join(what), remedy


def pixels_of(labels: np.ndarray | TiffWindows) -> np.ndarray:
    """Pixels of each label of a label map, int64 [256], counted some rows at a time: they take eight times the memory."""
    step = max(ROWS // labels.shape[1], 1)
    parts = labels.rows(ROWS) if isinstance(labels, TiffWindows) else (
        labels[top:top + step] for top in range(0, len(labels), step))
    return sum(np.bincount(part.ravel(), minlength=256) for part in parts)


def survey(dataset: Dataset, tolerant: bool = False) -> LabelSurvey | None:
    """Look at label maps of a dataset until enough is known; at all of them where only one class is seen.

    Args:
        dataset: Of mmseg, or wrappers around one or several such.
        tolerant: Leave out label maps that cannot be read.

    Returns:
        What was seen; None for a dataset of another kind, or one without classes or labels.
    """
    parts = [(part, loader_of(part)) for part in wrapped_datasets(dataset)]
    places = [(part, load, index) for part, load in parts if load is not None for index in range(len(part))]
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not places or not classes:
        return None
    found = LabelSurvey(classes, len(places))
    for place in np.random.default_rng(0).permutation(len(places)).tolist():
        if (found.maps >= LOOKED_AT or found.pixels.sum() >= PIXELS) and not found.is_of_one_class:
            break
        part, load, index = places[place]
        info = part.get_data_info(index)
        if 'seg_map_path' not in info:
            return None
        try:
            found.turned += is_turned(info.get('img_path'))
            found.add(pixels_of(load(info)['gt_seg_map']))
        except (DataError, OSError):
            if not tolerant:
                raise
    return found


def is_turned(path: str | None) -> bool:
    """Whether a file is an image that carries an orientation."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter('ignore')  # Pillow's, of large images
            return orientation_in(image) != 1
    except (OSError, AttributeError, ValueError, Image.DecompressionBombError):  # no file, or of another format
        return False


def how_turned(dataset: Dataset) -> tuple[str, str]:
    """What a dataset of mmseg makes of EXIF orientations, and when that is wrong."""
    part = next(part for part in wrapped_datasets(dataset) if loader_of(part) is not None)
    labels, images = loader_of(part), [step for step in transforms_in(part.pipeline) if isinstance(step, LoadImageFromFile)]
    ours = images and isinstance(images[0], LoadImage)
    if ours and not images[0].turns:
        return 'neither they nor their label maps are turned', 'leave out color_type of the loader to turn both'
    if ours and isinstance(labels, LoadSegAnnotations) and labels.orientation == 'stored':
        return 'they and their label maps are turned', (
            "if label maps are turned already, as programs leave them that show photographs upright, set orientation='shown' of "
            'nepa_mm.LoadSegAnnotations')
    return 'they are turned, and their label maps are not', (
        "if label maps belong to the pixels as they are stored, take nepa_mm.LoadImage and nepa_mm.LoadSegAnnotations with "
        "orientation='stored'")


def loader_of(dataset: Dataset):
    """The transform of a dataset that loads its label maps: ours or mmseg's own; None if it has another or none."""
    from mmseg.datasets.transforms import LoadAnnotations  # which the other tasks do without
    for step in transforms_in(getattr(dataset, 'pipeline', None)):
        if type(step) in (LoadSegAnnotations, LoadAnnotations):
            return step
    return None
