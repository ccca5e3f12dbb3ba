"""Draw the demo's pictures: attention and similarity of query patches; input, ground truth and predicted segmentation."""
import argparse
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.apis import inference_model, init_model
from PIL import Image

from nepa_mm.visualization import draw_query_patches, draw_segmentation


def query_patches(config: Path, checkpoint: Path, images: list[Path], out: Path) -> None:
    """Query patches of a pretrained model: one early in the raster order, one in the middle, one late."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    backbone = model.eval().backbone
    pixels = np.stack([np.asarray(Image.open(path).convert('RGB').resize((64, 64))) for path in images])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    draw_query_patches(backbone, x, [(2, 3), (4, 4), (5, 5)], layer=2).savefig(out)


def segmentation(config: Path, checkpoint: Path, images: list[Path], out: Path) -> None:
    """Predictions for validation images beside their ground truth."""
    model = init_model(str(config), str(checkpoint), device='cpu')
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
    config = {stage: next((args.demo / stage).glob('*.py')) for stage in ('pretrain', 'segmentation')}  # as it ran
    classes = sorted((args.data / 'imagenet/val').iterdir())
    query_patches(config['pretrain'], args.demo / 'pretrain/epoch_18.pth', [sorted(classes[i].iterdir())[0] for i in (0, 2, 6)],
                  args.demo / 'query_patches.png')
    checkpoint = max((args.demo / 'segmentation').glob('iter_*.pth'), key=lambda path: path.stat().st_mtime)
    segmentation(config['segmentation'], checkpoint, sorted((args.data / 'ADEChallengeData2016/images/validation').iterdir())[:5],
                 args.demo / 'segmentation.png')


if __name__ == '__main__':
    main()
