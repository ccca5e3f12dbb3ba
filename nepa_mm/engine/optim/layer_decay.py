"""Parameter groups for layer-wise learning-rate decay, for classifiers, self-supervisors and segmentors alike."""
from collections import defaultdict

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import Tensor, nn

from nepa_mm.errors import ConfigError
from nepa_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

POOLED_NORMS = ('backbone.fc_norm.', 'backbone.ln2.')  # LayerNorm of the mean patch token: ours, that of mmpretrain's ViTs


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Group parameters by depth and rank: lower layers learn slower, one-dimensional parameters take no weight decay.

    mmpretrain's constructor needs ``get_layer_depth`` on the whole model, which mmseg's EncoderDecoder lacks; mmseg's knows
    three backbones by name. This one asks the backbone, whatever holds it, and makes one group for each pair of depth and
    weight decay.

    Depth is the release's, whatever the backbone: 0 for head, neck, final norm, the norm of the pooled patches and the last
    block; L - 1 - i for block i of L; L for the patch embedding, [CLS] and position embedding. mmpretrain's backbones count
    one more than that (BEiT's and MAE's convention), so that their last block would already learn slower than the head; the
    surplus is taken off. BEiT's tables of relative positions are as deep as their block; one that all blocks share has
    depth 0, as in BEiT.

    ``paramwise_cfg`` takes

    - ``layer_decay_rate``: the learning rate at depth d is ``lr * layer_decay_rate ** d``. Leave it at 1 when
      :class:`LayerDecayCosineLR` applies the decay.
    - ``head_lr``: learning rate of head and final norm, whatever their depth. Final norm means the one-dimensional parameters
      of depth 0 outside the blocks (``norm`` of a NEPAViT, ``ln1`` of mmpretrain's ViTs), the norm of the pooled patches
      excepted. :class:`AccumulatingEpochLoop` never scales it.

    Raises:
        ConfigError: If the backbone has no ``get_layer_depth``, for an unknown key, or a decay that is not in (0, 1].
    """

    KEYS = ('layer_decay_rate', 'head_lr')

    def _validate_cfg(self) -> None:
        unknown = set(self.paramwise_cfg) - set(self.KEYS)
        if unknown:
            raise ConfigError(f'unknown keys {sorted(unknown)}', 'optim_wrapper.paramwise_cfg', f'choose from {list(self.KEYS)}')
        rate = self.paramwise_cfg.get('layer_decay_rate', 1.)
        if not 0 < rate <= 1:
            raise ConfigError(f'{rate} is not in (0, 1]', 'layer_decay_rate',
                              'give the decay between neighbouring layers; 1 is none')
        # The parent skips the grouping for an empty dict.
        self.paramwise_cfg = {'layer_decay_rate': 1., **self.paramwise_cfg}

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Append the parameter groups of the model to ``params``."""
        backbone = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise ConfigError(f'backbone {type(backbone).__name__} has no get_layer_depth(param_name, prefix), which layer-wise '
                              'decay needs', 'optim_wrapper.constructor', 'use another backbone or another constructor')
        rate, head_lr = self.paramwise_cfg['layer_decay_rate'], self.paramwise_cfg.get('head_lr')
        depths = release_depths(backbone)
        groups = defaultdict(list)
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            depth = depths.get(name, 0)
            is_head = head_lr is not None and (name not in depths or is_final_norm(name, param, depth))
            weight_decay = 0. if param.ndim <= 1 else self.base_wd or 0.
            groups[depth, is_head, weight_decay].append(param)
        for (depth, is_head, weight_decay), members in groups.items():
            lr = head_lr if is_head else self.base_lr * rate**depth
            params.append(dict(params=members, lr=lr, weight_decay=weight_decay, layer_depth=depth, layer_decay_rate=rate))


def release_depths(backbone: nn.Module) -> dict[str, int]:
    """Depth of each parameter ``backbone.*``, counted so that the last block has depth 0."""
    depths = {}
    for name, _ in backbone.named_parameters(prefix='backbone'):
        layer, num_layers = backbone.get_layer_depth(name, 'backbone.')
        depths[name] = num_layers - 1 - layer
    surplus = min((depth for name, depth in depths.items() if is_in_block(name)), default=0)
    return {name: max(0, depth - surplus) for name, depth in depths.items()}


def is_in_block(name: str) -> bool:
    """Whether a parameter belongs to a numbered module, such as ``layers.3``: a block or a stage."""
    return any(part.isdigit() for part in name.split('.'))


def is_final_norm(name: str, param: Tensor, depth: int) -> bool:
    """Whether a parameter of the backbone belongs to the LayerNorm after the last block."""
    return depth == 0 and param.ndim == 1 and not is_in_block(name) and not name.startswith(POOLED_NORMS)
