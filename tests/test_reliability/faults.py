"""Faults that a training config can ask for, and a record of what the model saw until then: PYTHONPATH holds this folder."""
import hashlib
import json
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from nepa_mm.checkpoints import unwrapped

KINDS = {
    'loss nan': lambda loss: loss * float('nan'),
    'loss inf': lambda loss: loss + float('inf'),  # the gradient stays what it is
}


@HOOKS.register_module()
class Fault(Hook):
    """Spoil a step of one process: its loss, the gradient of its last parameter, or the length of that gradient.

    Before that step, write down what the work dir holds (``before.json``), and in it the images that the model sees
    (``seen_R.json``).
    """
    priority = 'LOW'

    def __init__(self, kind: str, step: int, rank: int = 0) -> None:
        self.kind, self.step, self.rank = kind, step, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 != self.step:
            return
        if get_rank() == 0:
            content = {path.name: digest(path) for path in Path(runner.work_dir).glob('*.pth')}
            Path(runner.work_dir, 'before.json').write_text(json.dumps(content))
        model, seen = unwrapped(runner.model), []
        loss, spoils = model.loss, get_rank() == self.rank

        def spoiled(inputs, data_samples, **kwargs):
            seen.extend(sample.img_path for sample in data_samples)
            Path(runner.work_dir, f'seen_{get_rank()}.json').write_text(json.dumps(seen))
            losses = loss(inputs, data_samples, **kwargs)
            if spoils and self.kind in KINDS:
                losses['loss'] = KINDS[self.kind](losses['loss'])
            return losses

        model.loss = spoiled
        if spoils and self.kind not in KINDS:
            factor = dict(zip(('gradient nan', 'gradient long'), (float('nan'), 1e9)))[self.kind]
            list(model.parameters())[-1].register_hook(lambda gradient: gradient * factor)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
