"""Checkpoints as they are saved and loaded: an old one goes when the new one is there; what is loaded fits, and is told."""
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import BaseLoop, Runner

from nepa_mm.checkpoints.fitting.fit import origin_of
from nepa_mm.checkpoints.record import KEY, facts_in, record
from nepa_mm.checkpoints.storage.durable import remove
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.launch.naming_errors import class_counts
from nepa_mm.models.fit_model import fit_model, require_all, unwrapped
from nepa_mm.models.pretrained_backbone import PretrainedBackbone
from nepa_mm.registry import HOOKS

REMOVED = 'nepa_mm_removed'  # in the message hub: what this checkpoint replaces
STOPPED = 'nepa_mm_stopped'  # in the message hub: the checkpoint that a signal or a fault left


class LateRemovals:
    """A file backend of mmengine that notes which files and folders of a folder are to go, and removes them later."""

    def __init__(self, backend, folder: str, names: list[str]) -> None:
        self.backend, self.folder, self.names = backend, folder, names

    def remove(self, path: str) -> None:
        self.names.append(Path(path).name)

    rmtree = remove

    def remove_now(self, keep: tuple = ()) -> None:
        """Remove what was noted, but for files that were written anew meanwhile."""
        for name in self.names:
            path = self.backend.join_path(self.folder, name)
            if path not in keep and self.backend.isdir(path):
                remove(Path(path))
            elif path not in keep and self.backend.isfile(path):
                self.backend.remove(path)
        self.names.clear()

    def __getattr__(self, name: str):
        return getattr(self.backend, name)


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, which removes the oldest and the last best checkpoint after their successors are written.

    mmengine does so before, and a run that is killed meanwhile with ``max_keep_ckpts=1`` has none. With
    :class:`ReliableRunner` a checkpoint counts as written when it was read back.

    Args:
        background: Let the training go on while a regular checkpoint is written, from a copy of the state in host memory. A new
            best one is written before it goes on, and each one where the runner is another than :class:`ReliableRunner`.
        sharded: Where the model is in pieces (:class:`FullyShardedDataParallel`), let each process write its own, to a folder of
            the checkpoint's name. False gathers all in the first process, which writes a file, as it always does of the best.
        **kwargs: All arguments of mmengine's.

    Raises:
        ConfigError: After the first validation, if ``save_best`` names no metric of it.
    """

    def __init__(self, background: bool = True, sharded: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.background, self.sharded = background, sharded
        for name in self.args.keys() - {'meta'}:  # of Runner.save_checkpoint, which would refuse it at the first save
            raise TypeError(f"__init__() got an unexpected keyword argument '{name}'")

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        kept = [name for name in ('save_optimizer', 'save_param_scheduler') if not getattr(self, name)]
        if kept:
            runner.logger.warning(f'default_hooks.checkpoint.{" and ".join(kept)}=False: no training can be resumed from these '
                                  'checkpoints')
        runner.saves_pieces = self.sharded
        names = runner.message_hub.runtime_info.get(REMOVED, [])
        runner.message_hub.update_info(REMOVED, names)  # to be saved
        self.file_backend = LateRemovals(self.file_backend, self.out_dir, names)
        if is_main_process():  # a run that was killed may not have come to it
            self.file_backend.remove_now()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """mmengine's, but for the pointer ``last_checkpoint``, which names a checkpoint once it is there."""
        self.wait(runner)
        if self.max_keep_ckpts > 0 and step not in list(self.keep_ckpt_ids)[-1:]:  # the same again, once it is the best
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:  # the deque lets it go
                self.file_backend.remove(self.filename_tmpl.format(self.keep_ckpt_ids[0]))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        options = dict(background=self.background) if hasattr(runner, 'saves') else {}
        runner.save_checkpoint(self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
                               save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
                               backend_args=self.backend_args, **options, **self.args)
        stopped = runner.message_hub.runtime_info.pop(STOPPED, None)
        if is_main_process():
            self.then(runner, partial(self.point_and_remove, Path(runner.work_dir), stopped, self.kept()))

    def point_and_remove(self, work_dir: Path, stopped: str | None, kept: tuple[str, ...]) -> None:
        """Name the newest checkpoint in the pointer; remove what it replaces, and what a stop left that the run has passed."""
        with open(work_dir / 'last_checkpoint', 'w') as pointer:
            pointer.write(self.last_ckpt)
        if stopped is not None and stopped != Path(self.last_ckpt).name:
            remove(work_dir / stopped)
        self.file_backend.remove_now(kept)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        self.wait(runner)  # or what the last save removes would contain the best one that is about to be replaced
        for name in getattr(self, 'key_indicators', []):  # of save_best
            if name not in ('auto', *metrics):
                raise ConfigError(f'{name!r} is no metric of the validation, which has {sorted(metrics)}',
                                  'default_hooks.checkpoint.save_best', 'name one of them, or set it to None')
        super()._save_best_checkpoint(runner, metrics)
        if is_main_process():
            self.then(runner, partial(self.file_backend.remove_now, self.kept()))

    def kept(self) -> tuple[str, ...]:
        """The newest and the best checkpoints, which may have the names of others that were to go."""
        best = getattr(self, 'best_ckpt_path_dict', None) or {'': getattr(self, 'best_ckpt_path', None)}  # by mmengine
        return self.last_ckpt, *best.values()

    @staticmethod
    def wait(runner: Runner) -> None:
        if hasattr(runner, 'saves'):
            runner.saves.wait()

    @staticmethod
    def then(runner: Runner, task: Callable[[], None]) -> None:
        """Do something once the save that is under way has succeeded."""
        if hasattr(runner, 'saves'):
            runner.saves.then(task)
        else:
            task()


