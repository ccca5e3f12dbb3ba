"""Peak memory of segment_images.py by the size of an image: it reads windows of a tiled TIFF, and must not grow.

    OMP_NUM_THREADS=1 python tools/analysis_tools/measure_large_images.py --sizes 2000 10000

The model is a tiny one with random weights, so that its own memory hides nothing; the image is noise. Each size is a process of
its own, on the CPU, whose peak is the largest resident set that the operating system saw.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nepa_mm.analysis.figures import add_json, markdown
from nepa_mm.arguments import require_least
from nepa_mm.errors import ProcessError, run_command

TOOL = Path(__file__).parents[1] / 'inference/segment_images.py'
TILE = 512
CONFIG = '''
default_scope = 'mmseg'
model = dict(
    type='nepa_mm.PaddedEncoderDecoder',
    data_preprocessor=dict(type='nepa_mm.SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
    backbone=dict(
        type='nepa_mm.NEPAViT', arch=dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64), img_size={crop},
        patch_size=16, causal=False, out_type='padded_featmap', out_indices=[0]),
    decode_head=dict(
        type='FCNHead', in_channels=32, in_index=0, channels=32, num_convs=0, concat_input=False, num_classes={classes}),
    train_cfg=dict(), test_cfg=dict(mode='slide', crop_size=({crop}, {crop}), stride=({stride}, {stride})))
test_pipeline = [dict(type='nepa_mm.LoadImage'), dict(type='nepa_mm.PackSegInputs')]
test_dataloader = dict(dataset=dict(type='BaseSegDataset', pipeline=test_pipeline))
'''


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sizes', type=int, nargs='+', default=[2000, 10000], help='sides of the images; default: 2000 10000')
    parser.add_argument('--classes', type=int, default=8, help='default: %(default)s')
    parser.add_argument('--crop', type=int, default=512, help='side of a window, in pixels; default: %(default)s')
    add_json(parser)
    args = parser.parse_args()
    require_least(args, 1, 'sizes')
    require_least(args, 2, 'classes')
    require_least(args, 16, 'crop')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
import tifffile
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope


def tiles(size: int) -> Iterator[np.ndarray]:
    """Those of an image of noise."""
    random = np.random.default_rng(0)
    for _ in range((-(-size // TILE))**2):
        yield random.integers(0, 256, (TILE, TILE, 3), np.uint8)


def measured(folder: Path, size: int) -> dict[str, float]:
    """Peak memory in MiB, and seconds, of one image."""
    tifffile.imwrite(folder / f'{size}.tif', tiles(size), shape=(size, size, 3), dtype=np.uint8, photometric='rgb',
                     tile=(TILE, TILE), compression='zlib')
    begin = time.monotonic()
    command = subprocess.Popen(
        [sys.executable, TOOL, folder / f'{size}.tif', folder / 'model.py', '--checkpoint', folder / 'model.pth', '--out-dir',
         folder / f'{size}', '--windows', '--device', 'cpu'], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = command.stderr.read()
    _, status, usage = os.wait4(command.pid, 0)
    if status:
        last = (said.strip().splitlines() or [''])[-1]
        raise ProcessError(f'it ended with {os.waitstatus_to_exitcode(status)} ({last})', str(TOOL), f'look at --sizes {size}')
    return dict(size=size, mib=usage.ru_maxrss / 2**10, seconds=time.monotonic() - begin)


def main(args: argparse.Namespace) -> None:
    text = CONFIG.format(crop=args.crop, stride=args.crop * 2 // 3, classes=args.classes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'model.py').write_text(text)
        init_default_scope('mmseg')
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(folder / 'model.py').model)
        torch.save(dict(state_dict=model.state_dict()), folder / 'model.pth')
        figures = [measured(folder, size) for size in args.sizes]
    first = figures[0]['mib']
    print(markdown('pixels | peak memory, MiB | of the first | seconds', [
        (f'{each["size"]} x {each["size"]}', f'{each["mib"]:.0f}', f'{each["mib"] / first:.3f}', f'{each["seconds"]:.0f}')
        for each in figures]))
    args.json.write(figures)


run_command(main, args)
