"""mmengine's ``Runner`` with checkpoints that are whole or not there, and that a training need not wait for."""
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from mmengine.runner import runner as runner_module

from nepa_mm.checkpoints.storage.background import BackgroundSaves
from nepa_mm.checkpoints.storage.durable import write_checkpoint
from nepa_mm.errors import first_line

from .sharded_runner import ShardedRunner


class SavingRunner(ShardedRunner):
    """Saves by :func:`write_checkpoint`, or all processes by :func:`write_sharded`; if asked while the training goes on.

    The end of the training waits for it. A save that fails then ends the training before its next step, at its next save, or
    at its end.
    """

    last_saved = None  # path of the newest checkpoint of this process
    saves_pieces = False  # of a model that is in pieces, each process its own, to a folder

    @cached_property
    def saves(self) -> BackgroundSaves:
        """What is written while the training goes on."""
        return BackgroundSaves()

    @cached_property
    def save_group(self) -> dist.ProcessGroup:
        """Of all processes, for a thread of each, and for the CPU; all must come here together."""
        return dist.new_group(backend='gloo', timeout=self.timeout)

    def train(self) -> torch.nn.Module:
        """Launch training, and wait for the last save."""
        try:
            model = super().train()
            self.saves.wait()
            return model
        finally:  # an error has ended the training, which that of a save must not hide
            try:
                self.saves.wait()
            except Exception as error:
                self.logger.error(f'The last checkpoint was not written: {first_line(error)}')

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call all hooks; before a step only if no save has failed, after the training when all is saved: signals wait for it."""
        if fn_name == 'before_train_iter':
            self.saves.look()
        elif fn_name == 'after_train':
            self.saves.wait()
        super().call_hook(fn_name, **kwargs)

    def save_checkpoint(self, out_dir: str, filename: str, *args, background: bool = False, **kwargs) -> None:
        """Save as mmengine does, to a file that is complete or not there; other storage than files by mmengine itself.

        Args:
            out_dir: The folder.
            filename: The file's name in it.
            *args: Of mmengine's method.
            background: Return once the state is copied, and write the copy while the training goes on.
            **kwargs: Of mmengine's method.

        Raises:
            StorageError: If the file cannot be written, or the last one could not while the training went on.
        """
        def write(checkpoint: dict, filename: str, file_client_args=None, backend_args=None) -> None:
            if file_client_args or backend_args or '://' in filename:
                original(checkpoint, filename, file_client_args=file_client_args, backend_args=backend_args)
            elif background:
                self.saves.begin(lambda copied: save(copied, Path(filename)), checkpoint)
            else:
                save(checkpoint, Path(filename))

        self.saves.wait()
        save = write_checkpoint
        if self.is_sharded:
            kwargs['in_pieces'] = self.saves_pieces and kwargs.get('save_optimizer', True)  # not of the best
            if kwargs['in_pieces']:
                from nepa_mm.checkpoints.storage.sharded_saves import write_sharded  # with what takes a second to import
                save = partial(write_sharded, group=self.save_group)
        original = runner_module.save_checkpoint
        with ExitStack() as patches:
            patches.enter_context(patch.object(runner_module, 'save_checkpoint', write))  # mmengine's holds the file twice
            if background:  # the state leaves the GPU by the one copy
                patches.enter_context(patch.object(runner_module, 'weights_to_cpu', lambda weights: weights))
                patches.enter_context(patch.object(runner_module, 'apply_to', lambda state, *_: state))
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
        self.last_saved = Path(out_dir, filename)
