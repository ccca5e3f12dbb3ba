"""Parameters, gradients, optimizer state and average shared out over all processes, for models that one GPU cannot hold."""
import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from nepa_mm.errors import ConfigError
from nepa_mm.registry import MODEL_WRAPPERS

from .data_parallel import without_sync_bn
from .gloo_exchange import exchange_in_place
from .pieces import load_in_pieces

try:
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
except ImportError:  # before torch 2.6, which `shard` refuses
    FSDPModule = MixedPrecisionPolicy = fully_shard = None


@MODEL_WRAPPERS.register_module()
class FullyShardedDataParallel(nn.Module):
    """PyTorch's FSDP2 (``fully_shard``) for a whole training under :class:`ReliableRunner`.

    Parameters become DTensors that keep their names and shapes: what decays, freezes or averages by these works as without.
    mmengine's ``MMFullyShardedDataParallel`` is FSDP1, whose flat pieces do not. The runner calls :meth:`shard` once the
    parameters have their beginning; before, and in a test, the model is whole. ``module`` is the model, in a validation a
    copy of whole float32 parameters: each process validates at its own pace, by whatever method of the model.

    Args:
        module: The model.
        blocks: Class names of modules that are gathered one after another; what they leave is gathered for the whole step.
        reshard_after_forward: Gather each block again for the backward pass; False keeps it, so that gradients, optimizer
            state and average alone are shared out, for half of the gathering.
        replicas: Groups of processes that each hold all of the model among them, such as one for each machine: gradients are
            then exchanged between groups alone (HSDP).
        param_dtype: What parameters are gathered in, 'bfloat16' for half of the traffic, with autocast to the same
            (``nepa_mm.Bf16OptimWrapper``); those of the optimizer and reductions stay float32. None gathers float32 as well.

    Raises:
        ConfigError: When it is shared out: if the model has no module of such a class, or the processes make no such groups.
    """

    def __init__(self, module: nn.Module, blocks: Sequence[str] = ('Block', ), reshard_after_forward: bool = True,
                 replicas: int = 1, param_dtype: str | None = None) -> None:
        super().__init__()
        self.module = module
        self.blocks, self.reshard_after_forward, self.replicas = tuple(blocks), reshard_after_forward, replicas
        self.param_dtype = None if param_dtype is None else getattr(torch, param_dtype)
        self.syncs = True
        self.pieces = ()  # the model, once it is shared out; not as an attribute, which would be a second submodule

    @property
    def is_sharded(self) -> bool:
        """Whether the parameters are shared out."""
        return bool(self.pieces)

    def shard(self, timeout: timedelta | None = None) -> None:
        """Keep this process's pieces of the parameters, which must be the same in all processes.

        Args:
            timeout: After which groups of processes give up one that hangs, if all of them are not one group; torch's by default.
        """
        if fully_shard is None:
            raise ConfigError(f'FSDP2 needs torch 2.6 or later, this is {torch.__version__}', 'model_wrapper_cfg.type',
                              'use an environment with the versions of constraints.txt')
        device = torch.device(get_device()).type
        if device == 'cpu':
            self.module = without_sync_bn(self.module)
        blocks = [module for module in self.module.modules() if type(module).__name__ in self.blocks]
        if not blocks:
            raise ConfigError(f'{list(self.blocks)} names no module of the model', 'model_wrapper_cfg.blocks',
                              'give classes of its blocks')
        settings = dict(mesh=self.mesh(device, timeout))
        if self.param_dtype is not None:
            settings['mp_policy'] = MixedPrecisionPolicy(self.param_dtype, torch.float32, cast_forward_inputs=False)
        for block in reversed(blocks):  # those within others first
            fully_shard(block, reshard_after_forward=self.reshard_after_forward, **settings)
        fully_shard(self.module, reshard_after_forward=False, **settings)
        if device == 'cpu':
            exchange_in_place((self.module, *blocks))
        for part in (self.module, *blocks):
            type(part).__deepcopy__ = copy_without_fsdp
        load_in_pieces(self.module)
        self.pieces = (self.module, )

    def mesh(self, device: str, timeout: timedelta | None) -> DeviceMesh:
        """All processes, or rows of those that hold a model together."""
        processes = dist.get_world_size()
        if not isinstance(self.replicas, int) or self.replicas < 1 or processes % self.replicas:
            raise ConfigError(f'{self.replicas!r} groups cannot be made of {processes} processes', 'model_wrapper_cfg.replicas',
                              'give a divisor, such as the number of machines')
        if self.replicas == 1:
            return init_device_mesh(device, (processes, ))
        ranks = torch.arange(processes).view(self.replicas, -1)  # init_device_mesh would make these groups without the timeout
        groups = [dist.new_subgroups_by_enumeration(each.tolist(), timeout=timeout)[0] for each in (ranks.T, ranks)]
        return DeviceMesh.from_group(groups, device, ranks, mesh_dim_names=('replicas', 'pieces'))

    # Training: what mmengine's loops and optimizer wrappers call

    train_step, detect_anomalous_params = MMDistributedDataParallel.train_step, False
    val_step, test_step = MMDistributedDataParallel.val_step, MMDistributedDataParallel.test_step

    def _run_forward(self, data: dict | tuple | list, mode: str):
        if not self.is_sharded:
            raise ConfigError(f'{type(self).__name__} needs a runner that shares the model out', 'runner_type',
                              "set 'nepa_mm.ReliableRunner'")
        self.release()
        self.module.set_requires_gradient_sync(self.syncs)
        return MMDistributedDataParallel._run_forward(self, data, mode)

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """As of DDP: gradients of a pass that begins here are added up in each process, whole, and not exchanged."""
        self.syncs = False
        try:
            yield
        finally:
            self.syncs = True

    # Whole parameters

    def gather(self) -> None:
        """Let a copy with whole parameters be the ``module`` until :meth:`release`; all processes must call it."""
        if self.module in self.pieces:
            with torch.no_grad():
                parameters = {id(value): nn.Parameter(value.full_tensor(), False) for value in self.module.parameters()}
            self.module = copy.deepcopy(self.module, parameters)

    def release(self) -> None:
        """Let the model in pieces be the ``module`` again."""
        self.module, = self.pieces or (self.module, )


@contextmanager
def whole_model(model: nn.Module) -> Iterator[None]:
    """Let the model in a wrapper have whole parameters to read; where they are shared out, all processes must come here."""
    if not isinstance(model, FullyShardedDataParallel):
        yield
        return
    model.gather()
    try:
        yield
    finally:
        model.release()


def copy_without_fsdp(module: nn.Module, memo: dict) -> nn.Module:
    """What ``deepcopy`` makes of a module that FSDP2 has changed, for which PyTorch has nothing: one of its own class again.

    Its parameters are pieces as well, unless ``memo`` has others in their place.
    """
    state = fully_shard.state(module)
    kept = {}
    for name, value in module.__dict__.items():
        if name in ('_forward_hooks', '_forward_pre_hooks'):
            value = type(value)((key, hook) for key, hook in value.items() if getattr(hook, '__self__', None) is not state)
        if not name.startswith('__composable_api'):
            kept[name] = value
    copied = object.__new__(type(module).__mro__[type(module).__mro__.index(FSDPModule) + 1])
    memo[id(module)] = copied
    copied.__dict__.update(copy.deepcopy(kept, memo))
    return copied
