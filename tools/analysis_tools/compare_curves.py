"""Train one config twice from one seed, as it is and with settings changed, and hold the losses of the two against each other.

    python tools/analysis_tools/compare_curves.py configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py \\
        --change train_dataloader.dataset.pipeline.1.backend=torchvision --cfg-options model.backbone.arch=tiny ...

A path that is faster has to learn what the plain path learns. The losses of every step are compared; a third run, of another
seed, says how far apart curves are by chance alone.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from nepa_mm.analysis.figures import add_json, markdown
from nepa_mm.arguments import require_least
from nepa_mm.errors import ConfigError, run_command
from nepa_mm.launch.training_process import logged


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--steps', type=int, default=200, help='compared; the config must train for as many (default: 200)')
    parser.add_argument('--change', nargs='+', required=True, metavar='KEY=VALUE', help='settings of the second run')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='settings of all runs')
    add_json(parser)
    args = parser.parse_args()
    require_least(args, 1, 'steps')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np

TRAIN = Path(__file__).resolve().parents[1] / 'train.py'
SEED = 1337


def train(config: str, options: list[str], seed: int, folder: Path) -> np.ndarray:
    command = [sys.executable, TRAIN, config, '--work-dir', folder, '--no-validate', '--cfg-options', f'randomness.seed={seed}',
               'default_hooks.logger.interval=1', 'log_processor.window_size=1', *options]
    environ = dict(os.environ, PYTHONPATH=os.pathsep.join([str(TRAIN.parents[1]), os.environ.get('PYTHONPATH', '')]))
    done = subprocess.run([str(part) for part in command], env=environ, text=True, capture_output=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1].removeprefix('nepa_mm: error: ')
        raise ConfigError(f'training with {" ".join(options) or "no changes"} failed ({said})', config, 'mend that')
    return np.array([record['loss'] for record in logged(folder) if 'loss' in record])


def main(args: argparse.Namespace) -> None:
    runs = dict(plain=([], SEED), changed=(args.change, SEED), seed=([], SEED + 1))
    curves = {}
    with TemporaryDirectory() as folder:
        for name, (options, seed) in runs.items():
            curves[name] = train(args.config, [*args.cfg_options, *options], seed, Path(folder, name))
            if len(curves[name]) < args.steps:
                raise ConfigError(f'{args.steps}: {args.config} trains for {len(curves[name])}', '--steps',
                                  'set train_cfg.max_epochs')
            curves[name] = curves[name][:args.steps]
    result, rows = {}, []
    for name, label in (('plain', args.config), ('changed', ' '.join(args.change)), ('seed', 'another seed')):
        difference = np.abs(curves[name] - curves['plain'])
        result[name] = dict(first=curves[name][0], last=curves[name][-20:].mean(), largest=difference.max(),
                            mean=difference.mean())
        rows.append([label, *(f'{value:.5f}' for value in result[name].values())])
    print(markdown('run | first loss | last 20, mean | largest difference | mean difference', rows))
    args.json.write(dict(numbers=result, curves={name: list(each) for name, each in curves.items()}))


run_command(main, args)
