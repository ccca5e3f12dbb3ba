"""Which steps of a work dir can be done again, and what the training wrote down of them."""
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from nepa_mm.checkpoints.storage.names import checkpoints_in
from nepa_mm.checkpoints.storage.pickled import read_lazily, read_meta
from nepa_mm.engine.hooks.divergence_hook import DIVERGED
from nepa_mm.engine.runner.reliable_runner import KEY
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.launch.read_config import read_config
from nepa_mm.launch.work_dir import checkpoint_folders


@dataclass
class SavedStep:
    """A step, counted from 1, whose weights of before are in a checkpoint.

    ``first`` differs in loops of mmengine's alone, whose iterations are batches: the first one that the step accumulates.
    ``diverged`` is what :class:`StopOnDivergenceHook` saw: ``what``, the ``ranks`` that saw it, and the ``losses`` of each
    process, a dict for each batch.
    """
    cfg: Config
    checkpoint: Path
    step: int
    first: int
    run: dict  # of ReliableRunner
    diverged: dict

    @property
    def processes(self) -> int:
        return self.run['facts']['processes']

    @property
    def threads(self) -> int | None:
        """With how many threads each computed; None if an older version has saved it."""
        return self.run.get('threads')

    def ranks(self, rank: int | None = None) -> list[int]:
        """Processes to look at, the likeliest first: a loss is known to be bad in one, a gradient is the mean of all.

        Raises:
            ConfigError: If there is no such process.
        """
        if rank is not None:
            if not 0 <= rank < self.processes:
                raise ConfigError(f'{rank} is none of {self.processes} processes', '--rank', f'give 0 to {self.processes - 1}')
            return [rank]
        return self.diverged.get('ranks') or [0]

    def logged_losses(self, rank: int) -> list[dict[str, float]]:
        """The losses of each batch of a process as the training had them; empty if it did not write them down."""
        return self.diverged['losses'][rank] if self.diverged else []

    def logged_loss(self, rank: int) -> float | None:
        """What the training logged as the loss of this step in process 0; None if no later checkpoint knows it."""
        if rank:
            return None
        for path in checkpoints_in(self.checkpoint.parent):  # and not what was published beside them, which has no log
            checkpoint = read_lazily(path)
            if checkpoint['meta'].get('iter', 0) >= self.step:
                log = checkpoint['message_hub']['log_scalars']
                numbers = log['train/loss'].data[0] if 'train/loss' in log else ()
                if len(numbers) >= self.step:
                    return float(numbers[self.step - 1])
        return None


def find_step(work_dir: Path, step: int | None = None, options: dict | None = None) -> SavedStep:
    """The step to replay: the one that is asked for; else the one that diverged; else the one behind the newest checkpoint.

    Args:
        step: Counted from 1.
        options: Settings that replace those of its config, such as another place of the images.

    Raises:
        ConfigError, CheckpointError: If there is no training, or no checkpoint of the step before.
    """
    configs = sorted(work_dir.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not configs:
        raise ConfigError('it holds no config of a training', str(work_dir), 'give the work dir of one')
    cfg = read_config(str(configs[-1]), options)
    folders = checkpoint_folders(cfg, str(work_dir))
    diverged = sorted(work_dir.glob('diverged_iter_*.pth'), key=lambda path: path.stat().st_mtime, reverse=True)
    steps = {}
    for path in (*diverged, *checkpoints_in(*folders)):
        meta = read_meta(path)
        steps.setdefault(meta.get('iter', 0) + 1, (path, meta))
    if not steps:
        raise CheckpointError('it holds no checkpoint', str(work_dir), 'give the work dir of a training that has saved one')
    chosen = next(iter(steps)) if step is None else step
    if chosen not in steps:
        raise CheckpointError(f'no checkpoint of step {chosen - 1} is there, which step {chosen} begins with', str(work_dir),
                              f'choose --step from {sorted(steps)}')
    path, meta = steps[chosen]
    if KEY not in meta:
        raise CheckpointError('it was not saved by ReliableRunner, so that its images cannot be drawn again', str(path),
                              "train with runner_type='nepa_mm.ReliableRunner'")
    record = meta.get(DIVERGED, {})
    return SavedStep(cfg, path, chosen, record.get('first', chosen), meta[KEY], record)
