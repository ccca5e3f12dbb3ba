"""Label maps with a palette, whose colours may show that their numbers are no longer those of the classes."""
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from PIL import Image

# RGB of Pascal VOC's colour map: the bits of a number, dealt out to the three from the highest on
VOC = [tuple(sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))
       for number in range(256)]
REMEDY = ('restore the file as it was before an optimiser renumbered it; if the numbers are right, save it in greyscale, '
          'or mend metainfo.palette')


def renumbered(image: Image.Image, palette: Sequence[Sequence[int]], class_of: np.ndarray) -> str | None:
    """What in its palette contradicts the numbers of a label map; None if nothing does, as of one without a palette.

    Lossless optimisers keep colours and renumber the entries, by first use, and make palettes of grey maps of few values. Only a
    contradiction counts: an entry with the colour of another class of the dataset, or greys that are labels, but not their own.
    A palette of other colours says nothing, nor does VOC's, in which many programs paint the label maps of any dataset.

    Args:
        image: The label map, not decoded yet; it is decoded where entries look wrong.
        palette: Of the dataset: RGB of each class.
        class_of: Class of each number in a file [256]; those that are no class are ``len(palette)`` or more.
    """
    colours = entries(image)
    if colours == VOC[:len(colours)]:
        return None
    classes = defaultdict(list)  # of each colour
    for number, colour in enumerate(palette):
        classes[tuple(colour)].append(number)
    # A grey entry that is its own number is right, whatever class has that grey.
    strange = {i: colour for i, colour in enumerate(colours)
               if class_of[i] < len(palette) and class_of[i] not in classes[colour] and colour != (i, i, i)}
    if not any(classes[colour] or is_grey(colour) for colour in strange.values()):
        return None
    used = {i: colours[i] for i in np.unique(np.asarray(image)).tolist()}
    for i in sorted(strange.keys() & used.keys()):
        if classes[used[i]] and any(colour != VOC[j] for j, colour in used.items()):
            return f'its entry {i} is class {class_of[i]}, in the colour {used[i]} of class {classes[used[i]][0]}'
        if all(map(is_grey, used.values())) and are_labels([colour[0] for colour in used.values()], len(palette), class_of):
            return f'its entry {i} is the grey {used[i][0]}, which is the number that the map had'
    return None


def entries(image: Image.Image) -> list[tuple[int, ...]]:
    """RGB of each entry of an image's palette; one bit of grey is black and white."""
    if image.mode == '1':
        return [(0, 0, 0), (255, 255, 255)]
    return list(zip(*[iter(image.getpalette('RGB'))] * 3)) if image.mode == 'P' else []


def is_grey(colour: tuple[int, ...]) -> bool:
    """Whether red, green and blue are the same."""
    return len(set(colour)) == 1


def are_labels(greys: list[int], num_classes: int, class_of: np.ndarray) -> bool:
    """Whether greys are labels; black and white alone are as well how two classes are drawn."""
    if num_classes == 2 and set(greys) <= {0, 255}:
        return False
    return all(class_of[grey] in (*range(num_classes + 1), 255) for grey in greys)  # CamVid ignores the one after its last