@HOOKS.register_module()
class FitCheckpointHook(Hook):
    """Before ``load_from`` or ``--resume`` fills a model, fit the checkpoint by :func:`fit_model` and log what that did.

    A training may start with new heads; of those that only differ in their classes it warns. A test or a resumed training must
    find every weight.

    Raises:
        CheckpointError: If the checkpoint does not fit, in one line that names it.
    """
    priority = 'VERY_HIGH'  # EMAHook loads the checkpoint into the average

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        state_dict = checkpoint.get('state_dict', checkpoint)
        if runner._resume and not {'message_hub', 'meta'} <= checkpoint.keys():
            raise CheckpointError('weights alone, no state of a training to resume', origin_of(state_dict).source,
                                  'start a new one from them, with load_from')
        fit = fit_model(unwrapped(runner.model), state_dict)
        if not fit.available:
            return
        trains = isinstance(runner._train_loop, BaseLoop)
        if runner._resume:
            require_all(fit, 'a resumed training', exactly=True)
        elif not trains and (isinstance(runner._test_loop, BaseLoop) or isinstance(runner._val_loop, BaseLoop)):
            require_all(fit, 'a test')
        runner.logger.info(str(fit))
        remade = ', '.join(part for part in fit.new_parts if ' classes (' in part)
        if remade:
            keys = ' and '.join(class_counts(runner.cfg, remade)) or 'this model'
            runner.logger.warning(f'{fit.source}: {remade}, as it has other classes than {keys}; these weights learn anew')


@HOOKS.register_module()
class CheckpointRecordHook(Hook):
    """Add to the ``meta`` of a saved checkpoint what nepa_mm knows of it; the config is there already, by mmengine."""
    priority = 'VERY_LOW'  # after EMAHook, which makes the average the state_dict
    started_from = None  # of a run that goes on, as its checkpoint says

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            self.started_from = facts_in(checkpoint.get('meta')).get('started_from')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        started_from = self.started_from if runner._resume else runner._load_from
        facts = record('ema' if 'ema_state_dict' in checkpoint else 'raw', started_from=started_from)
        backbones = [module for module in unwrapped(runner.model).modules() if isinstance(module, PretrainedBackbone)]
        if len(backbones) == 1:
            facts.update(variant=backbones[0].variant, settings=backbones[0].untraced_settings)
            if isinstance(backbones[0].init_cfg, dict):
                facts.update(started_from=started_from or backbones[0].init_cfg.get('checkpoint'))
        checkpoint['meta'][KEY] = facts


def note_exchanges(hooks: Iterable[Hook]) -> None:
    """Let averages know, as ``is_exchanged``, whether they stand where the weights are: mmpretrain's validates both in turn."""
    for hook in hooks:
        if not isinstance(hook, EMAHook) or hasattr(hook, 'is_exchanged'):
            continue

        def exchange(hook=hook, exchange=hook._swap_ema_parameters) -> None:
            exchange()
            hook.is_exchanged = not hook.is_exchanged

        hook.is_exchanged, hook._swap_ema_parameters = False, exchange
