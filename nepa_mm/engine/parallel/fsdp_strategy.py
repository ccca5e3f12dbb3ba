"""Parameters, gradients and optimizer state shared out over all processes, for models that one GPU cannot hold."""
import copy
import os
from collections.abc import Sequence

import torch
from mmengine._strategy import FSDPStrategy as MMEngineStrategy
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODEL_WRAPPERS, MODELS
from torch import nn
from torch.distributed.fsdp import FullOptimStateDictConfig, FullStateDictConfig
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

from nepa_mm.errors import ConfigError
from nepa_mm.registry import STRATEGIES

PREFIX = '_fsdp_wrapped_module.'


@STRATEGIES.register_module()
class FSDPStrategy(MMEngineStrategy):
    """mmengine's ``FSDPStrategy`` with the groups and the clipping of a training that shares nothing out, and on CPUs as well.

    A shard is a flat piece of a parameter. From it mmengine's strategy would build the optimizer's groups, where no weight decays
    any more that decays by its shape, and would clip the gradient by the norm of each process's own piece.

    Args:
        blocks: Class names of modules that are gathered one after another; what they leave is gathered for the whole step.
        model_wrapper: Of mmengine's; sharding strategy and the like.
        state_dict_cfg: Likewise; 'full', unlike there, writes one checkpoint that any other training can read.
        **kwargs: Of mmengine's strategy.

    Raises:
        ConfigError: If the model has no module of such a class.
    """

    def __init__(self, *, blocks: Sequence[str] = ('Block', ), model_wrapper: dict | None = None,
                 state_dict_cfg: str | dict = 'full', **kwargs) -> None:
        model_wrapper = {'type': 'MMFullyShardedDataParallel', **(model_wrapper or {})}
        super().__init__(model_wrapper=model_wrapper, state_dict_cfg=state_dict_cfg, **kwargs)
        self.blocks = tuple(blocks)
        if not torch.cuda.is_available() and self._is_full_state_dict():
            # Moved to the CPU, from the CPU, gathered parameters would be freed before they are read.
            self.state_dict_config = FullStateDictConfig(offload_to_cpu=False)
            self.optim_state_dict_config = FullOptimStateDictConfig(offload_to_cpu=False)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, and one of the same shapes without memory, for the optimizer's groups."""
        if isinstance(model, dict):
            with torch.device('meta'):
                self.whole = without_memory(MODELS.build(copy.deepcopy(model)))
        return super().build_model(model)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        """Share out each block, and then the rest."""
        kinds = {type(module) for module in model.modules() if type(module).__name__ in self.blocks}
        if not kinds:
            raise ConfigError(f'{list(self.blocks)} names no module of the model', 'strategy.blocks',
                              'give classes of its blocks')
        on_gpu = torch.cuda.is_available()
        device = torch.device('cuda', int(os.environ['LOCAL_RANK'])) if on_gpu else torch.device('cpu')
        for module in model.modules():
            if isinstance(module, BaseDataPreprocessor):
                module.to(device)
        wrapped = MODEL_WRAPPERS.build(dict(
            self.model_wrapper, module=model, device_id=device,
            auto_wrap_policy=lambda module, recurse, nonwrapped_numel: recurse or type(module) in kinds))
        wrapped.set_state_dict_type(wrapped, self.state_dict_type, self.state_dict_config, self.optim_state_dict_config)
        return wrapped

    def build_optim_wrapper(self, optim_wrapper: dict, model: nn.Module) -> OptimWrapper:
        """The optimizer of the whole parameters, over their shards."""
        built = build_optim_wrapper(self.whole, optim_wrapper)
        names = {id(value): name for name, value in self.whole.named_parameters()}
        shards = {name.replace(PREFIX, ''): value for name, value in model.named_parameters()}
        for group in built.optimizer.param_groups:
            group['params'] = [shards[names[id(value)]] for value in group['params']]
        if optim_wrapper.get('clip_grad'):
            built.clip_func = lambda params, **settings: model.clip_grad_norm_(**settings)
        return built

    def optim_state_dict(self) -> dict:
        """The optimizer's state by names of parameters, gathered as ``state_dict_cfg`` says."""
        return FSDP.optim_state_dict(self.model, self.optim_wrapper.optimizer)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Take it back; mmengine calls PyTorch with the order of arguments that it had before version 2.1."""
        optimizer = self.optim_wrapper.optimizer
        optimizer.load_state_dict(FSDP.optim_state_dict_to_load(self.model, optimizer, state_dict))


def without_memory(model: nn.Module) -> nn.Module:
    """Give a model on the meta device parameters of the CPU that keep their shapes and hold one number."""
    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.zeros(()).expand(value.shape), value.requires_grad))
    return model
