"""mmengine's ``Runner`` for trainings of days: exact to resume, checkpoints that are whole, changes that are noticed."""
import re
import signal
from collections.abc import Collection
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from mmengine.dist import broadcast_object_list, get_rank, is_main_process
from mmengine.logging import MMLogger
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from mmengine.visualization import Visualizer
from torch.utils.data import DataLoader

from nepa_mm.checkpoints.storage.durable import check_whole, newest_whole, remove, remove_temporaries
from nepa_mm.checkpoints.storage.files import is_safetensors
from nepa_mm.checkpoints.storage.pickled import read_meta
from nepa_mm.datasets import DrawSampler, SeededDataset
from nepa_mm.datasets.transforms.load_image import with_own_loader
from nepa_mm.engine.hooks.checkpoint_hooks import STOPPED, note_exchanges
from nepa_mm.engine.hooks.hang_watch import HangWatchHook
from nepa_mm.engine.hooks.interruptions import DataTimeout, LoaderFaultsHook, begin_worker, dead, workers_of
from nepa_mm.engine.hooks.step_hooks import KeepZerosHook, StepSeedHook
from nepa_mm.engine.loops.data_place import DataPlace
from nepa_mm.errors import CheckpointError, ConfigError, DataError, ProcessError, UserError, first_line
from nepa_mm.hosts.operators import say_operators
from nepa_mm.launch.relaunch import launched, restart, say_restart
from nepa_mm.launch.work_dir import checkpoint_folders
from nepa_mm.registry import RUNNERS
from nepa_mm.visualization.vis_backends import spare_training

from .resumed_state import FROM_WEIGHTS, apply_settings, changes_of, class_changes, require_state, settings_of, state_changes
from .saving_runner import SavingRunner

KEY = 'nepa_mm_run'  # in the meta of a checkpoint


