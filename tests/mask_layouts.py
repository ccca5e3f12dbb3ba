"""Ways in which people keep images and label maps, drawn small: each says its options, classes and labels."""
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from drawn_data import class_map, image, save

RED_BLUE = [(0, 0, 0), (200, 0, 0), (0, 0, 200)]
COUNT = dict(train=4, val=2)


@dataclass(frozen=True)
class Layout:
    """Where the image and the label map of a split and a number are, and what the map's pixels are of each class.

    Args:
        image: Path of an image, with {split} and {i}.
        mask: Path of its label map.
        names: Of the classes, as they are to be found.
        encode: From classes [H, W], and 255, to what the file holds; with a palette, if it has one.
        beside: Writes what else is there.
        options: Of the command.
        ignored: Whether some pixels are of no class.
        drawn: Whether nothing says which images validate.
        dataset: That reads it.
    """
    image: str
    mask: str
    names: list[str]
    encode: Callable = lambda labels, i: (labels, None)
    beside: Callable[[Path], None] = lambda root: None
    options: list[str] = field(default_factory=list)
    ignored: bool = False
    drawn: bool = False
    dataset: str = 'BaseSegDataset'

    def draw(self, root: Path) -> dict[str, np.ndarray]:
        """Write it all, and give back the true classes of each image by its path from the root."""
        truth, number = {}, 0
        for split, count in COUNT.items():
            for i in range(count):
                number += 1
                places = [pattern.format(split=split, long=f'{split}ing' if split == 'train' else 'validation', i=number)
                          for pattern in (self.image, self.mask)]
                truth[places[0]] = labels = class_map(number, len(self.names), ignored=self.ignored)
                image(root / places[0], labels.shape[::-1], seed=number)
                save(root / places[1], *self.encode(labels, number))
        self.beside(root)
        return truth


def coloured(colours):
    table = np.zeros((256, 3), np.uint8)
    table[:len(colours)], table[255] = colours, (255, 255, 0)
    return lambda labels, i: (table[labels], None)


def in_other_orders(labels: np.ndarray, i: int):
    """Indices of a palette that is sorted anew in each file."""
    order = np.random.default_rng(i).permutation(3)
    return np.argsort(order).astype(np.uint8)[labels], [RED_BLUE[index] for index in order]


def voc(root: Path) -> None:
    """Its lists, photographs without label maps, and label maps of objects."""
    folder = root / 'ImageSets/Segmentation'
    folder.mkdir(parents=True)
    for split, numbers in dict(train=(1, 2, 3, 4), val=(5, 6)).items():
        (folder / f'{split}.txt').write_text(''.join(f'{i}\n' for i in numbers))
    image(root / 'JPEGImages/7.jpg')
    save(root / 'SegmentationObject/1.png', class_map(9, 5))


def named(root: Path) -> None:
    """Names of colours, and of one that is no class."""
    (root / 'class_dict.csv').write_text('name,r,g,b\nsoil,0,0,0\ncrop,200,0,0\nweed,0,0,200\nVoid,255,255,0\n')


def times(factor: int, dtype: type):
    """Each class as a multiple, of which none is 0."""
    return lambda labels, i: ((labels.astype(dtype) + 1) * factor, None)


def nearly(labels: np.ndarray, i: int):
    """Black and white, as a lossy file leaves them."""
    return np.abs(labels * 255. - np.random.default_rng(i).integers(0, 20, labels.shape)).astype(np.uint8), None


BINARY = ['background', 'foreground']
LAYOUTS = dict(
    ade=Layout('images/{long}/{i}.jpg', 'annotations/{long}/{i}.png', ['class 0', 'class 1', 'class 2'], ignored=True),
    beside=Layout('{split}/{i}.png', '{split}/{i}_mask.png', ['class 0', 'class 1', 'class 2'],
                  lambda labels, i: (labels, RED_BLUE)),
    camvid=Layout('{split}/a{i}.png', '{split}annot/a{i}.png', ['sky', 'road', 'car'], lambda labels, i: (
        np.where(labels == 255, 3, labels).astype(np.uint8), None), lambda root: (root / 'classes.txt').write_text(
            'sky\nroad\ncar\n'), ['--ignore', 3], ignored=True),
    binary=Layout('images/{i}.jpg', 'masks/{i}.png', BINARY, lambda labels, i: (labels * 255, None), drawn=True),
    named_colours=Layout('{split}/{i}.png', '{split}_labels/{i}_L.png', ['soil', 'crop', 'weed'], coloured(RED_BLUE), named,
                         ignored=True),
    colours=Layout('img/{i}.png', 'gt/{i}.png', ['#000000', '#0000c8', '#c80000'], coloured(sorted(RED_BLUE)), drawn=True),
    deep=Layout('image/{i}.jpg', 'label/{i}.png', ['class 1000', 'class 2000', 'class 3000'], times(1000, np.uint16), drawn=True),
    voc=Layout('JPEGImages/{i}.jpg', 'SegmentationClass/{i}.png', ['class 0', 'class 1', 'class 2'],
               lambda labels, i: (labels, RED_BLUE + [(224, 224, 192)] * 253), voc, ignored=True),
    folder_each=Layout('{split}/sample{i}/image.png', '{split}/sample{i}/mask.png', ['road', 'tree'], times(7, np.uint8),
                       lambda root: (root / 'names.txt').write_text('7 road\n14: tree\n'), ['--classes', 'data/names.txt']),
    lossy=Layout('imgs/{i}.jpg', 'imgs/mask_{i}.jpg', BINARY, nearly, drawn=True, dataset='nepa_mm.SegPairs'),
    palettes=Layout('photos/{i}.jpg', 'seg/{i}_seg.png', ['#000000', '#0000c8', '#c80000'], lambda labels, i: in_other_orders(
        np.array([0, 2, 1], np.uint8)[labels], i), drawn=True),
    suffixes=Layout('all/{i}.one.jpg', 'all/{i}.two.png', ['class 5', 'class 10'], times(5, np.uint8),
                    options=['--mask-suffix', '.two.png', '--image-suffix', '.one.jpg'], drawn=True),
)
