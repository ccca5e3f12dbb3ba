"""The whole of NEPA in a few minutes on a laptop: pretrain, fine-tune, segment, evaluate and draw, on drawn shapes.

Every stage goes through tools/train.py with a config file, as a real run does, and shows what that shows. A finished stage is
kept, and one that was interrupted is resumed.
"""
import argparse
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from nepa_mm.launch.training_process import logged, train_to_the_end

TOOLS = Path(__file__).resolve().parents[1]
CONFIGS = TOOLS.parent / 'configs'
PRETRAIN = CONFIGS / 'pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-64px.py'
CLASSIFY = CONFIGS / 'classification/nepa_vit-mini-p8_1xb32-coslr-10e_shapes-64px.py'
SEGMENT = CONFIGS / 'segmentation/nepa_vit-mini-p8_upernet_1xb8-300i_shapes-76x76.py'


def run(script: str, *arguments) -> None:
    """Run another tool."""
    subprocess.run([sys.executable, '-W', 'ignore', *map(str, [TOOLS / script, *arguments])], check=True)


def scalars(work_dir: Path, key: str) -> list[float]:
    """All logged values of a number, in order."""
    return [record[key] for record in logged(work_dir) if key in record]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('demo_out'), help='folder for everything that the demo makes')
    parser.add_argument('--data', type=Path, default=Path('data/shapes'), help='folder for the drawn data')
    parser.add_argument(
        '--quick', action='store_true', help='a few steps of each stage on a little data: does it run? Results mean nothing')
    args = parser.parse_args()
    start, out, data, console = time.time(), args.out.resolve(), args.data.resolve(), Console()

    run('demo/draw_shapes.py', data, *(('--train', 10, '--val', 2, '--seg-train', 10, '--seg-val', 3) if args.quick else ()))
    imagenet, ade = data / 'imagenet', data / 'ADEChallengeData2016'
    quick = ['default_hooks.logger.interval=1'] if args.quick else []
    short = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4'] if args.quick else []
    train, val = (f'{split}_dataloader.dataset.data_root={imagenet}' for split in ('train', 'val'))
    seg = [f'{split}_dataloader.dataset.data_root={ade}' for split in ('train', 'val')]
    pretrained = f'model.backbone.init_cfg.checkpoint={out}/pretrain/epoch_18.pth'
    for title, config, name, options in (
            ('1/4 Pretrain without labels', PRETRAIN, 'pretrain', [train]),
            ('2/4 Fine-tune for classification', CLASSIFY, 'finetune', [train, val, pretrained]),
            ('3/4 The same from scratch', CLASSIFY, 'scratch', [train, val, 'model.backbone.init_cfg=None']),
            ('4/4 Fine-tune for segmentation', SEGMENT, 'segmentation', [*seg, pretrained, *short])):
        console.rule(title)
        train_to_the_end(config, out / name, [*options, *quick])
    console.rule('Pictures')
    run('visualization/vis_nepa.py', *(imagenet / f'val/{kind}/00000.jpg' for kind in ('arrow', 'cross', 'star')),
        out / 'pretrain/epoch_18.pth', '-o', out / 'query_patches.png', '--overwrite', '--queries', '2,3', '4,4', '5,5',
        '--layers', 2)
    run('demo/draw_figures.py', out, data)

    losses, times = scalars(out / 'pretrain', 'loss'), scalars(out / 'pretrain', 'time')
    table = Table(Column(), Column(overflow='fold'), title='NEPA on drawn shapes', show_header=False)
    table.add_row('pretraining loss, first and last (-1 is perfect)', f'{losses[0]:.3f}  {losses[-1]:.3f}')
    table.add_row('top-1, pretrained and fine-tuned', f"{scalars(out / 'finetune', 'accuracy/top1')[-1]:.1f} %")
    table.add_row('top-1, from scratch with the same budget', f"{scalars(out / 'scratch', 'accuracy/top1')[-1]:.1f} %")
    table.add_row('mIoU, pretrained and fine-tuned', f"{scalars(out / 'segmentation', 'mIoU')[-1]:.1f} %")
    table.add_row('images/s while pretraining', f'{64 / sorted(times)[len(times) // 2]:.0f}')
    table.add_row('wall time of this call', f'{time.time() - start:.0f} s')
    table.add_row('logs and checkpoints', str(args.out))
    for path in sorted(args.out.glob('*.png')):
        table.add_row('picture', str(path))
    console.print(table)


if __name__ == '__main__':
    main()
