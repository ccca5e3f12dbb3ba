"""Run the ablations of Table 1 with a small model on CIFAR-10, and draw their curves.

    python tools/analysis_tools/run_ablations.py --data-root data/cifar10

The changes are those of the configs in configs/ablation, put on the small configs there. Each training is a process of its own,
tools/train.py, into DIR/<name>. Called again, it keeps what is finished and resumes what was begun. At the end come a table,
DIR/results.csv, and the curves, DIR/curves.png.
"""
import argparse
import csv
import runpy
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from nepa_mm.errors import DataError, one_line_errors
from nepa_mm.launch.training_process import logged, train_to_the_end

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PRETRAIN = CONFIGS / 'ablation/nepa_vit-mini-p4_1xb64-400i_cifar10-32px.py'
FINETUNE = CONFIGS / 'ablation/nepa_vit-mini-p4_1xb64-coslr-3e_cifar10-32px.py'
LARGE = 'nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper'
TUNED = 'nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper'

# Table of the paper, name of the run, config whose changes it takes; the first of each is the paper's recipe
PRETRAININGS = [
    ('1a', 'NEPA', None),
    ('1a', 'no shift', f'ablation/{LARGE}-no-shift.py'),
    ('1a', 'no causal mask', f'ablation/{LARGE}-no-causal.py'),
    ('1a', 'no stop-gradient', f'ablation/{LARGE}-no-stopgrad.py'),
    ('1b', 'plain ViT', f'ablation/{LARGE}-plain.py'),
    ('1b', '+ LayerScale', f'ablation/{LARGE}-ls.py'),
    ('1b', '+ RoPE', f'ablation/{LARGE}-ls-rope.py'),
    ('1b', '+ QK-norm (GELU)', f'ablation/{LARGE}-gelu.py'),
    ('1c', 'mask 40 %', f'ablation/{LARGE}-mask40.py'),
    ('1c', 'mask 60 %', f'ablation/{LARGE}-mask60.py'),
]
FINETUNINGS = [
    ('1d, 1e', 'embedding frozen, bidirectional', None),
    ('1d', 'embedding trained', f'ablation/{TUNED}-unfrozen.py'),
    ('1e', 'causal', f'classification/{TUNED}-causal.py'),
]


def small_config(base: Path, change: str | None, path: Path, **settings) -> Path:
    """Write a config that puts the changes of a leaf config on a small one."""
    changes = {} if change is None else runpy.run_path(str(CONFIGS / change))
    changes = {key: value for key, value in changes.items() if isinstance(value, dict) and not key.startswith('_')}
    lines = [f'_base_ = {str(base)!r}', *(f'{key} = {value!r}' for key, value in {**changes, **settings}.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines) + '\n')
    return path


def run(name: str, base: Path, change: str | None, out: Path, options: list[str]) -> list[dict]:
    """One training, and what it logged."""
    folder = out / ''.join(letter if letter.isalnum() else '_' for letter in name)
    config = small_config(base, change, out / f'{folder.name}.py')
    train_to_the_end(config, folder, options, output=out / f'{folder.name}.log')
    return logged(folder)


def draw(runs: dict[str, tuple[str, list[dict]]]) -> Figure:
    """Loss and collapse gauge over iterations, one column for each table of the paper."""
    titles = {'1a': 'Table 1a: shift, mask, stop-gradient', '1b': 'Table 1b: parts of the ViT', '1c': 'Table 1c: masked input'}
    figure = Figure(figsize=(12, 6), layout='constrained', dpi=110)
    grid = figure.subplots(2, 3, sharex=True, sharey='row')
    for column, (table, title) in zip(grid.T, titles.items()):
        for name, (place, records) in runs.items():
            if place == table or name == 'NEPA':
                style = dict(color='black', linewidth=2) if name == 'NEPA' else {}
                for axes, key in zip(column, ('loss', 'collapse')):
                    axes.plot([r['step'] for r in records], [r[key] for r in records], label=name, **style)
        column[0].set_title(title)
        column[0].legend(fontsize=8)
        column[1].set_xlabel('iteration')
    grid[0, 0].set_ylabel('loss (-1: every prediction exact)')
    grid[1, 0].set_ylabel('collapse (1: all images alike)')
    for axes in grid.flat:
        axes.grid(alpha=0.3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', type=Path, required=True, help='CIFAR-10 as folders, {train,test}/<class>/<n>.jpg')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/ablations'), help='DIR; default: work_dirs/ablations')
    parser.add_argument('--iters', type=int, default=400, help='pretraining iterations; default: 400')
    parser.add_argument('--only-pretraining', action='store_true', help='leave Tables 1d and 1e out')
    args = parser.parse_args()
    data, out = args.data_root.resolve(), args.work_dir.resolve()
    if args.iters < 10:
        parser.error(f'--iters {args.iters} is too few; the warm-up is a tenth of it')
    if not (data / 'train').is_dir():
        raise DataError(f'{str(args.data_root)!r} has no folder train', '--data-root',
                        'it must hold train/<class>/ and test/<class>/')
    roots = [f'{split}_dataloader.dataset.data_root={data}' for split in ('train', 'val')]
    lengths = ('train_cfg.max_iters', 'param_scheduler.end', 'default_hooks.checkpoint.interval')
    length = [*(f'{key}={args.iters}' for key in lengths), f'param_scheduler.warmup={args.iters // 10}']
    runs = {name: (place, run(name, PRETRAIN, change, out, [*roots[:1], *length])) for place, name, change in PRETRAININGS}
    rows = [[place, name, *(f'{records[-1][key]:.3f}' for key in ('loss', 'cosine', 'collapse')), '']
            for name, (place, records) in runs.items()]
    if not args.only_pretraining:
        checkpoint = f'model.backbone.init_cfg.checkpoint={out}/NEPA/iter_{args.iters}.pth'
        for place, name, change in FINETUNINGS:
            records = run(name, FINETUNE, change, out, [*roots, checkpoint])
            rows.append([place, name, '', '', '', f"{records[-1]['accuracy/top1']:.1f}"])
    header = ['table', 'run', 'loss', 'cosine', 'collapse', 'top-1']
    with open(out / 'results.csv', 'w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    draw(runs).savefig(out / 'curves.png')
    table = Table(*header, title=f'Ablations, {out}')
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == '__main__':
    with one_line_errors():
        main()
