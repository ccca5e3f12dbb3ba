"""mIoU of label maps that ``tools/test.py CONFIG CHECKPOINT --out FOLDER`` wrote, without mmseg: one confusion matrix in NumPy.

Those of ``tools/inference/segment_images.py --out-dir FOLDER``, in ``FOLDER/pred``, count from 0: add ``--from-zero``.

    python tools/analysis_tools/compute_miou.py FOLDER data/ade/ADEChallengeData2016/annotations/validation --num-classes 150 \\
        --reduce-zero-label

Label maps are PNG, TIFF of any size, of which large ones are read in parts, as in trainings, or what else Pillow knows. Those of
one image have one name, with any ending.

Prints a JSON line with aAcc, mIoU and mAcc in percent, as nepa_mm.ExactIoUMetric defines them; null where a mean would be perfect
but for classes that nothing is known about. ``--matrix FILE`` keeps the confusion matrix, pixels by class (rows) and prediction.
"""
import argparse
import json
import sys
from pathlib import Path

from nepa_mm.arguments import require_least
from nepa_mm.errors import DataError, first_line, run_command
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', metavar='PREDICTIONS', type=Path, help='folder of predicted label maps')
    parser.add_argument('labels', metavar='LABELS', type=Path, help='folder of label maps of the same names, with any ending')
    parser.add_argument('--num-classes', type=int, required=True)
    parser.add_argument('--reduce-zero-label', action='store_true', help='0 is no class and the first class is 1, as in ADE20K')
    parser.add_argument('--ignore-index', type=int, default=255, help='label that does not count; default: 255')
    parser.add_argument('--from-zero', action='store_true', help="PREDICTIONS count classes from 0, whatever LABELS do")
    parser.add_argument('--matrix', metavar='FILE.npy', type=Path, help='file to write the confusion matrix to')
    args = parser.parse_args()
    if not args.predictions.is_dir():
        parser.error(f'{args.predictions} is no folder')
    require_least(args, 1, 'num_classes')
    require_new(args.matrix, suffixes=['.npy'])
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
from PIL import Image

from nepa_mm.datasets.tiff_windows import TiffWindows, is_large
from nepa_mm.find_images import IMAGE_SUFFIXES, find_images

PART = 2**22  # pixels that are counted at a time


def confusion_matrix(predictions: Path, labels: Path, num_classes: int, zero_is_none: bool, ignore_index: int = 255,
                     from_zero: bool = False) -> np.ndarray:
    """Pixels [num_classes, num_classes] by class and prediction, over all label maps.

    Labels that are no class, or ``ignore_index`` (counted, as mmseg does, when 0 is taken away), do not count.
    """
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for path in find_images([predictions]):
        predicted, label_path = opened(path), label_of(path, predictions, labels)
        label = opened(label_path)
        if label.shape != predicted.shape:
            raise DataError(f'{predicted.shape[::-1]} pixels (width, height), and {label_path} has {label.shape[::-1]}',
                            str(path), 'give the folder that the test read')
        step = max(PART // label.shape[1], 1)
        for top in range(0, label.shape[0], step):
            said, their = (part[top:top + step].astype(int) for part in (predicted, label))
            their -= zero_is_none
            if not from_zero:  # written as in the data set's own files
                said -= zero_is_none
            known = (their >= 0) & (their < num_classes) & (their != ignore_index)
            said, their = said[known], their[known]
            wrong = np.unique(said[(said < 0) | (said >= num_classes)]).tolist()
            if wrong:
                shift = zero_is_none and not from_zero
                raise DataError(f'it predicts {[value + shift for value in wrong[:5]]}, which are no classes with '
                                f'--num-classes {num_classes}{" --reduce-zero-label" * zero_is_none}', str(path),
                                'give those of the test')
            matrix += np.bincount(their * num_classes + said, minlength=num_classes**2).reshape(matrix.shape)
    return matrix


def opened(path: Path) -> np.ndarray | TiffWindows:
    """A label map [H, W], of which parts can be had; a large TIFF stays in its file."""
    if is_large(path):
        return TiffWindows(path, 'label map')
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f'it cannot be read as a label map ({first_line(error)})', str(path),
                        'mend it, or save a tiled TIFF') from error


def label_of(path: Path, predictions: Path, labels: Path) -> Path:
    """The label map that goes with a prediction: of its name, or the only one of its name with another ending."""
    place = labels / path.relative_to(predictions)
    found = [place] if place.is_file() else [file for file in map(place.with_suffix, IMAGE_SUFFIXES) if file.is_file()]
    if len(found) != 1:
        raise DataError(f'{len(found) or "no"} label map{"s" * bool(found)} {place.with_suffix(".*")} for it', str(path),
                        'give the folder that the test read')
    return found[0]


def scores(matrix: np.ndarray) -> dict[str, float | None]:
    """A class that is neither there nor predicted has no IoU, one that is not there no accuracy."""
    hits, there, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    union = there + predicted - hits
    with np.errstate(invalid='ignore'):
        found = {name: round(100 * float(value), 2) for name, value in dict(
            aAcc=hits.sum() / matrix.sum(), mIoU=np.nanmean(hits / union), mAcc=np.nanmean(hits / there)).items()}
    if union.all():
        return found
    print(f'classes {np.flatnonzero(union == 0).tolist()} are in no label and in no prediction, so nothing is known about them; '
          'means are over the others, and one of 100 is null', file=sys.stderr)
    return {name: None if name != 'aAcc' and value == 100 else value for name, value in found.items()}


def main(args: argparse.Namespace) -> None:
    matrix = confusion_matrix(args.predictions, args.labels, args.num_classes, args.reduce_zero_label, args.ignore_index,
                              args.from_zero)
    if args.matrix is not None:
        np.save(args.matrix, matrix)
    print(json.dumps(scores(matrix)))


run_command(main, args)
