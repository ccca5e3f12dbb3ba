"""What mmengine's ``Runner`` must do otherwise where each process has a piece of the model."""
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from mmengine.dist import is_main_process
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import Runner
from mmengine.runner import runner as runner_module

from nepa_mm.checkpoints.storage.names import is_sharded
from nepa_mm.engine.parallel.fully_sharded import FullyShardedDataParallel
from nepa_mm.engine.parallel.pieces import read_like, resume_in_pieces, whole
from nepa_mm.launch.config_parts import value_at


class ShardedRunner(Runner):
    """mmengine's ``Runner``, also for a model in :class:`FullyShardedDataParallel`; any other one it treats as mmengine does.

    Weights begin whole, are shared out before the optimizer is built, are whole for validations, and are gathered for a
    checkpoint, which so is that of a training that shares nothing out; it starts and resumes one of either kind.
    """

    @property
    def timeout(self) -> timedelta | None:
        """After which a process that hangs is given up; None is torch's."""
        seconds = value_at(self.cfg, 'env_cfg.dist_cfg.timeout')
        return seconds and timedelta(seconds=seconds)

    @property
    def is_sharded(self) -> bool:
        """Whether each process has a piece of the parameters."""
        return isinstance(self.model, FullyShardedDataParallel) and self.model.is_sharded

    def build_optim_wrapper(self, optim_wrapper) -> BaseOptimWrapper:
        """mmengine's, over the pieces of a model that is to be shared out."""
        if isinstance(self.model, FullyShardedDataParallel) and not self.is_sharded:
            self._init_model_weights()  # no random number is drawn between here and mmengine's place for it
            self.model.shard(self.timeout)
        built = super().build_optim_wrapper(optim_wrapper)
        if self.is_sharded:
            resume_in_pieces(built)
        return built

    def _init_model_weights(self) -> None:
        if not self.is_sharded:
            super()._init_model_weights()

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call all hooks; validate with whole parameters, those of the average once ``EMAHook`` put it in their place."""
        if self.is_sharded and fn_name in ('before_val_iter', 'before_test_iter'):
            self.model.gather()
        if self.is_sharded and fn_name in ('after_val_epoch', 'after_test_epoch'):
            self.model.release()  # before EMAHook exchanges them again
        super().call_hook(fn_name, **kwargs)
        if self.is_sharded and fn_name in ('after_val_epoch', 'after_test_epoch'):
            self.model.release()  # mmpretrain's EMAHook may have validated the raw weights as well

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        """mmengine's, in the memory of the machine, for a GPU cannot hold all; a process resumes by its own part of a folder."""
        if self.is_sharded:
            reads_own = self._resume and is_sharded(Path(filename))
            args, kwargs['map_location'] = args[1:], read_like(next(self.model.parameters())) if reads_own else 'cpu'
        return super().load_checkpoint(filename, *args, **kwargs)

    def save_checkpoint(self, *args, in_pieces: bool = False, **kwargs) -> None:
        """mmengine's; all processes must come here together to gather what is in pieces, for the first one to write.

        Args:
            *args: Of mmengine's method.
            in_pieces: Let each process write what it has instead.
            **kwargs: Of mmengine's method.
        """
        if not self.is_sharded:
            return super().save_checkpoint(*args, **kwargs)
        self.model.release()  # a validation may be what is stopped
        write = runner_module.save_checkpoint

        def gather_and_write(checkpoint: dict, *args, **kwargs) -> None:
            checkpoint = whole(checkpoint, keep=is_main_process())
            if is_main_process():
                write(checkpoint, *args, **kwargs)

        with patch.object(runner_module, 'save_checkpoint', write if in_pieces else gather_and_write):
            Runner.save_checkpoint.__wrapped__(self, *args, **kwargs)  # the method itself leaves out all but the first process
