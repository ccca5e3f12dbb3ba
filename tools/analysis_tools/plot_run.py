"""Draw what one or several trainings logged: loss, learning rate per layer, gradient norm, throughput, accuracy or mIoU.

    python tools/analysis_tools/plot_run.py work_dirs/RUN --out run.png
    python tools/analysis_tools/plot_run.py work_dirs/NEPA work_dirs/SCRATCH --labels NEPA scratch --smooth 5 --out runs.pdf

Several runs share the panels, which compares recipes (accuracy over epochs, as the paper's Figures 3 and 4). A resumed run is one
curve. Rates per layer are in runs that trained with layer-wise decay and ``nepa_mm.LayerLRHook``; of others, what mmengine logs.
"""
import argparse
from pathlib import Path

from nepa_mm.arguments import require_least
from nepa_mm.errors import ConfigError, run_command
from nepa_mm.new_files import require_new

FORMATS = ('.png', '.pdf', '.svg')


def names_of(folders: list[Path], labels: list[str] | None) -> list[str]:
    """The labels, or as much of each path as tells it from the others."""
    if labels is not None:
        if len(labels) != len(folders) or len(set(labels)) < len(labels):
            raise ConfigError(f'{" ".join(labels)} are not one name for each of {len(folders)} runs', '--labels',
                              'give as many, each another')
        return labels
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise ConfigError(f'{" ".join(map(str, folders))}: a run is named twice', 'WORK_DIR', 'name each once')
    return next(names for depth in range(1, max(len(path.parts) for path in paths) + 1)
                for names in [['/'.join(path.parts[-depth:]) for path in paths]] if len(set(names)) == len(names))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', metavar='WORK_DIR', type=Path, nargs='+', help='work dir of a training')
    parser.add_argument('--out', type=Path, required=True, help=f'picture to write: {", ".join(FORMATS)}')
    parser.add_argument('--labels', nargs='+', help='names of the runs; default: those of their folders')
    parser.add_argument('--smooth', type=int, default=1, metavar='N', help='running mean over N logged points; default: 1, none')
    parser.add_argument('--metrics', nargs='+', help='metrics of validations, e.g. mAcc; default: top-1 accuracies and mIoU')
    parser.add_argument('--x', choices=['epoch', 'step'], help='unit of the x axis; default: epochs where all runs have them')
    args = parser.parse_args()
    require_new(args.out, suffixes=FORMATS, overwrite=True)
    require_least(args, 1, 'smooth')
    args.labels = names_of(args.work_dirs, args.labels)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.analysis.runs.run_curves import draw_runs
from nepa_mm.analysis.runs.run_log import read_run


def main(args: argparse.Namespace) -> None:
    runs = {name: read_run(folder) for name, folder in zip(args.labels, args.work_dirs)}
    figure = draw_runs(runs, args.smooth, args.metrics, {'epoch': True, 'step': False}.get(args.x))
    figure.savefig(args.out)
    for name, run in runs.items():
        last = {key: float(values[-1]) for key, (_, values) in ({'loss': run.train['loss']} | run.metrics).items()}
        print(f'{name}: step {run.train["loss"][0][-1]}, ' + ', '.join(f'{key} {value:.4g}' for key, value in last.items()))
    print(f'{args.out} written')


run_command(main, args)
