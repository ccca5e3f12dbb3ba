"""The model that a training begins with: its size, and where its weights come from."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nepa_mm.checkpoints.preprocessing import bands_in, pixels_of
from nepa_mm.checkpoints.storage.names import checkpoints_in
from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.variants import ARCHS, DEFAULTS, arch_settings

from .choices import GIVEN, Choice, Choices
from .machine import Machine

RELEASED = 'hf:SixAILab/nepa-base-patch14-224'
SCRATCH = 'none'
MINI = dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512)  # of the demo, for a CPU
# What the task decides, not the weights
OF_TASK = {'type', 'arch', 'img_size', 'patch_size', 'causal', 'out_type', 'out_indices', 'output_cls_token', 'final_norm',
           'drop_path_rate', 'frozen_stages', 'with_cp', 'in_channels', 'compile', 'init_cfg', 'allow_unmatched', '_scope_'}


@dataclass
class Start:
    """A backbone and its weights."""
    address: str | None  # None for weights drawn at random
    arch: str | dict
    patch_size: int
    img_size: int | None = None  # that it was trained at
    others: dict[str, Any] = field(default_factory=dict)  # further arguments of NEPAViT that are not its defaults
    pixels: dict[str, Any] = field(default_factory=dict)  # mean and std, where they are not the recipe's
    bands: int | None = None  # channels of images that are not RGB, of weights that were trained on such

    @property
    def sizes(self) -> dict[str, int]:
        """Width, depth, ..."""
        return arch_settings(self.arch)


def choose_start(address: str | None, choose: Choices, machine: Machine, released: bool = True) -> Start:
    """From weights that are named, or else from the released ones where they are wanted and there is a GPU, or from none."""
    if address not in (None, SCRATCH):
        if 'arch' in choose.given:
            raise ConfigError(f'{choose.given["arch"]!r}, and weights have a size of their own', '--arch',
                              f'leave it out, or give --from {SCRATCH}')
        start = start_of(newest_in(address))
        choose.made['from'] = Choice('from', start.address, GIVEN if start.address == address else f'the newest of {address}')
        choose('arch', named(start.arch), 'that of the weights')
    elif released and address is None and machine.is_gpu and choose.given.get('arch') in (None, 'base'):
        start = Start(RELEASED, 'base', 14, 224)
        choose('from', RELEASED, "the authors' weights; --from takes others")
        choose('arch', 'base', 'that of the weights')
    else:
        if not released:
            why = f"random weights; --from {RELEASED} goes on from the authors'"
        elif machine.is_gpu:
            why = 'random weights: the released ones are of base'
        else:
            why = 'random weights: the released ones are too large for a CPU; pretrain first, and give --from'
        choose('from', SCRATCH, GIVEN if address else why)
        arch = choose('arch', 'mini' if not machine.is_gpu else 'base', 'small enough for a CPU' if not machine.is_gpu else
                      "the release's")
        start = Start(None, MINI if arch == 'mini' else arch, 14)
    return start


def newest_in(address: str) -> str:
    """The newest checkpoint in the work dir of a training, which a stop may have left; other addresses as they are."""
    return str(next(checkpoints_in(Path(address)), address))


def named(arch: str | Mapping) -> str:
    """A name for sizes, if they have one."""
    sizes = arch_settings(arch)
    return next((name for name, known in dict(ARCHS, mini=MINI).items() if known == sizes), 'its own')


def start_of(address: str) -> Start:
    """The backbone of a checkpoint, as the one door to models finds it.

    Raises:
        CheckpointError: If there is no such checkpoint.
        ConfigError: If its backbone is not NEPA's.
    """
    from nepa_mm.apis import get_model  # takes seconds
    config = get_model(address)._config
    backbone = config['model']['backbone']
    if name_of(backbone) != 'NEPAViT':
        raise ConfigError(f'{backbone.get("type")!r} is no nepa_mm.NEPAViT', '--from', 'give a checkpoint of one, or write the '
                          'config by hand (docs/mixing.md)')
    arch = backbone.get('arch', 'base')
    name = named(arch)
    others = {key: plain(value) for key, value in backbone.items() if key not in OF_TASK and value != DEFAULTS.get(key)}
    told, channels = pixels_of(config) or {}, backbone.get('in_channels', 3)
    bands = bands_in(config) or (None if channels == 3 else channels)
    pixels = {key: plain(told[key]) for key in ('mean', 'std') if set(told.get(key, ())) - ({127.5} if bands is None else set())}
    return Start(address, name if name in ARCHS else plain(arch_settings(arch)), backbone.get('patch_size', 14),
                 backbone.get('img_size', 224), others, pixels, bands)


def plain(value):
    """Dicts and lists of a config as those of Python."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value
