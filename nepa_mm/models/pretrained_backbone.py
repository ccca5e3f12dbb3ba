"""How a backbone starts from a checkpoint: strictly, under every host."""
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from mmengine.model import BaseModule, PretrainedInit
from mmengine.runner import CheckpointLoader
from torch import Tensor

from nepa_mm.checkpoints.fitting.fit import Origins, fit_state_dict, origin_of, refuse
from nepa_mm.checkpoints.fitting.prefixes import WRAPPER, backbone_in
from nepa_mm.checkpoints.storage.files import about
from nepa_mm.errors import CheckpointError


class PretrainedBackbone(BaseModule):
    """Loads checkpoints by :func:`fit_state_dict`, which resizes and adds what it can and refuses the rest.

    Args:
        init_cfg: As in mmengine, e.g. ``dict(type='Pretrained', checkpoint='hf:...')``. The backbone is found by its names;
            a ``prefix`` is needed only where a checkpoint holds several.
        allow_unmatched: Parameters that a checkpoint may lack, and then stay as initialized, or hold in vain, by name or
            pattern (``'layers.*.ls?.gamma'``); and settings that may differ (``'act'``).
    """

    def __init__(self, init_cfg: dict | list | None = None, allow_unmatched: Sequence[str] = ()) -> None:
        super().__init__(init_cfg)
        self.allow_unmatched = tuple(allow_unmatched)
        self._register_load_state_dict_pre_hook(fit_state_dict, with_module=True)

    def init_weights(self) -> None:
        """Load the checkpoint that ``init_cfg`` names, if any; parameters have their initial values from the start.

        Raises:
            CheckpointError: If it does not hold the weights of this backbone.
        """
        if not isinstance(self.init_cfg, dict) or self.init_cfg.get('type') not in ('Pretrained', PretrainedInit):
            return super().init_weights()
        address, prefix = self.init_cfg['checkpoint'], self.init_cfg.get('prefix') or ''
        try:
            checkpoint = CheckpointLoader.load_checkpoint(address, self.init_cfg.get('map_location', 'cpu'))
            with about(address):
                state_dict = part_of(checkpoint.get('state_dict', checkpoint), prefix)
                self.load_state_dict(state_dict, strict=False)  # fit_state_dict is stricter
        except CheckpointError as error:
            raise CheckpointError(error.what, f'{error.where} (init_cfg={dict(self.init_cfg)})', error.remedy) from error
        self.is_init = True


def part_of(state_dict: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The parameters that begin with a prefix, without it; all of them if it only says what may stand before a backbone.

    CheckpointError if none begins with another prefix.
    """
    names = [name for name in state_dict if prefix and name.startswith(prefix)]
    if not names:
        if not re.fullmatch(WRAPPER, f'{prefix.rstrip(".")}.' if prefix else ''):
            refuse('the checkpoint', f'no key starts with prefix={prefix!r}', list(state_dict))
        return state_dict
    part = OrderedDict((name.removeprefix(prefix), state_dict[name]) for name in names)
    part._metadata = Origins({}, replace(origin_of(state_dict), backbone=backbone_in(part)))
    return part
