"""Fine-tune from every checkpoint of one pretraining run: accuracy over pretraining epochs, as in the paper's Figure 4.

    python tools/sweep_finetune.py configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py \\
        work_dirs/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k --epochs 200 400 800 1600 --gpus 8

Each runs tools/train.py into DIR/epoch_N, then DIR/results.csv and DIR/results.png are written anew. Called again, the sweep
keeps what is finished and resumes what was begun.

Pretraining keeps its last 3 checkpoints. To keep one every 100 epochs, pretrain with --cfg-options
default_hooks.checkpoint.interval=100 default_hooks.checkpoint.max_keep_ckpts=-1
"""
import argparse
import csv
import json
from pathlib import Path

from nepa_mm.arguments import require_least
from nepa_mm.errors import CheckpointError, ConfigError, run_command
from nepa_mm.launch.training_process import logged, train_to_the_end

KEEP_MORE = 'default_hooks.checkpoint.interval=100 default_hooks.checkpoint.max_keep_ckpts=-1'


def find_checkpoints(folder: Path, epochs: list[int] | None) -> dict[int, Path]:
    """Checkpoints of a pretraining by their epoch, rising; CheckpointError if there is none, or none of a wanted epoch."""
    if not folder.is_dir():
        raise CheckpointError(f'{str(folder)!r} does not exist', 'pretrain_work_dir', 'give the --work-dir of a pretraining')
    found = {int(path.stem[6:]): path.resolve() for path in folder.glob('epoch_*.pth') if path.stem[6:].isdecimal()}
    if not found:
        raise CheckpointError(f'{str(folder)!r} holds no epoch_*.pth', 'pretrain_work_dir',
                              f'pretrain first, and keep checkpoints on the way with --cfg-options {KEEP_MORE}')
    missing = sorted(set(epochs or []) - set(found))
    if missing:
        raise CheckpointError(f'{str(folder)!r} holds no checkpoint of {missing}, but of {sorted(found)}', '--epochs',
                              f'keep more of them in pretraining with --cfg-options {KEEP_MORE}')
    return {epoch: found[epoch] for epoch in sorted(epochs or found)}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='config of the fine-tuning')
    parser.add_argument('pretrain_work_dir', type=Path, help='folder with epoch_*.pth of the pretraining')
    parser.add_argument('--epochs', type=int, nargs='+', metavar='N', help='pretraining epochs to start from; default: all saved')
    parser.add_argument('--gpus', type=int, default=1, help='processes (GPUs) of each fine-tuning; default: 1')
    parser.add_argument('--work-dir', type=Path, help='DIR; default: work_dirs/<config name>_from_<pretraining folder>')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='override settings of the config, as for tools/train.py')
    args = parser.parse_args()
    require_least(args, 1, 'gpus')
    from nepa_mm.launch.read_config import read_config  # 0.2 s, which --help does without
    if 'Accuracy' not in str(read_config(str(args.config)).get('val_evaluator')):
        raise ConfigError(f"no val_evaluator=dict(type='Accuracy') in {args.config}", 'val_evaluator',
                          'give a config that fine-tunes a classifier')
    args.checkpoints = find_checkpoints(args.pretrain_work_dir, args.epochs)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table


def check_same_sweep(folder: Path, settings: dict) -> None:
    """Note what a sweep is of, and refuse to mix it with another one."""
    note = folder / 'sweep.json'
    if note.exists() and json.loads(note.read_text()) != settings:
        raise ConfigError(f'{folder} holds a sweep with other settings, {note.read_text()}', '--work-dir',
                          'choose another folder')
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(settings))


def last_accuracy(folder: Path) -> dict[str, float]:
    """The ``accuracy/*`` of the last validation of a run, in percent; with EMA, ``*_origin`` are of the raw weights."""
    validations = [record for record in logged(folder) if 'accuracy/top1' in record]
    if not validations:
        raise ConfigError('the run logged no accuracy/top1', str(folder),
                          'its val_evaluator must measure it (topk=1 or topk=(1, 5))')
    return {key: value for key, value in validations[-1].items() if key.startswith('accuracy/')}


def draw(results: dict[int, dict[str, float]]) -> Figure:
    figure = Figure(figsize=(6, 4), layout='constrained', dpi=120)
    axes = figure.subplots()
    for key, label, marker in (('accuracy/top1', 'EMA weights', 'o-'), ('accuracy/top1_origin', 'raw weights', 's--')):
        points = [(epoch, numbers[key]) for epoch, numbers in results.items() if key in numbers]
        if points:
            axes.plot(*zip(*points), marker, label=label)
    axes.set(xlabel='pretraining epochs', ylabel='top-1 after fine-tuning (%)')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(axes.lines) > 1:
        axes.legend()
    return figure


def write_results(folder: Path) -> Table:
    """Write results.csv and results.png of all that is finished; the table to print."""
    epochs = sorted(int(path.parent.name[6:]) for path in folder.glob('epoch_*/done'))
    results = {epoch: last_accuracy(folder / f'epoch_{epoch}') for epoch in epochs}
    keys = list(dict.fromkeys(key for numbers in results.values() for key in numbers))
    rows = [[epoch, *(numbers.get(key, '') for key in keys)] for epoch, numbers in results.items()]
    with open(folder / 'results.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['pretrain_epoch', *keys], *rows])
    draw(results).savefig(folder / 'results.png')
    table = Table('pretraining epoch', *(key.removeprefix('accuracy/') for key in keys), title=f'Accuracy in percent, {folder}')
    for epoch, *numbers in rows:
        table.add_row(str(epoch), *(f'{number:.2f}' if number != '' else '' for number in numbers))
    return table


def main(args: argparse.Namespace) -> None:
    pretraining = args.pretrain_work_dir.resolve()
    folder = args.work_dir or Path('work_dirs') / f'{args.config.stem}_from_{pretraining.name}'
    check_same_sweep(folder, dict(config=str(args.config), pretraining=str(pretraining), options=args.cfg_options))
    for epoch, checkpoint in args.checkpoints.items():
        options = [f'model.backbone.init_cfg.checkpoint={checkpoint}', *args.cfg_options]
        train_to_the_end(args.config, folder / f'epoch_{epoch}', options, args.gpus)
        table = write_results(folder)
    Console().print(table)


run_command(main, args)
