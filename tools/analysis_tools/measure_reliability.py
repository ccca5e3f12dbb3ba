"""Measure what exact resume, checks and durable checkpoints cost, against mmengine's own hooks, in one run.

    OMP_NUM_THREADS=1 python tools/analysis_tools/measure_reliability.py CONFIG --batch-size 2

One training on a ready batch takes turns with the guarantees and without; ratios are between neighbouring turns. Then its state
is saved in turns by mmengine and durably: written, synchronised with the disk, read back and compared. At last the runner
saves while the training waits, and in turns with it in the background, where it stands still for a copy of the state alone.
docs/reliability.md has the figures.
"""
import argparse
import contextlib
import tempfile
import time
from pathlib import Path
from statistics import median
from unittest import mock

from nepa_mm.analysis.figures import add_json, ratios
from nepa_mm.arguments import Options, require_config, require_least
from nepa_mm.errors import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a training')
    parser.add_argument('--batch-size', type=int, default=32, help='images of a step')
    parser.add_argument('--steps', type=int, default=20, help='steps of a turn')
    parser.add_argument('--repeats', type=int, default=10, help='turns with the guarantees, and as many without')
    parser.add_argument('--warmup', type=int, default=5, help='steps before the first turn')
    parser.add_argument('--folder', help='where to write checkpoints; default: a temporary folder')
    add_json(parser)
    parser.add_argument('--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help='settings of the config')
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)
    args = parser.parse_args()
    require_least(args, 1, 'batch_size', 'steps', 'repeats', 'warmup')
    require_config(args.config)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import torch
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint

from nepa_mm.analysis.cost.made_up_batch import made_up_batch
from nepa_mm.analysis.cost.turns import Clock, TurnsHook, plain_loop, run_turns, timed_config
from nepa_mm.checkpoints.storage.durable import size_of, write_checkpoint
from nepa_mm.engine import LoaderFaultsHook, StepSeedHook, StopOnDivergenceHook, StopOnSignalHook
from nepa_mm.launch.build_runner import build_runner
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.seeding import seed_all

SAID = '{}: {median:.3f} times {} ({min:.3f} to {max:.3f})'
GUARANTEES = (LoaderFaultsHook, StepSeedHook, StopOnDivergenceHook, StopOnSignalHook)


def timed(step, times: int = 1) -> float:
    """Seconds of one of so many steps."""
    return plain_loop(step, time.perf_counter)(times) / times


def without_guarantees(runner: Runner, batch: dict) -> Clock:
    """Steps of the runner's own loop with mmengine's hooks, norm and losses alone."""
    model, hooks = unwrapped(runner.model), [hook for hook in runner.hooks if not isinstance(hook, (*GUARANTEES, TurnsHook))]
    loop = plain_loop(lambda: runner.train_loop.take_step(runner.iter, [batch]), time.perf_counter)

    def run(steps: int) -> float:
        with (mock.patch.object(runner, '_hooks', hooks),
              mock.patch.object(runner.optim_wrapper, 'clip_func', torch.nn.utils.clip_grad_norm_),
              mock.patch.object(model, 'parse_losses', type(model).parse_losses.__get__(model))):
            return loop(steps)

    return run


def seconds_inside(runner: Runner) -> float:
    """Of a step, what is spent in the guarantees; the norm of the gradient is there without them, for clipping."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, GUARANTEES)]
    divergence = next(hook for hook in hooks if isinstance(hook, StopOnDivergenceHook))
    loss = torch.ones((), device=next(runner.model.parameters()).device)

    def step() -> None:
        for hook in hooks:
            hook.before_train_iter(runner, 0)
        divergence.losses = [dict(loss=loss)]
        divergence.check([], [], loss)
        for hook in hooks:
            hook.after_train_iter(runner, 0)

    return timed(step, 200)


def standstills(runner: Runner, folder: str, batch: dict, turns: int) -> dict:
    """For how long a training stands still for a save in the background, against one that it waits for; a step beside a save."""
    def save(**options) -> float:
        return timed(lambda: runner.save_checkpoint(folder, 'saved.pth', **options))

    def step() -> float:
        return timed(lambda: runner.train_loop.take_step(runner.iter, [batch]))

    pairs, steps = [], []
    with mock.patch.object(runner, '_hooks', [hook for hook in runner.hooks if not isinstance(hook, TurnsHook)]):
        first = save(background=True)
        for _ in range(turns):
            runner.saves.wait()
            alone, waited = step(), save()
            pairs.append((save(background=True), waited))
            steps.append((step(), alone))
    runner.saves.wait()
    return dict(saved_bytes=Path(folder, 'saved.pth').stat().st_size, waited_s=median(each for _, each in pairs),
                standstill=ratios(*zip(*pairs)), first_standstill_s=first, step_beside_save=ratios(*zip(*steps)))


def main(args: argparse.Namespace) -> None:
    # The runner's logger writes to what is open here as long as anything logs
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, open(Path(folder) / 'printed.log', 'w') as printed:
        cfg = timed_config(args, folder)
        batch = made_up_batch(cfg, args.batch_size)
        hook = TurnsHook(args.warmup, args.steps, args.repeats, time.perf_counter,
                         lambda runner: dict(bare=without_guarantees(runner, batch)))
        with contextlib.redirect_stdout(printed):
            runner = build_runner(cfg)
            run_turns(runner, hook, batch)
        state = dict(state_dict=unwrapped(runner.model).state_dict(), optimizer=runner.optim_wrapper.state_dict())
        own, durable = Path(folder) / 'own.pth', Path(folder) / 'durable.pth'
        saves = [(timed(lambda: write_checkpoint(state, durable)), timed(lambda: save_checkpoint(state, str(own))))
                 for _ in range(args.repeats)]
        still = standstills(runner, folder, batch, args.repeats)
    figures = dict(
        config=args.config, batch_size=args.batch_size, step_s=min(hook.seconds['bare']) / args.steps,
        step=ratios(hook.seconds['runner'], hook.seconds['bare']), inside_guarantees_s=seconds_inside(runner),
        seed_of_an_image_s=timed(lambda: seed_all('sample', 0, 0, 0, 0), 2000),  # of a worker
        checkpoint_bytes=size_of(state), save=ratios(*zip(*saves)), **still)
    for name in ('step', 'save'):
        print(SAID.format(name, "mmengine's", **figures[name]))
    inside = 1e3 * figures['inside_guarantees_s']
    print(f'a step takes {figures["step_s"] * 1e3:.1f} ms, and {inside:.2f} ms of it are spent in the guarantees')
    print(f'seeding an image takes {figures["seed_of_an_image_s"] * 1e6:.0f} us in a worker; a checkpoint has '
          f'{figures["checkpoint_bytes"] / 1e6:.0f} MB')
    for name, of in dict(standstill='a save that is waited for', step_beside_save='a step alone').items():
        print(SAID.format(name, of, **figures[name]))
    print(f'{figures["saved_bytes"] / 1e6:.0f} MB are saved in {figures["waited_s"]:.2f} s; the first save in the background, '
          f'which finds no memory yet, stands still for {figures["first_standstill_s"]:.2f} s')
    args.json.write(figures)


run_command(main, args)
