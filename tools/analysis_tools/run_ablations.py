"""Run the ablations of Table 1 with a small model on CIFAR-10, and draw their curves.

    python tools/analysis_tools/run_ablations.py --data-root data/cifar10

The changes are those of the configs in configs/ablation, put on the small configs there. Each training is a process of its own,
tools/train.py, into DIR/<name>. Called again, it keeps what is finished and resumes what was begun. At the end come a table,
DIR/results.md, what each training logged, DIR/results.jsonl, and the curves, DIR/curves.png.
"""
import argparse
import os
from pathlib import Path

from nepa_mm.errors import DataError, run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', type=Path, required=True, help='CIFAR-10 as folders, {train,test}/<class>/<n>.jpg')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/ablations'), help='DIR; default: work_dirs/ablations')
    args = parser.parse_args()
    if not (args.data_root / 'train').is_dir():
        raise DataError(f'{str(args.data_root)!r} has no folder train', '--data-root',
                        'it must hold train/<class>/ and test/<class>/')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from matplotlib.figure import Figure
from rich.console import Console
from rich.markdown import Markdown

from nepa_mm.analysis.runs.experiment import Row, Training
from nepa_mm.analysis.runs.experiment_results import draw_pair, records_of, table_of, write_records
from nepa_mm.analysis.runs.paper_figures import figure

SMALL = 'ablation/nepa_vit-mini-p4_1xb64'
LARGE = 'nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper'
TUNED = 'nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper'
SEED = 1337  # of the configs

# Table of the paper and its row, name of the run, and the config whose changes it takes; the first is the paper's recipe
PRETRAININGS = [
    ('1a', 'all three', 'NEPA', None),
    ('1a', 'no shift', 'no-shift', f'ablation/{LARGE}-no-shift.py'),
    ('1a', 'no causal mask', 'no-causal', f'ablation/{LARGE}-no-causal.py'),
    ('1a', 'no stop-gradient', 'no-stopgrad', f'ablation/{LARGE}-no-stopgrad.py'),
    ('1b', 'plain ViT', 'plain', f'ablation/{LARGE}-plain.py'),
    ('1b', '+ LayerScale', 'ls', f'ablation/{LARGE}-ls.py'),
    ('1b', '+ RoPE', 'ls-rope', f'ablation/{LARGE}-ls-rope.py'),
    ('1b', '+ QK-norm', 'gelu', f'ablation/{LARGE}-gelu.py'),
    ('1c', '40 % masked', 'mask40', f'ablation/{LARGE}-mask40.py'),
    ('1c', '60 % masked', 'mask60', f'ablation/{LARGE}-mask60.py'),
]
FINETUNINGS = [
    ('1e', 'bidirectional', 'frozen', None),
    ('1d', 'embedding trained', 'unfrozen', f'ablation/{TUNED}-unfrozen.py'),
    ('1e', 'causal', 'causal', f'classification/{TUNED}-causal.py'),
]


def rows(data: Path) -> list[Row]:
    """All trainings: pretrainings with three numbers each, and fine-tunings from the first of them."""
    train, val = (f'{split}_dataloader.dataset.data_root={data}' for split in ('train', 'val'))
    found = []
    for table, row, name, change in PRETRAININGS:
        training = Training(name, f'{SMALL}-400i_cifar10-32px.py', change, (train, ))
        found.append(Row(f'{table}: {row}', figure(table, row), {key: (training, key) for key in ('loss', 'cosine', 'collapse')}))
    start, _ = found[0].cells['loss']
    for table, row, name, change in FINETUNINGS:
        training = Training(name, f'{SMALL}-coslr-3e_cifar10-32px.py', change, (train, val), start)
        found.append(Row(f'{table}: {row}', figure(table, row), {'top-1': (training, 'accuracy/top1')}))
    return found


def draw(rows: list[Row], records: list[dict]) -> Figure:
    """Loss and collapse gauge over iterations, one column for each table of the paper, with the recipe in each."""
    titles = {'1a': 'Table 1a: shift, mask, stop-gradient', '1b': 'Table 1b: parts of the ViT', '1c': 'Table 1c: masked input'}
    figure = Figure(figsize=(12, 6), layout='constrained', dpi=110)
    grid = figure.subplots(2, 3, sharex=True, sharey='row')
    for column, (table, title) in zip(grid.T, titles.items()):
        draw_pair(column, [row for i, row in enumerate(rows) if i == 0 or row.name.startswith(table)], records)
        column[0].set_title(title)
    return figure


def main(args: argparse.Namespace) -> None:
    data, out = args.data_root.resolve(), args.work_dir.resolve()
    os.chdir(Path(__file__).resolve().parents[2])  # where configs/ is
    trainings = rows(data)
    records = records_of(trainings, [SEED], out)
    table = table_of(trainings, records)
    write_records(out / 'results.jsonl', records)
    (out / 'results.md').write_text(table)
    draw(trainings, records).savefig(out / 'curves.png')
    Console().print(Markdown(table))


run_command(main, args)