@RUNNERS.register_module()
class ReliableRunner(SavingRunner):
    """mmengine's ``Runner``, to be named by ``runner_type='nepa_mm.ReliableRunner'`` in any mm config.

    - Training images come from a :class:`SeededDataset`; with :class:`StepSeedHook`, which it adds, ``--resume`` ends with the
      bits of an uninterrupted run, from within an epoch as well.
    - Checkpoints are complete or not there, and may be written while the training goes on (:class:`SavingRunner`).
    - ``resume=True`` takes the newest checkpoint of the work dir that is whole, and starts anew only where there is none.
    - A validation that followed the step of the checkpoint is done first, so that none is missing and the best stays the best.
    - A run that is resumed with other processes, batch, images, seed, length, optimizer or schedules is refused, unless
      ``allow_resume_change=True``: then it goes on with those of its config (resumed_state.py).
    """

    saved_facts = {}  # of the checkpoint to resume from
    settings = {}  # of the optimizer and the schedules, as they were built
    place = DataPlace()
    ends_step = has_stepped = False

    def train(self) -> torch.nn.Module:
        self.saved_facts = self.find_resumed()
        self.settings = settings_of(self.param_schedulers, 'param_scheduler')
        if is_main_process():
            for folder in checkpoint_folders(self.cfg, self.work_dir):
                remove_temporaries(folder)
        note_exchanges(self.hooks)
        try:
            return super().train()
        except UserError as error:  # says itself what is wrong
            if isinstance(error, DataError) and self.has_stepped:  # what was trained until then is not to be done again
                self.save_after_fault()
            raise
        except (RuntimeError, OSError, EOFError) as error:  # a reader that lost its worker says any of them
            fault = self.fault(error)
            if fault is None:
                raise
            for worker in workers_of(error):  # one that hangs would not leave
                worker.kill()
            raise ProcessError(fault, self.save_after_fault(), 'go on with --resume') from error

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call all hooks, and know the place in the data, and whether the end of a step is under way."""
        was = self.ends_step
        self.ends_step = was or fn_name == 'after_train_iter'
        if fn_name == 'after_train_iter':
            self.place, self.has_stepped = self.place.moved(self, steps=1), True
        super().call_hook(fn_name, **kwargs)  # an error leaves it so
        self.ends_step = was
        if fn_name == 'before_train' and self._resume and self.validation_is_due():
            self.val_loop.run()

    # What is built

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """mmengine's, which begins with the operators that stand in for mmcv's, if any do."""
        logger = super().build_logger(*args, **kwargs)
        say_operators()
        return logger

    @property
    def run_seed(self) -> int:
        return self.seed - (get_rank() if self._randomness_cfg.get('diff_rank_seed') else 0)

    def build_train_loop(self, loop: dict | BaseLoop) -> BaseLoop:
        """mmengine's loop over images that are drawn by the seed and their place in the epoch alone."""
        loader = self._train_dataloader
        if isinstance(loader, dict) and isinstance(loader.get('sampler'), dict):
            seed = self.run_seed
            replaces_bad = any(isinstance(hook, LoaderFaultsHook) and hook.max_bad_images for hook in self.hooks)
            self._train_dataloader = {
                **loader,
                'dataset': dict(type='nepa_mm.SeededDataset', dataset=loader['dataset'], seed=seed, replaces_bad=replaces_bad),
                'sampler': dict(type='nepa_mm.DrawSampler', sampler=loader['sampler'], seed=seed)}
        return super().build_train_loop(loop)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args, **kwargs) -> DataLoader:
        """mmengine's loader, whose workers leave it to the training process to heed signals, and name images that are broken."""
        loader = Runner.build_dataloader(with_own_loader(dataloader), *args, **kwargs)
        loader.worker_init_fn = partial(begin_worker, loader.worker_init_fn)
        return loader

    def build_optim_wrapper(self, optim_wrapper) -> BaseOptimWrapper:
        """mmengine's, whose settings are kept."""
        if isinstance(optim_wrapper, dict):  # not built yet
            self.settings = {**self.settings, **settings_of(optim_wrapper, 'optim_wrapper')}
            self.settings.pop('optim_wrapper.accumulative_counts', None)  # a fact of its own
        built = super().build_optim_wrapper(optim_wrapper)
        optimizer = getattr(built, 'optimizer', None)
        if hasattr(optimizer, 'train') and hasattr(optimizer, 'eval'):
            raise ConfigError(f'{type(optimizer).__name__} exchanges the weights by train() and eval(), which nobody would call',
                              'optim_wrapper.optimizer.type', 'choose another one; EMAHook averages the weights of any')
        return built

    def build_visualizer(self, visualizer: dict | Visualizer | None = None) -> Visualizer:
        """mmengine's, whose backends warn where they would end the training."""
        return spare_training(super().build_visualizer(visualizer))

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """mmengine's and those of the config, but for those that it sets to None, which mmengine knows of its own alone."""
        own = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
        super().register_default_hooks({name: hook for name, hook in (hooks or {}).items() if hook is not None or name in own})

    def register_hooks(self, *args, **kwargs) -> None:
        """Those of the config, and the four that this runner needs."""
        super().register_hooks(*args, **kwargs)
        for kind in (StepSeedHook, LoaderFaultsHook, KeepZerosHook, HangWatchHook):
            if not any(isinstance(hook, kind) for hook in self.hooks):
                self.register_hook(kind())

    # What a training goes on from

    def find_resumed(self) -> dict:
        """Choose the checkpoint to resume from, before the seed is needed; give back what it says of its run.

        Raises:
            CheckpointError: If the one asked for, or each that is there, is not whole.
        """
        if not self._resume and not restart():
            return {}
        found = [None]
        if is_main_process():  # the one that reads all of it
            try:
                found = [self.whole_checkpoint()]
            except CheckpointError as error:
                found = [error]
        broadcast_object_list(found)
        path, = found
        if isinstance(path, CheckpointError):
            raise path
        say_restart(path)
        self._resume = path is not None
        if path is None:
            self.logger.info(f'No checkpoint in {self.work_dir}: a new run')
            return {}
        self.logger.info(f'Resuming from {path}, which is whole')
        self._load_from = path
        saved = read_meta(Path(path)).get(KEY, {})
        facts, self.place = saved.get('facts', {}), DataPlace(**saved['place']) if saved else None
        if self._randomness_cfg.get('seed') is None and 'randomness.seed' in facts:  # drawn at random when the run began
            self._randomness_cfg.update(seed=facts['randomness.seed'])
            self.set_randomness(**self._randomness_cfg)
        return facts

    def whole_checkpoint(self) -> str | None:
        """The checkpoint named by the config, or the newest of the work dir; after a restart what the run saved comes first."""
        is_named = self._resume and self._load_from is not None
        if not is_named or restart():
            newest = newest_whole(
                checkpoint_folders(self.cfg, self.work_dir), self.logger.warning, since=launched() if is_named else 0.)
            if newest or not is_named:
                return newest and str(newest)
        if is_safetensors(Path(self._load_from)):
            raise CheckpointError('it holds weights alone, so that no training can go on from it', self._load_from,
                                  f'{FROM_WEIGHTS} and resume=False')
        check_whole(Path(self._load_from))
        return self._load_from

    def resume(self, *args, **kwargs) -> None:
        """Refuse a run with other settings before its checkpoint is loaded; else mmengine's, with :meth:`load_checkpoint`."""
        self.refuse(self.changed_facts())
        super().resume(*args, **kwargs)

    def load_checkpoint(self, *args, **kwargs) -> dict:
        """mmengine's; to resume from, with the config's settings in the states of optimizer and schedules."""
        checkpoint = super().load_checkpoint(*args, **kwargs)
        if not self._resume:
            return checkpoint
        require_state(checkpoint, self, bool(self.cfg.get('allow_resume_change')))
        changed = self.changed_facts() + class_changes(checkpoint, self)
        if not self.tells_settings:
            changed += state_changes(checkpoint, self)
        if self.param_schedulers and 'param_schedulers' not in checkpoint:
            changed.append('param_scheduler: not saved -> as in the config')
        self.refuse(changed)
        if changed:
            apply_settings(checkpoint, self)
            self.logger.info(f'Resumed with changes: {", ".join(changed)}; optimizer and schedules go on as the config has them')
        return checkpoint

    def load_or_resume(self) -> None:
        """Load or resume as mmengine does, then go on with the next image."""
        super().load_or_resume()
        if not self._resume:
            return
        if self.place is None:  # a checkpoint of mmengine's own Runner
            self.place = DataPlace().moved(self, self.iter - self.epoch * len(self.train_loop.dataloader))
        if isinstance(self.train_dataloader.sampler, DrawSampler):
            self.place.begin_at(self)
        elif isinstance(self.train_loop, EpochBasedTrainLoop) and self.iter % len(self.train_loop.dataloader):
            self.logger.warning('The sampler of train_dataloader cannot begin within an epoch: this one begins anew')

    def validation_is_due(self) -> bool:
        """Whether a validation follows the step of a checkpoint, which was saved before: it knows nothing of that."""
        loop, passed, end = self.train_loop, self.iter, self.max_iters
        if isinstance(loop, EpochBasedTrainLoop):
            if self.passed(self.epoch, self.iter)[1]:  # within an epoch
                return False
            passed, end = self.epoch, self.max_epochs
        loop._decide_current_val_interval()
        return self.val_loop is not None and passed >= loop.val_begin and (passed % loop.val_interval == 0 or passed == end)

    def passed(self, epoch: int, step: int) -> tuple[int, int]:
        """Epochs that a loop of epochs has done, and iterations after them, of a run that may have had other batches before."""
        loop, loader = self.train_loop, self.train_dataloader
        if not isinstance(loop, EpochBasedTrainLoop):
            return 0, step
        if self.place is None or loader.batch_size is None:
            return epoch, step - epoch * len(loader)
        batch = loader.batch_size * self.world_size * getattr(loop, 'count', 1)
        return epoch, self.place.images // batch if self.place.epoch == epoch else 0

    def facts(self) -> dict:
        """What must not change when the run is resumed."""
        loader, loop = self.train_dataloader, self.train_loop
        length = 'max_epochs' if isinstance(loop, EpochBasedTrainLoop) else 'max_iters'
        return {'processes': self.world_size, 'train_dataloader.batch_size': loader.batch_size,
                'optim_wrapper.accumulative_counts': getattr(self.optim_wrapper, '_accumulative_counts', 1),
                'images': len(loader.dataset), 'randomness.seed': self.run_seed, f'train_cfg.{length}': getattr(loop, length),
                'auto_scale_lr.enable': bool((self.auto_scale_lr or {}).get('enable')), **self.settings,
                **({'iterations of an epoch': len(loader)} if length == 'max_epochs' else {})}

    @property
    def tells_settings(self) -> bool:
        """Whether the checkpoint was saved with all of the facts; older ones have some, and mmengine's none."""
        return any(key.startswith('train_cfg.') for key in self.saved_facts)

    def changed_facts(self) -> list[str]:
        """``key: saved -> now`` of the facts that differ."""
        now, told = self.facts(), {*self.saved_facts, *(self.settings if self.tells_settings else ())}
        return changes_of(self.saved_facts, {key: value for key, value in now.items() if key in told})

    def refuse(self, changed: list[str]) -> None:
        """Raise ConfigError with what has changed, if it may not."""
        if changed and not self.cfg.get('allow_resume_change'):
            raise ConfigError(f'a run with other settings: {", ".join(changed)}', self._load_from,
                              'go on as it was, or accept the change: --allow-resume-change')

    # What is saved

    def save_checkpoint(self, out_dir: str, filename: str, *args, meta: dict | None = None, **kwargs) -> None:
        """Save as :class:`SavingRunner` does, with the facts of the run and the place in the data."""
        meta = {**(meta or {}), KEY: dict(facts=self.facts(), place=asdict(self.place), threads=torch.get_num_threads())}
        super().save_checkpoint(out_dir, filename, *args, meta=meta, **kwargs)

    def save_stopped(self, meta: dict) -> str:
        """Save the last finished step of a run that must end, beside the checkpoints that it saves regularly."""
        name, passed = f'iter_{meta["iter"]}.pth', self.message_hub.runtime_info.get(STOPPED)
        path = Path(self.work_dir, name)
        for hook in self.hooks:
            if getattr(hook, 'is_exchanged', False):  # the average stands where the weights are saved from
                hook._swap_ema_parameters()
        if self.last_saved != path:
            if not path.exists():  # else it is a regular one, or noted already
                self.message_hub.update_info(STOPPED, name)
            self.save_checkpoint(self.work_dir, name, meta=dict(meta), by_epoch=False)
        self.saves.wait()
        if passed not in (None, name) and is_main_process():  # what an earlier stop left
            remove(path.with_name(passed))
        return str(path)

    # Faults, and images by their names

    def fault(self, error: Exception) -> str | None:
        """What an error says about a process that died or hangs; None if it is another error."""
        text, ended = str(error), dead(workers_of(error))
        if ended:
            said = ', '.join(f'{pid} ({signal.Signals(-code).name if code < 0 else f"exit code {code}"})'
                             for pid, code in ended.items())
            return f'loader worker {said} died{self.in_flight(ended)}'
        if isinstance(error, DataTimeout):
            return f'{error}{self.in_flight()}'
        if self.distributed and re.search(r'[Cc]onnection (closed|reset)|gloo|NCCL|peer|pair closure', text):
            watch = next((hook for hook in self.hooks if isinstance(hook, HangWatchHook)), None)
            where = f'{watch.report()}; ' if watch and re.search(r'[Tt]im(ed |e)?out', text) else ''
            return f'another process of the training died or hangs ({where}{first_line(error)})'
        return None

    def in_flight(self, pids: Collection[int] | None = None) -> str:
        """The images that processes were working on."""
        dataset = self.train_dataloader.dataset
        if not isinstance(dataset, SeededDataset):
            return ''
        found = [f'{self.path_of_image(int(index))} (index {index}, pid {pid})' for pid, index in dataset.at_work
                 if index >= 0 and (pids is None or pid in pids)]
        return f' at {", ".join(found)}' if found else ''

    def save_after_fault(self) -> str:
        """Save the last finished step, unless a forward pass may have changed what belongs to it."""
        if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in self.model.modules()) and self.distributed:
            return 'the step was not saved, for its statistics of BatchNorm may be half updated'
        if self.is_sharded:
            return 'the step was not saved, for a piece of it is gone with the process'
        if not is_main_process():
            return 'process 0 saves the last finished step, if it lives'
        if self.ends_step:
            return 'the step was not saved, for it may be half done'
        return f'the last finished step, {self.iter}, is {self.save_stopped(dict(epoch=self.epoch, iter=self.iter))}'

    def images_of(self, step: int) -> list[str]:
        """Paths, or else indices, of the images that this process sees in an optimizer step, counted from 1."""
        return [self.path_of_image(index) for index in self.place_before(step).indices(self)]

    def place_before(self, step: int) -> DataPlace:
        """The place in the data at which an optimizer step, counted from 1, begins; that of the next one is ``self.place``."""
        return self.place.moved(self, step - 1 - self.iter - self.ends_step)  # at the end of a step it is ahead of self.iter

    def path_of_image(self, index: int) -> str:
        """The file of a training image, or its index where there is none."""
        dataset = self.train_dataloader.dataset
        info = dataset.get_data_info(index) if hasattr(dataset, 'get_data_info') else {}
        return str(info.get('img_path') or f'index {index}')
