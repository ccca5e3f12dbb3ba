"""mmengine's checkpoints, of which an old one goes only when the new one is there."""
from collections.abc import Collection
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..registry import HOOKS

STOPPED = 'nepa_mm_stopped'  # in the message hub: the checkpoint that a signal or a fault left


class LateRemovals:
    """A file backend of mmengine that removes nothing before :meth:`remove_now`."""

    def __init__(self, backend) -> None:
        self.backend, self.paths = backend, []

    def remove(self, path: str) -> None:
        """Note a file that is to go."""
        self.paths.append(path)

    def remove_now(self, keep: list[str]) -> None:
        """Remove what was noted, but for files that were written anew meanwhile."""
        for path in self.paths:
            if path not in keep and self.backend.isfile(path):
                self.backend.remove(path)
        self.paths.clear()

    def __getattr__(self, name: str):
        return getattr(self.backend, name)


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, which removes the oldest and the last best checkpoint after their successors are written.

    mmengine does so before, and a run that is killed meanwhile with ``max_keep_ckpts=1`` has none. With
    :class:`ReliableRunner` a checkpoint counts as written when it was read back. Takes all arguments of mmengine's.
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.file_backend = LateRemovals(self.file_backend)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        stopped = runner.message_hub.runtime_info.pop(STOPPED, None)
        if stopped is not None and is_main_process():  # the run has passed it
            self.file_backend.remove(str(Path(self.out_dir, stopped)))
        self.file_backend.remove_now(self.newest())

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self.file_backend.remove_now(self.newest())

    def newest(self) -> list[str]:
        """The last checkpoint, and the best by each metric."""
        return [self.last_ckpt, getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
