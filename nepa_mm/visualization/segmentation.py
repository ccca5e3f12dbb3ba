"""Segmentation side by side."""
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch


def draw_segmentation(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], classes: Sequence[str],
                      palette: Sequence[Sequence[int]]) -> Figure:
    """Input, ground truth and prediction of each image in a row, with a legend of the classes that occur.

    Args:
        rows: For each image: RGB [H, W, 3] in 0..255, labels [H, W] and predicted labels [H, W]; 255 is no label.
        classes: Names by label.
        palette: RGB in 0..255 by label.
    """
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[:len(palette)] = palette
    figure = Figure(figsize=(7.5, 2 * len(rows) + 0.8), layout='constrained', dpi=120)
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for axis, title in zip(axes[0], ('input', 'ground truth', 'prediction')):
        axis.set_title(title, fontsize=10)
    for line, (image, labels, prediction) in zip(axes, rows):
        for axis, picture in zip(line, (image, colours[labels], colours[prediction])):
            axis.imshow(picture, interpolation='nearest')
            axis.set_axis_off()
    present = sorted({int(label) for _, *maps in rows for label in np.unique(maps)} - {255})
    figure.legend(
        handles=[Patch(color=colours[label] / 255, label=classes[label]) for label in present],
        loc='outside lower center',
        ncols=5,
        fontsize=8)
    return figure
