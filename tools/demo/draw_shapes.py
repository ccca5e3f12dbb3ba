"""Draw the demo's data: coloured shapes on textured backgrounds, in the layouts of ImageNet and ADE20K.

    OUT/imagenet/{train,val}/<class>/<n>.jpg        one shape an image; its kind is the class
    OUT/ADEChallengeData2016/{images,annotations}/{training,validation}/<n>.{jpg,png}   shapes; their colour is the class

Same arguments and seed, same files. A complete data set is kept as it is.
"""
import argparse
import colorsys
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.progress import track

SUPERSAMPLING = 4


def regular_polygon(corners: int, radii: tuple[float, ...] = (1., ), turn: float = 0.) -> list[tuple[float, float]]:
    """Corners around the origin, their distances going round through ``radii``."""
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(radii[i % len(radii)] * math.sin(a), -radii[i % len(radii)] * math.cos(a)) for i, a in enumerate(angles)]


# Outlines in units of the shape's radius. A ring and a crescent are discs with a hole: (x, y, radius).
POLYGONS = {
    'arrow': [(0, -1), (0.8, 0), (0.3, 0), (0.3, 1), (-0.3, 1), (-0.3, 0), (-0.8, 0)],
    'cross': [(-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33), (0.33, 1), (-0.33, 1), (-0.33, 0.33),
              (-1, 0.33), (-1, -0.33), (-0.33, -0.33)],
    'disc': regular_polygon(48),
    'square': regular_polygon(4, turn=math.pi / 4),
    'star': regular_polygon(10, radii=(1., 0.42)),
    'triangle': regular_polygon(3),
}
HOLES = {'crescent': (0.45, 0., 0.8), 'ring': (0., 0., 0.55)}
SHAPES = sorted([*POLYGONS, *HOLES])
COLOURS = dict(red=0, yellow=1 / 6, green=2 / 6, cyan=3 / 6, blue=4 / 6, magenta=5 / 6)  # hues


