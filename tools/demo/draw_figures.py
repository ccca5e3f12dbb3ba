"""Draw the demo's picture of segmentation: input, ground truth and prediction of five validation images."""
import argparse
from pathlib import Path

from nepa_mm.errors import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('demo', type=Path, help='folder of a finished demo')
    parser.add_argument('data', type=Path, help='folder of its data')
    return parser.parse_args()


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
from mmseg.apis import inference_model
from PIL import Image

from nepa_mm.apis.load_model import load_model
from nepa_mm.visualization import draw_segmentation


def main(args: argparse.Namespace) -> None:
    config = next((args.demo / 'segmentation').glob('*.py'))  # as it ran
    checkpoint = max((args.demo / 'segmentation').glob('iter_*.pth'), key=lambda path: path.stat().st_mtime)
    model, ade = load_model(str(config), str(checkpoint)), args.data / 'ADEChallengeData2016'
    rows = []
    for path in sorted((ade / 'images/validation').iterdir())[:5]:
        truth = np.asarray(Image.open(ade / 'annotations/validation' / f'{path.stem}.png'))
        prediction = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
        rows.append((np.asarray(Image.open(path)), truth - 1, prediction))  # 0 is no label, and becomes 255
    draw_segmentation(rows, model.dataset_meta['classes'], model.dataset_meta['palette']).savefig(args.demo / 'segmentation.png')


run_command(main, args)
