"""mmengine's checkpoints, of which an old one goes only when the new one is there."""
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from nepa_mm.errors import ConfigError
from nepa_mm.registry import HOOKS

REMOVED = 'nepa_mm_removed'  # in the message hub: what this checkpoint replaces
STOPPED = 'nepa_mm_stopped'  # in the message hub: the checkpoint that a signal or a fault left


class LateRemovals:
    """A file backend of mmengine that removes nothing before :meth:`remove_now`.

    Args:
        backend: The backend.
        folder: Where the files are.
        names: A list for the files that are to go; what is in it already goes at the next removal.
    """

    def __init__(self, backend, folder: str, names: list[str]) -> None:
        self.backend, self.folder, self.names = backend, folder, names

    def remove(self, path: str) -> None:
        """Note a file that is to go."""
        self.names.append(Path(path).name)

    def remove_now(self, keep: tuple = ()) -> None:
        """Remove what was noted, but for files that were written anew meanwhile."""
        for name in self.names:
            path = self.backend.join_path(self.folder, name)
            if path not in keep and self.backend.isfile(path):
                self.backend.remove(path)
        self.names.clear()

    def __getattr__(self, name: str):
        return getattr(self.backend, name)


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, which removes the oldest and the last best checkpoint after their successors are written.

    mmengine does so before, and a run that is killed meanwhile with ``max_keep_ckpts=1`` has none. With
    :class:`ReliableRunner` a checkpoint counts as written when it was read back. Takes all arguments of mmengine's.

    Raises:
        ConfigError: After the first validation, if ``save_best`` names no metric of it.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        for name in self.args.keys() - {'meta'}:  # of Runner.save_checkpoint, which would refuse it at the first save
            raise TypeError(f"__init__() got an unexpected keyword argument '{name}'")

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        kept = [name for name in ('save_optimizer', 'save_param_scheduler') if not getattr(self, name)]
        if kept:
            runner.logger.warning(f'default_hooks.checkpoint.{" and ".join(kept)}=False: no training can be resumed from these '
                                  'checkpoints')
        names = runner.message_hub.runtime_info.get(REMOVED, [])
        runner.message_hub.update_info(REMOVED, names)  # to be saved
        self.file_backend = LateRemovals(self.file_backend, self.out_dir, names)
        if is_main_process():  # a run that was killed may not have come to it
            self.file_backend.remove_now()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        stopped = runner.message_hub.runtime_info.pop(STOPPED, None)
        if stopped is not None and is_main_process() and stopped != Path(self.last_ckpt).name:  # the run has passed it
            Path(runner.work_dir, stopped).unlink(missing_ok=True)
        self.remove_replaced()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        for name in getattr(self, 'key_indicators', []):  # of save_best
            if name not in ('auto', *metrics):
                raise ConfigError(f'{name!r} is no metric of the validation, which has {sorted(metrics)}',
                                  'default_hooks.checkpoint.save_best', 'name one of them, or set it to None')
        super()._save_best_checkpoint(runner, metrics)
        self.remove_replaced()

    def remove_replaced(self) -> None:
        """Remove what the newest checkpoints replace."""
        best = getattr(self, 'best_ckpt_path_dict', None) or {'': getattr(self, 'best_ckpt_path', None)}  # by mmengine
        self.file_backend.remove_now(keep=(self.last_ckpt, *best.values()))
