"""Another system's training step in a process, and a Python, of its own; tools/analysis_tools/peers holds the other side."""
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

from mmengine.config import Config

from nepa_mm.checkpoints.release.released_config import released_config
from nepa_mm.errors import CheckpointError, ConfigError

from .training_step import ema_hooks

PEERS = Path(__file__).resolve().parents[3] / 'tools/analysis_tools/peers'
SCRIPTS = {'hf-reference': 'hf_reference.py', 'stable-pretraining': 'stable_pretraining_nepa.py'}


def peer_settings(cfg: Config, batch_size: int, img_size: int, peer_path: str | None, clock: str) -> dict:
    """Sizes, batch, precision and optimizer of a config, for a peer; ConfigError where it is not NEPA over its own ViT."""
    backbone = cfg.model.get('backbone', {})
    if not cfg.model.type.endswith('NEPA') or not str(backbone.get('type')).endswith('NEPAViT'):
        raise ConfigError(f'{cfg.model.type!r} is not what --vs compares, nepa_mm.NEPA over nepa_mm.NEPAViT', 'model.type',
                          'give a config of NEPA pretraining')
    try:
        config = released_config(dict(backbone=backbone.to_dict()), None)
    except CheckpointError as error:
        raise ConfigError(f'--vs needs the released variant: {error.what}', error.where,
                          'give a config of the released variant') from error
    optimizer = {key: value for key, value in cfg.optim_wrapper.optimizer.items() if key in ('lr', 'betas', 'weight_decay')}
    averages = ema_hooks(cfg)
    return dict(
        batch_size=batch_size, img_size=img_size, peer_path=peer_path, clock=clock,
        released_config={**config, 'image_size': img_size},
        amp=any(name in str(cfg.optim_wrapper.get('type')) for name in ('Bf16', 'Amp')), adamw=optimizer,
        max_norm=(cfg.optim_wrapper.get('clip_grad') or {}).get('max_norm'), ema=bool(averages),
        ema_momentum=averages[0].ema_cfg.get('momentum', 0.0002) if averages else None)


class PeerProcess:
    """A peer's training step, which can be asked to run so many times.

    Raises:
        ConfigError: In one line, if the peer cannot be started.
    """

    def __init__(self, name: str, python: str, settings: dict) -> None:
        env = dict(os.environ)
        if Path(python) != Path(sys.executable):
            env.pop('PYTHONPATH', None)  # packages of this Python
        command = [python, '-W', 'ignore', str(PEERS / SCRIPTS[name]), json.dumps(settings)]
        self.said = TemporaryFile('w+')  # a pipe that nobody empties would stop the peer when it is full
        try:
            self.process = subprocess.Popen(
                command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said)
        except OSError as error:
            raise ConfigError(f'{python!r} cannot be run: {error.strerror}', '--peer-python',
                              'give the Python that the peer is installed in') from error
        self.name, self.memory = name, 0
        self.about = self.answer()['ready']

    def answer(self) -> dict:
        """The next line that the peer says."""
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {}
        if not line or 'error' in answer:
            self.process.wait()
            self.said.seek(0)
            why = answer.get('error') or (self.said.read().strip().splitlines() or ['it said nothing'])[-1]
            raise ConfigError(f'{self.name} stopped: {why}', '--vs', 'mend that, or compare with another')
        return answer

    def __call__(self, steps: int) -> float:
        self.process.stdin.write(f'run {steps}\n')
        self.process.stdin.flush()
        answer = self.answer()
        self.memory = max(self.memory, answer['memory'])
        return answer['seconds']

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
