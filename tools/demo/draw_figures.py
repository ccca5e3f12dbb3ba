"""Draw the demo's pictures: attention and similarity of query patches; input, ground truth and predicted segmentation."""
import argparse
from pathlib import Path

import nepa_mm  # noqa: F401, before the hosts: see host_imports.py

# isort: split
import numpy as np
from mmseg.apis import inference_model
from PIL import Image

from nepa_mm.apis.load_model import load_model
from nepa_mm.visualization import draw_query_patches, draw_segmentation
from nepa_mm.visualization.read_image import image_size, pixels_of, read_image


def query_patches(checkpoint: Path, images: list[Path], out: Path) -> None:
    """Query patches of a pretrained model: one early in the raster order, one in the middle, one late."""
    model = load_model(str(checkpoint))
    pixels = pixels_of([read_image(path) for path in images], image_size(model))
    draw_query_patches(model, pixels, [(2, 3), (4, 4), (5, 5)], layers=2).savefig(out, bbox_inches='tight')


def segmentation(config: Path, checkpoint: Path, images: list[Path], out: Path) -> None:
    """Predictions for validation images beside their ground truth."""
    model = load_model(str(config), str(checkpoint))
    rows = []
    for path in images:
        truth = np.asarray(Image.open(path.parents[2] / 'annotations/validation' / f'{path.stem}.png'))
        prediction = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
        rows.append((np.asarray(Image.open(path)), truth - 1, prediction))  # 0 is no label, and becomes 255
    draw_segmentation(rows, model.dataset_meta['classes'], model.dataset_meta['palette']).savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('demo', type=Path, help='folder of a finished demo')
    parser.add_argument('data', type=Path, help='folder of its data')
    args = parser.parse_args()
    config = next((args.demo / 'segmentation').glob('*.py'))  # as it ran
    classes = sorted((args.data / 'imagenet/val').iterdir())
    query_patches(args.demo / 'pretrain/epoch_18.pth', [sorted(classes[i].iterdir())[0] for i in (0, 2, 6)],
                  args.demo / 'query_patches.png')
    checkpoint = max((args.demo / 'segmentation').glob('iter_*.pth'), key=lambda path: path.stat().st_mtime)
    segmentation(config, checkpoint, sorted((args.data / 'ADEChallengeData2016/images/validation').iterdir())[:5],
                 args.demo / 'segmentation.png')


if __name__ == '__main__':
    main()
