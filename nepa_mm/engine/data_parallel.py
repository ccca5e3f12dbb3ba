"""Distributed training."""
import logging
from contextlib import AbstractContextManager, nullcontext

from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn

from ..registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class StaticDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper for a model whose every step uses the same parameters; gradients lie where they are reduced.

    torch's static graph fails where the first backward pass reduces no gradients, as when they are accumulated. Here it does;
    the mean of means is the same, and all later passes but the last of a step leave it out.

    Args:
        module: The model.
        **kwargs: Of mmengine's wrapper and torch's. With ``find_unused_parameters=True`` the graph is not static.
    """

    def __init__(self, module: nn.Module, **kwargs) -> None:
        static = not kwargs.get('find_unused_parameters', False)
        super().__init__(
            module, **{'static_graph': static, 'gradient_as_bucket_view': True, 'broadcast_buffers': False, **kwargs})
        self.first_pass = self.static_graph

    def no_sync(self) -> AbstractContextManager:
        """Leave gradients as they are on this process, but for the first pass over a static graph."""
        if self.first_pass:
            self.first_pass = False
            return nullcontext()
        return super().no_sync()


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(StaticDistributedDataParallel):
    """The same for a model on the CPU: no GPU to name, and BN for SyncBN, which works on GPUs alone."""

    def __init__(self, module: nn.Module, device_ids: list | None = None, **kwargs) -> None:
        if any(isinstance(part, nn.SyncBatchNorm) for part in module.modules()):
            print_log('SyncBN needs GPUs; on CPU each process normalises by its share of the batch', 'current', logging.WARNING)
            module = revert_sync_batchnorm(module)
        super().__init__(module, device_ids=None, **kwargs)
