"""Distributed training."""
import logging
from contextlib import AbstractContextManager, nullcontext

from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import Tensor, nn

from nepa_mm.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class StaticDistributedDataParallel(MMDistributedDataParallel):
    """mmengine's wrapper for a model whose every step uses the same parameters; gradients lie where they are reduced.

    torch's static graph fails where the first backward pass reduces no gradients, as when they are accumulated. Here it does,
    and the process's own gradients take the place of the reduced ones: the mean of means is the same but for the last bits, by
    which a resumed training would differ. All later passes but the last of a step leave it out. Arguments are those of mmengine's
    wrapper and torch's; with ``find_unused_parameters=True`` the graph is not static.
    """

    def __init__(self, module: nn.Module, **kwargs) -> None:
        static = not kwargs.get('find_unused_parameters', False)
        super().__init__(
            module, **{'static_graph': static, 'gradient_as_bucket_view': True, 'broadcast_buffers': False, **kwargs})
        self.first_pass, self.own_gradients, self.handles = self.static_graph, {}, []

    def keep_own_gradients(self) -> None:
        """Keep the gradients of the coming pass as they are before they are reduced."""
        def keep(parameter: Tensor) -> None:
            self.own_gradients[parameter] = parameter.grad.clone()

        self.handles = [parameter.register_post_accumulate_grad_hook(keep)
                        for parameter in self.module.parameters() if parameter.requires_grad]

    def forward(self, *args, **kwargs):
        """As torch's, after the gradients that were kept have taken their places."""
        if self.own_gradients:
            for parameter, gradient in self.own_gradients.items():
                parameter.grad.copy_(gradient)
            self.own_gradients.clear()
            for handle in self.handles:
                handle.remove()
        return super().forward(*args, **kwargs)

    def no_sync(self) -> AbstractContextManager:
        """Leave gradients as they are on this process, but for the first pass over a static graph."""
        if self.first_pass:
            self.first_pass = False
            self.keep_own_gradients()
            return nullcontext()
        return super().no_sync()


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(StaticDistributedDataParallel):
    """The same for a model on the CPU: no GPU to name, and BN for SyncBN, which works on GPUs alone."""

    def __init__(self, module: nn.Module, device_ids: list | None = None, **kwargs) -> None:
        super().__init__(without_sync_bn(module), device_ids=None, **kwargs)


def without_sync_bn(module: nn.Module) -> nn.Module:
    """A model for the CPU, with BN for SyncBN."""
    if not any(isinstance(part, nn.SyncBatchNorm) for part in module.modules()):
        return module
    print_log('SyncBN needs GPUs; on CPU each process normalises by its share of the batch', 'current', logging.WARNING)
    return revert_sync_batchnorm(module)
