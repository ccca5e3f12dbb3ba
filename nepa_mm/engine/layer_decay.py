"""Parameter groups for layer-wise learning-rate decay, for classifiers, self-supervisors and segmentors alike."""
from collections import defaultdict

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ..errors import ConfigError
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Group parameters by depth and rank: lower layers learn slower, one-dimensional parameters take no weight decay.

    mmpretrain's constructor needs ``get_layer_depth`` on the whole model, which mmseg's EncoderDecoder lacks; mmseg's knows
    three backbones by name. This one asks the backbone, whatever holds it, and makes one group for each pair of depth and
    weight decay. Depth is the release's: 0 for head, neck, final norm and ``fc_norm``, L - 1 - i for block i, L for the
    patch embedding and [CLS].

    ``paramwise_cfg`` takes

    - ``layer_decay_rate``: the learning rate at depth d is ``lr * layer_decay_rate ** d``. Leave it at 1 when
      :class:`LayerDecayCosineLR` applies the decay.
    - ``head_lr``: learning rate of head and final norm, whatever their depth. (mmengine's ``--auto-scale-lr`` scales every
      group, this one too.)

    Raises:
        ConfigError: If the backbone has no ``get_layer_depth``, or for an unknown key.
    """

    KEYS = ('layer_decay_rate', 'head_lr')

    def _validate_cfg(self) -> None:
        unknown = set(self.paramwise_cfg) - set(self.KEYS)
        if unknown:
            raise ConfigError(f'optim_wrapper.paramwise_cfg has unknown keys {sorted(unknown)}; choose from {list(self.KEYS)}')
        # The parent skips the grouping for an empty dict.
        self.paramwise_cfg = {'layer_decay_rate': 1., **self.paramwise_cfg}

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Append the parameter groups of the model to ``params``."""
        backbone = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise ConfigError(f'optim_wrapper.constructor: backbone {type(backbone).__name__} has no get_layer_depth(param_name, '
                              'prefix), which layer-wise decay needs; use another backbone or another constructor')
        rate, head_lr = self.paramwise_cfg['layer_decay_rate'], self.paramwise_cfg.get('head_lr')
        groups = defaultdict(list)
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            layer, num_layers = backbone.get_layer_depth(name, 'backbone.')
            is_head = head_lr is not None and (not name.startswith('backbone.') or name.startswith('backbone.norm.'))
            weight_decay = 0. if param.ndim <= 1 else self.base_wd or 0.
            groups[num_layers - 1 - layer, is_head, weight_decay].append(param)
        for (depth, is_head, weight_decay), members in groups.items():
            lr = head_lr if is_head else self.base_lr * rate**depth
            params.append(dict(params=members, lr=lr, weight_decay=weight_decay, layer_depth=depth, layer_decay_rate=rate))
