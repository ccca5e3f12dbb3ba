"""Distributed training on CPU processes."""
import logging

from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn

from ..registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper for a model on the CPU: no GPU to name, and BN for SyncBN, which works on GPUs alone."""

    def __init__(self, module: nn.Module, device_ids: list | None = None, **kwargs) -> None:
        if any(isinstance(part, nn.SyncBatchNorm) for part in module.modules()):
            print_log('SyncBN needs GPUs; on CPU each process normalises by its share of the batch', 'current', logging.WARNING)
            module = revert_sync_batchnorm(module)
        super().__init__(module, device_ids=None, broadcast_buffers=False, **kwargs)
