"""Draw instances in COCO's layout: the demo's coloured shapes, whose colours are the categories.

    OUT/{train2017,val2017}/<n>.jpg                             two to four shapes an image
    OUT/annotations/instances_{train2017,val2017}.json          what is seen of each: box, mask (RLE) and category

Same arguments and seed, same files. A complete data set is kept as it is.
"""
import argparse
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from draw_shapes import COLOURS, SHAPES, draw_once, draw_scene
from rich.progress import track

SIZE = (112, 144)


def annotation(mask: np.ndarray, **fields) -> dict:
    """What COCO's file says of an instance with this mask [height, width]."""
    import pycocotools.mask as rle  # which only detection needs

    encoded = rle.encode(np.asfortranarray(mask))
    box = rle.toBbox(encoded).tolist()
    counts = encoded['counts'].decode()
    return dict(fields, bbox=box, area=int(mask.sum()), iscrowd=0, segmentation=dict(size=list(mask.shape), counts=counts))


def draw_split(out: Path, split: str, count: int, seed: int) -> None:
    images, annotations = [], []
    (out / split).mkdir(parents=True, exist_ok=True)
    for i in track(range(count), description=f'Drawing {count} images for detection ({split})'):
        rng = np.random.default_rng([seed, 4 + (split == 'val2017'), i])
        number = rng.integers(2, 5)
        colours = rng.choice(list(COLOURS), number, replace=False).tolist()  # so that the label map tells instances apart
        image, labels = draw_scene(rng, SIZE, list(zip(rng.choice(SHAPES, number).tolist(), colours)), radius=(0.14, 0.3))
        image.save(out / split / f'{i:05d}.jpg', quality=92)
        images.append(dict(id=i, file_name=f'{i:05d}.jpg', height=SIZE[0], width=SIZE[1]))
        for colour in colours:
            category = 1 + list(COLOURS).index(colour)
            mask = np.asarray(labels) == 1 + category  # 1 is the background
            if mask.any():
                annotations.append(annotation(
                    mask.astype(np.uint8), id=len(annotations) + 1, image_id=i, category_id=category))
    categories = [dict(id=1 + i, name=name) for i, name in enumerate(COLOURS)]
    path = out / 'annotations' / f'instances_{split}.json'
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to make')
    parser.add_argument('--train', type=int, default=400, help='training images')
    parser.add_argument('--val', type=int, default=60, help='validation images')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    if find_spec('pycocotools') is None:
        parser.error('pycocotools is not installed, which writes masks as COCO does: pip install pycocotools')

    def draw() -> None:
        draw_split(args.out, 'train2017', args.train, args.seed)
        draw_split(args.out, 'val2017', args.val, args.seed)

    draw_once(parser, args, draw)


if __name__ == '__main__':
    main()
