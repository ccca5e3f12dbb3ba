"""mIoU of label maps that ``tools/test.py CONFIG CHECKPOINT --out FOLDER`` wrote, without mmseg: one confusion matrix in NumPy.

    python tools/analysis_tools/compute_miou.py FOLDER data/ade/ADEChallengeData2016/annotations/validation --num-classes 150 \\
        --reduce-zero-label

Prints a JSON line with aAcc, mIoU and mAcc in percent, as mmseg's IoUMetric defines them. ``--matrix FILE`` keeps the confusion
matrix, pixels by class (rows) and prediction.
"""
import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image


def confusion_matrix(predictions: Path, labels: Path, num_classes: int, zero_is_none: bool) -> np.ndarray:
    """Pixels [num_classes, num_classes] by class and prediction, over all label maps; labels that are no class do not count."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for path in sorted(predictions.glob('*.png')):
        predicted = np.asarray(Image.open(path)).astype(int) - zero_is_none  # written as in the data set's own files
        label = np.asarray(Image.open(labels / path.name)).astype(int) - zero_is_none
        known = (label >= 0) & (label < num_classes)
        np.add.at(matrix, (label[known], predicted[known]), 1)
    return matrix


def scores(matrix: np.ndarray) -> dict[str, float]:
    """A class that is neither there nor predicted has no IoU, one that is not there no accuracy."""
    hits, there, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid='ignore'):
        iou, accuracy = hits / (there + predicted - hits), hits / there
    return {name: round(100 * float(value), 2) for name, value in dict(
        aAcc=hits.sum() / matrix.sum(), mIoU=np.nanmean(iou), mAcc=np.nanmean(accuracy)).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', metavar='PREDICTIONS', type=Path, help='folder of predicted label maps, .png')
    parser.add_argument('labels', metavar='LABELS', type=Path, help='folder of label maps of the same names')
    parser.add_argument('--num-classes', type=int, required=True)
    parser.add_argument('--reduce-zero-label', action='store_true', help='0 is no class and the first class is 1, as in ADE20K')
    parser.add_argument('--matrix', metavar='FILE.npy', type=Path, help='file to write the confusion matrix to')
    args = parser.parse_args()
    if not any(args.predictions.glob('*.png')):
        parser.error(f'{args.predictions} holds no .png')
    matrix = confusion_matrix(args.predictions, args.labels, args.num_classes, args.reduce_zero_label)
    if args.matrix is not None:
        np.save(args.matrix, matrix)
    print(json.dumps(scores(matrix)))


if __name__ == '__main__':
    main()
