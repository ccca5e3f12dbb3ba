"""Measure what exact resume, checks and durable checkpoints cost, against mmengine's own hooks, in one run.

    OMP_NUM_THREADS=1 python tools/analysis_tools/measure_reliability.py CONFIG --batch-size 2

One training on a ready batch takes turns with the guarantees and without; ratios are between neighbouring turns. Then its state
is saved in turns by mmengine and durably: written, synchronised with the disk, read back and compared. docs/reliability.md has
the figures.
"""
import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint

from nepa_mm.analysis.cost.made_up_batch import made_up_batch
from nepa_mm.analysis.cost.training_step import without_checkpoints
from nepa_mm.analysis.cost.turns import Finished, ReadyBatches, ratios, synchronize
from nepa_mm.analysis.runs.json_file import JsonFile
from nepa_mm.checkpoints.storage.durable import size_of, write_checkpoint
from nepa_mm.engine import LoaderFaultsHook, StepSeedHook, StopOnDivergenceHook, StopOnSignalHook
from nepa_mm.errors import one_line_errors
from nepa_mm.launch.build_runner import build_runner
from nepa_mm.launch.read_config import load_config
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.seeding import seed_all

GUARANTEES = (LoaderFaultsHook, StepSeedHook, StopOnDivergenceHook, StopOnSignalHook)


class Turns(Hook):
    """Time turns of so many steps, by turns with the guarantees and without, and at last the saving."""
    priority = 'LOWEST'

    def __init__(self, warmup: int, steps: int, repeats: int, folder: Path) -> None:
        self.warmup, self.steps, self.repeats, self.folder = warmup, steps, repeats, folder
        self.seconds, self.saving = {True: [], False: []}, {True: [], False: []}

    def before_train(self, runner: Runner) -> None:
        model, wrapper = unwrapped(runner.model), runner.optim_wrapper
        self.with_all = runner._hooks, wrapper.clip_func, model.parse_losses
        self.without = ([hook for hook in runner._hooks if not isinstance(hook, GUARANTEES)], torch.nn.utils.clip_grad_norm_,
                        type(model).parse_losses.__get__(model))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        done = runner.iter + 1 - self.warmup
        if done < 0 or done % self.steps:
            return
        synchronize()
        is_on = done // self.steps % 2 == 0  # in the turn to come
        if done:
            self.seconds[not is_on].append(time.perf_counter() - self.began)
        if len(self.seconds[False]) == self.repeats:
            self.inside = self.seconds_inside(runner)
            self.save(runner)
            raise Finished
        model, wrapper = unwrapped(runner.model), runner.optim_wrapper
        runner._hooks, wrapper.clip_func, model.parse_losses = self.with_all if is_on else self.without
        self.began = time.perf_counter()

    def seconds_inside(self, runner: Runner, times: int = 200) -> float:
        """Of a step, what is spent in the guarantees; the norm of the gradient is there without them, for clipping."""
        hooks = [hook for hook in self.with_all[0] if isinstance(hook, GUARANTEES)]
        divergence = next(hook for hook in hooks if isinstance(hook, StopOnDivergenceHook))
        loss, norms = torch.ones((), device=next(runner.model.parameters()).device), []
        synchronize()
        begin = time.perf_counter()
        for _ in range(times):
            for hook in hooks:
                hook.before_train_iter(runner, 0)
            divergence.losses = [dict(loss=loss)]
            divergence.check([], norms, loss)
            for hook in hooks:
                hook.after_train_iter(runner, 0)
        synchronize()
        return (time.perf_counter() - begin) / times

    def save(self, runner: Runner) -> None:
        """Write the state of the training in turns."""
        state = dict(state_dict=unwrapped(runner.model).state_dict(), optimizer=runner.optim_wrapper.state_dict())
        self.bytes = size_of(state)
        for _ in range(self.repeats):
            for is_durable, write in ((True, write_checkpoint), (False, save_checkpoint)):
                path = self.folder / f'{is_durable}.pth'
                begin = time.perf_counter()
                write(state, path if is_durable else str(path))
                self.saving[is_durable].append(time.perf_counter() - begin)


def seconds_to_seed(times: int = 2000) -> float:
    """Of a worker, for an image."""
    begin = time.perf_counter()
    for i in range(times):
        seed_all('sample', 0, 0, i, i)
    return (time.perf_counter() - begin) / times


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a training')
    parser.add_argument('--batch-size', type=int, default=32, help='images of a step')
    parser.add_argument('--steps', type=int, default=20, help='steps of a turn')
    parser.add_argument('--repeats', type=int, default=10, help='turns with the guarantees, and as many without')
    parser.add_argument('--warmup', type=int, default=5, help='steps before the first turn')
    parser.add_argument('--folder', help='where to write checkpoints; default: a temporary folder')
    parser.add_argument('--json', type=JsonFile, help='file for the figures')
    parser.set_defaults(cfg_options=None, work_dir=None, launcher='none', local_rank=0)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        args.work_dir = folder
        cfg = without_checkpoints(load_config(args))
        cfg.train_dataloader.batch_size = args.batch_size
        cfg.update(auto_scale_lr=None, custom_hooks=[
            hook for hook in cfg.get('custom_hooks', []) if hook['type'] != 'nepa_mm.QueryPatchesHook'])  # it reads images
        hook = Turns(args.warmup, args.steps, args.repeats, Path(folder))
        with open(Path(folder) / 'printed.log', 'w') as printed, contextlib.redirect_stdout(printed):
            runner = build_runner(cfg)
            runner.register_hook(hook)
            steps = args.warmup + args.steps * (2 * args.repeats + 1)
            runner._train_dataloader = ReadyBatches(made_up_batch(cfg, args.batch_size), args.batch_size, steps)
            with contextlib.suppress(Finished):
                runner.train()
    figures = dict(
        config=args.config, batch_size=args.batch_size, step_s=min(hook.seconds[False]) / args.steps,
        step=ratios(hook.seconds[True], hook.seconds[False]), inside_guarantees_s=hook.inside,
        seed_of_an_image_s=seconds_to_seed(), checkpoint_bytes=hook.bytes, save=ratios(hook.saving[True], hook.saving[False]))
    for name in ('step', 'save'):
        low, high = figures[name]['min'], figures[name]['max']
        print(f'{name}: {figures[name]["median"]:.3f} times mmengine\'s ({low:.3f} to {high:.3f})')
    print(f'a step takes {figures["step_s"] * 1e3:.1f} ms, and {hook.inside * 1e3:.2f} ms of it are spent in the guarantees')
    print(f'seeding an image takes {figures["seed_of_an_image_s"] * 1e6:.0f} us in a worker; a checkpoint has '
          f'{hook.bytes / 1e6:.0f} MB')
    if args.json:
        args.json.write(figures)


if __name__ == '__main__':
    with one_line_errors():
        main()
