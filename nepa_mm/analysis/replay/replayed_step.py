"""One step of a training done again, in one process: with the weights, images and random numbers that it had.

A step is a function of the weights before it, of its place in the data and of the seed. So the checkpoint of the step before is
resumed by the code that resumes trainings, for one step whose update is left out. Of several processes one is replayed: torch's
``fake`` backend says which it is of how many, and passes nothing on. What they compute together is then that process's own:
gradients before they are averaged, and the statistics of BatchNorm.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import runner as runner_module
from torch import nn

from nepa_mm.engine.hooks.divergence_hook import watch_losses
from nepa_mm.engine.loops.data_place import DataPlace
from nepa_mm.engine.runner.reliable_runner import ReliableRunner
from nepa_mm.errors import ConfigError
from nepa_mm.models.fit_model import unwrapped

from .first_bad_number import BadNumber, NumberWatch
from .saved_steps import SavedStep

# Of the default hooks, those that a step depends on; the others log, draw, save and stop.
KEPT = {'runtime_info', 'param_scheduler', 'keep_zeros', 'sampler_seed', 'loader_faults', 'fit_checkpoint'}
LEFT_OUT = ('CheckpointHook', 'LoggerHook', 'ProgressHook', 'StopOnDivergenceHook', 'StopOnSignalHook')
NUMBERS = count()  # of runners, which mmengine tells apart by their names


@dataclass
class ReplayedStep:
    """What a step was made of, and what came of it.

    ``losses`` has a dict for each batch that the step accumulates, and ``loss`` is what is logged for the step. ``bad`` is the
    first bad number, if a loss or a gradient is one. ``outputs`` and ``gradients`` are the largest magnitudes by module and by
    parameter. If ``is_compiled`` none of the three is there: hooks would change what is compiled.
    """
    images: list[str] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    loss: float = float('nan')
    grad_norm: float = float('nan')
    bad: BadNumber | None = None
    outputs: dict[str, float] = field(default_factory=dict)
    gradients: dict[str, float] = field(default_factory=dict)
    is_compiled: bool = False
    normalises_by_batch: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether a loss or the gradient is no number."""
        numbers = [self.grad_norm, *(value for each in self.losses for value in each.values())]
        return not all(abs(number) < float('inf') for number in numbers)


class StepDone(Exception):
    """The step has been replayed."""