def texture(rng: np.random.Generator, height: int, width: int, saturation: tuple[float, float],
            hue: float | None = None) -> np.ndarray:
    """Waves in two directions between two colours near a hue, with grain: [height, width, 3] in [0, 255]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    wave = sum(np.sin(2 * math.pi * (f * (x * math.cos(a) + y * math.sin(a)) + p))
               for f, a, p in zip(rng.uniform(1, 4, 2), rng.uniform(0, math.pi, 2), rng.uniform(0, 1, 2)))
    mix = (wave[..., None] + 2) / 4
    spread = 0.12 if hue is None else 0.03
    hue = rng.uniform() if hue is None else hue
    first, second = (np.array(colorsys.hsv_to_rgb((hue + shift) % 1, rng.uniform(*saturation), rng.uniform(0.35, 0.95)))
                     for shift in (0, rng.uniform(-spread, spread)))
    return 255 * (first * mix + second * (1 - mix)) + rng.normal(0, 2, (height, width, 3))


def shape_mask(kind: str, size: tuple[int, int], centre: tuple[float, float], radius: float, turn: float) -> np.ndarray:
    """Coverage of each pixel by a shape: [height, width] in [0, 1]."""
    height, width = size
    mask = Image.new('L', (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw = ImageDraw.Draw(mask)

    def place(points):
        return [(SUPERSAMPLING * (centre[0] + radius * (x * math.cos(turn) - y * math.sin(turn))),
                 SUPERSAMPLING * (centre[1] + radius * (x * math.sin(turn) + y * math.cos(turn)))) for x, y in points]

    draw.polygon(place(POLYGONS.get(kind, POLYGONS['disc'])), fill=255)
    if kind in HOLES:
        hole_x, hole_y, hole_radius = HOLES[kind]
        draw.polygon(place([(hole_x + hole_radius * x, hole_y + hole_radius * y) for x, y in POLYGONS['disc']]), fill=0)
    return np.asarray(mask.resize((width, height), Image.Resampling.BOX), dtype=np.float64) / 255


def draw_scene(rng: np.random.Generator, size: tuple[int, int], shapes: list[tuple[str, str | None]],
               radius: tuple[float, float]) -> tuple[Image.Image, Image.Image]:
    """An image with shapes of these kinds and colours (None for any), later ones in front, and its label map.

    Labels are 1 for background and 2 + the colour's index for shapes; 0 would be no label, as in ADE20K.
    """
    height, width = size
    pixels = texture(rng, height, width, saturation=(0.1, 0.5))
    labels = np.ones(size, dtype=np.uint8)
    for kind, colour in shapes:
        r = rng.uniform(*radius) * min(size)
        centre = [rng.uniform(min(r, side / 2), max(side - r, side / 2)) for side in (width, height)]
        mask = shape_mask(kind, size, centre, r, rng.uniform(-0.4, 0.4))
        fill = texture(rng, height, width, saturation=(0.7, 1.0), hue=COLOURS.get(colour))
        pixels = pixels * (1 - mask[..., None]) + fill * mask[..., None]
        if colour:
            labels[mask > 0.5] = 2 + list(COLOURS).index(colour)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), Image.fromarray(labels)


def draw_classification(out: Path, seed: int, counts: dict[str, int]) -> None:
    """One shape an image, by class."""
    for split, count in counts.items():
        for kind in track(SHAPES, description=f'Drawing {count * len(SHAPES)} images for classification ({split})'):
            folder = out / split / kind
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                rng = np.random.default_rng([seed, split == 'val', SHAPES.index(kind), i])
                draw_scene(rng, (72, 72), [(kind, None)], radius=(0.3, 0.45))[0].save(folder / f'{i:05d}.jpg', quality=92)


def draw_segmentation(out: Path, seed: int, counts: dict[str, int]) -> None:
    """Three to five shapes an image, with label maps of their colours."""
    for split, count in counts.items():
        for part in ('images', 'annotations'):
            (out / part / split).mkdir(parents=True, exist_ok=True)
        for i in track(range(count), description=f'Drawing {count} images for segmentation ({split})'):
            rng = np.random.default_rng([seed, 2 + (split == 'validation'), i])
            count_here = rng.integers(3, 6)
            shapes = list(zip(rng.choice(SHAPES, count_here).tolist(), rng.choice(list(COLOURS), count_here).tolist()))
            image, labels = draw_scene(rng, (112, 144), shapes, radius=(0.14, 0.3))
            image.save(out / 'images' / split / f'{i:05d}.jpg', quality=92)
            labels.save(out / 'annotations' / split / f'{i:05d}.png')


def draw_once(parser: argparse.ArgumentParser, args: argparse.Namespace, draw: Callable[[], None]) -> None:
    """Draw what the arguments say into ``args.out``, unless it is there; an error if another data set is."""
    settings = {key: value for key, value in vars(args).items() if key != 'out'}
    done = args.out / 'settings.json'  # written last
    if done.is_file():
        if json.loads(done.read_text()) != settings:
            parser.error(f'{args.out} holds another data set ({done.read_text()}); remove it or choose another folder')
        print(f'{args.out} is complete already')
        return
    draw()
    done.write_text(json.dumps(settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to make')
    parser.add_argument('--train', type=int, default=300, help='training images of each class')
    parser.add_argument('--val', type=int, default=50, help='validation images of each class')
    parser.add_argument('--seg-train', type=int, default=400, help='training images for segmentation')
    parser.add_argument('--seg-val', type=int, default=60, help='validation images for segmentation')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()

    def draw() -> None:
        draw_classification(args.out / 'imagenet', args.seed, dict(train=args.train, val=args.val))
        draw_segmentation(args.out / 'ADEChallengeData2016', args.seed, dict(training=args.seg_train, validation=args.seg_val))

    draw_once(parser, args, draw)


if __name__ == '__main__':
    main()
