"""Where in a model a NaN or an infinity appears first, in the forward or in the backward pass."""
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

SELF = 'the model itself'  # the path of the outermost module
BATCH = 'the batch'  # in place of a path


@dataclass
class BadNumber:
    """The first number of a step that is NaN or infinite: in which of its batches, module and pass, and what is known of it."""
    batch: int
    module: str
    direction: str
    detail: str


class NumberWatch:
    """Look at what each module of a model takes and gives, and at the gradients that come back; computes nothing itself.

    Forward, a module's parts are done before the module, so that the first bad output is that of the innermost one; an input that
    is bad while no output was means that the module around has made it. Backward, gradients pass from the outputs of later
    modules to those of earlier ones: the first bad one was made by the module whose gradient was the last good one.
    """

    def __init__(self, model: nn.Module, optim_wrapper: OptimWrapper) -> None:
        self.batch = 0
        self.forward: BadNumber | None = None
        self.backward: BadNumber | None = None
        self.outputs: dict[str, float] = {}  # the largest of each module's outputs
        self.gradients: dict[str, float] = {}  # and of each parameter's gradients
        self.last_good = SELF
        for path, module in model.named_modules():
            module.register_forward_pre_hook(partial(self.takes, path or SELF), with_kwargs=True)
            module.register_forward_hook(partial(self.gives, path or SELF))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(partial(self.reaches_parameter, name))
        backward = optim_wrapper.backward

        def count_batches(*args, **kwargs) -> None:
            backward(*args, **kwargs)
            self.batch += 1

        optim_wrapper.backward = count_batches

    def takes(self, path: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.forward is None:
            for value in floats_in((args, kwargs)):
                if not value.isfinite().all():
                    around = BATCH if path in (SELF, 'data_preprocessor') else path.rpartition('.')[0] or SELF
                    self.forward = BadNumber(self.batch, around, 'forward', f'{counted(value)} in the input of {path}')
                    return

    def gives(self, path: str, module: nn.Module, args: tuple, output) -> None:
        for value in floats_in(output):
            largest = value.detach().abs().max().item() if value.numel() else 0.
            self.outputs[path] = max(largest, self.outputs.get(path, 0.))
            if self.forward is None and not value.isfinite().all():
                bad = [name for name, weight in module.named_parameters(recurse=False) if not weight.isfinite().all()]
                weights = f'; not finite in it: {", ".join(bad)}' if bad else ''
                self.forward = BadNumber(
                    self.batch, path, 'forward', f'{counted(value)} in the output of {type(module).__name__}{weights}')
            if value.requires_grad and not hasattr(value, 'nepa_mm_watched'):  # whoever hands it on has not made it
                value.nepa_mm_watched = True
                value.register_hook(partial(self.reaches_output, path))

    def reaches_output(self, path: str, gradient: Tensor) -> None:
        if self.backward is not None:
            return
        if gradient.isfinite().all():
            self.last_good = path
        else:
            self.backward = BadNumber(
                self.batch, self.last_good, 'backward', f'{counted(gradient)} in the gradient that reaches the output of {path}')

    def reaches_parameter(self, name: str, parameter: nn.Parameter) -> None:
        gradient = parameter.grad
        self.gradients[name] = gradient.abs().max().item()
        if self.backward is None and not gradient.isfinite().all():
            self.backward = BadNumber(
                self.batch, name.rpartition('.')[0] or SELF, 'backward', f'{counted(gradient)} in the gradient of {name}')


def floats_in(values) -> Iterator[Tensor]:
    """The tensors of floating-point numbers in nested lists and dicts."""
    return (value for value in tree_leaves(values) if isinstance(value, Tensor) and value.is_floating_point())


def counted(value: Tensor) -> str:
    """How many numbers are not finite, in words."""
    nan, infinite = int(value.isnan().sum()), int(value.isinf().sum())
    words = [f'{count} {word}' for count, word in ((nan, 'NaN'), (infinite, 'infinite')) if count]
    return f'{" and ".join(words)} of {value.numel()} numbers'