class ReplayRunner(ReliableRunner):
    """A runner that takes one step from a checkpoint, and ends before the weights are updated."""
    saved: SavedStep = None
    replayed: ReplayedStep = None
    compiles = True
    say_images: Callable[[list[str]], None] = None
    watch = None
    is_updated = False

    def find_resumed(self) -> dict:
        """What the checkpoint says of its run; no other process is asked."""
        self.place = DataPlace(**self.saved.run['place'])
        return self.saved.run['facts']

    def load_or_resume(self) -> None:
        """Resume; in a loop of mmengine's, whose iterations are batches, go back to the first one that the step accumulates."""
        super().load_or_resume()
        back = self.saved.first - 1 - self.iter
        if back:
            self.place = self.place.moved(self, back)
            if self.place.images < 0:
                raise ConfigError(f'{self.saved.step} begins in another epoch than it ends', '--step', 'choose another one')
            self.train_loop._iter += back
            self.place.begin_at(self)

    def validation_is_due(self) -> bool:
        return False

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Begin to watch when all hooks are ready; end with the step before any of them logs or averages it."""
        if fn_name == 'after_train_iter' and self.is_updated:
            self.end_step(kwargs['outputs'])
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_train':
            self.begin_step(unwrapped(self.model))

    def begin_step(self, model: nn.Module) -> None:
        """Watch the model, and take the place of the update."""
        wrapper = self.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            raise ConfigError(f'{type(wrapper).__name__} has several updates in a step', 'optim_wrapper',
                              'such a step cannot be replayed')
        replayed, steps = self.replayed, range(self.saved.first, self.saved.step + 1)
        replayed.images = [image for step in steps for image in self.images_of(step)]
        self.say_images(replayed.images)
        replayed.normalises_by_batch = any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in model.modules())
        compiled = [module for module in model.modules() if getattr(module, 'compiled', False)]
        replayed.is_compiled = self.compiles and bool(compiled or self.cfg.get('compile'))
        if not self.compiles:
            for module in compiled:
                module.compiled = False
        self.losses = watch_losses(model)
        if not replayed.is_compiled:
            self.watch = NumberWatch(model, wrapper)
        wrapper.step = self.take_no_step

    def take_no_step(self, **kwargs) -> None:
        """Note the gradient in place of an update."""
        self.is_updated = True
        parameters = [each for group in self.optim_wrapper.optimizer.param_groups for each in group['params']]
        norms = torch._foreach_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        scaler = getattr(self.optim_wrapper, 'loss_scaler', None)  # of float16
        self.replayed.grad_norm = float(torch.linalg.vector_norm(torch.stack(norms))) / (scaler.get_scale() if scaler else 1.)

    def end_step(self, outputs: dict) -> None:
        """Write down what came of the step, and end by StepDone."""
        replayed, watch = self.replayed, self.watch
        replayed.losses = [{name: float(value) for name, value in each.items()} for each in self.losses]
        replayed.loss = float(outputs['loss']) if 'loss' in outputs else float('nan')
        if watch is not None:
            replayed.outputs, replayed.gradients = watch.outputs, watch.gradients
            if replayed.is_bad:
                replayed.bad = watch.forward or watch.backward
        raise StepDone


def replay(saved: SavedStep, rank: int, device: str | None = None, compiles: bool = True,
           say_images: Callable[[list[str]], None] = lambda images: None) -> ReplayedStep:
    """Do a step again as one of its processes did it.

    Args:
        saved: The step, and from which checkpoint.
        device: 'cpu', 'cuda', ...; default: what mmengine would train on.
        compiles: Whether what was compiled is compiled, which is what gives the bits of the training.
        say_images: Gets the images before they are read.

    Raises:
        UserError: If the step cannot be done, such as for an image that cannot be read.
    """
    replayed = ReplayedStep()
    with TemporaryDirectory() as folder, one_of(rank, saved.processes), as_many_threads(saved.threads), patch.object(
            runner_module, 'get_device', (lambda: device) if device else runner_module.get_device):
        runner = ReplayRunner.from_cfg(replay_config(saved, folder, compiles))
        runner.saved, runner.replayed, runner.compiles, runner.say_images = saved, replayed, compiles, say_images
        try:
            runner.train()
        except StepDone:
            return replayed
    raise ConfigError(f'{saved.step}: the training had ended by then', '--step', 'choose an earlier one')


def replay_config(saved: SavedStep, folder: str, compiles: bool) -> Config:
    """The config of a training, for one process that writes to another folder, reads its images itself, and takes a step."""
    cfg = saved.cfg.copy()
    kind = RUNNERS.get(cfg.get('runner_type', 'Runner'))
    if not (isinstance(kind, type) and issubclass(kind, ReliableRunner)):
        raise ConfigError(f'{cfg.get("runner_type", "Runner")!r} draws images that cannot be drawn again', 'runner_type',
                          "train by 'nepa_mm.ReliableRunner'")
    cfg.work_dir, cfg.launcher, cfg.resume, cfg.load_from = folder, 'none', True, str(saved.checkpoint)
    cfg.experiment_name, cfg.log_level = f'replay_{next(NUMBERS)}', 'ERROR'
    cfg.default_hooks = {name: hook if name in KEPT else None for name, hook in (cfg.get('default_hooks') or {}).items()}
    for name in ('timer', 'logger', 'checkpoint'):  # mmengine's own, where the config does not name them
        cfg.default_hooks[name] = None
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if not str(hook['type']).endswith(LEFT_OUT)]
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.vis_backends, cfg.visualizer = [], None
    loader = cfg.train_dataloader
    loader.num_workers, loader.persistent_workers = 0, False
    for name in ('prefetch_factor', 'timeout'):  # of workers
        loader.pop(name, None)
    if not compiles:
        cfg.compile = False
    return cfg


@contextmanager
def one_of(rank: int, processes: int) -> Iterator[None]:
    """Be one of several processes, which are not there."""
    if processes == 1:
        yield
        return
    from torch.testing._internal.distributed.fake_pg import FakeStore  # registers the backend
    dist.init_process_group('fake', rank=rank, world_size=processes, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def as_many_threads(number: int | None) -> Iterator[None]:
    """Compute with as many threads as the training did, on which sums on a CPU depend; None leaves their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
