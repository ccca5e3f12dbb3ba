"""Stop a training whose loss or gradient is no number, before the weights are touched."""
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from nepa_mm.engine.parallel.pieces import gradient_norms, local
from nepa_mm.errors import ConfigError, DivergedError
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.registry import HOOKS

SHOWN = 8  # images in a message; more are in a file
DIVERGED = 'nepa_mm_diverged'  # in the meta of a checkpoint: what a step was that was not taken


def watch_losses(model: torch.nn.Module) -> list[dict[str, Tensor]]:
    """Where the losses of a model's coming batches will be, by their names, until they are taken away."""
    parse, seen = model.parse_losses, []

    def parse_and_keep(losses: dict) -> tuple[Tensor, dict]:
        loss, logged = parse(losses)
        seen.append({name: value.detach() for name, value in {**logged, 'loss': loss}.items() if 'loss' in name})
        return loss, logged

    model.parse_losses = parse_and_keep
    return seen


@HOOKS.register_module()
class StopOnDivergenceHook(Hook):
    """Check losses and gradient norm before each update; if one is NaN or infinite, or the norm too large, stop.

    The processes agree by one number, so that all stop at the same step. On a GPU nobody waits for that number: a fused optimizer
    leaves the weights alone where it says so (its ``found_inf``, which is there for scaled float16), and the number is read two
    steps later, when the average and the schedules may be two steps further. Without ``fused=True`` it is read in each step. The
    gradients of float16 with a loss scale are not judged, since the scale does so.

    Args:
        max_grad_norm: Stop also above this norm of the gradient before clipping; None for no limit.

    Raises:
        DivergedError: With the step, the loss or parameter, and the images. The weights of the step before are saved as
            ``diverged_iter_N.pth``, which ``--resume`` does not take, with the losses of each process, for
            ``tools/analysis_tools/replay_step.py``.
    """
    LATE = 2  # steps until a number of a GPU is read

    def __init__(self, max_grad_norm: float | None = None) -> None:
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ConfigError(f'{max_grad_norm!r} is no norm', 'max_grad_norm', 'give a positive number or None')
        self.max_grad_norm = max_grad_norm

    def before_train(self, runner: Runner) -> None:
        self.runner, self.waiting, self.bad = runner, [], None
        self.optim_wrapper = runner.optim_wrapper
        if not isinstance(self.optim_wrapper, OptimWrapper):
            runner.logger.warning(f'{type(self).__name__} does not know {type(self.optim_wrapper).__name__}: nothing stops a '
                                  'training that diverges')
            return
        self.names = {id(parameter): name for name, parameter in unwrapped(runner.model).named_parameters()}
        self.judges_gradients = not hasattr(self.optim_wrapper, 'loss_scaler')
        self.losses = watch_losses(unwrapped(runner.model))
        if self.judges_gradients and self.optim_wrapper.clip_grad_kwargs and (
                self.optim_wrapper.clip_func is torch.nn.utils.clip_grad_norm_):
            self.optim_wrapper.clip_func = self.check_and_clip  # it needs the norm as well
        else:
            step = self.optim_wrapper.step  # not the optimizer's: a loss scale leaves that out where it finds a NaN

            def check_and_step(**kwargs) -> None:
                parameters = (each for group in self.optim_wrapper.optimizer.param_groups for each in group['params'])
                self.check(*self.norms_of([parameter for parameter in parameters if parameter.grad is not None]))
                step(**kwargs)

            self.optim_wrapper.step = check_and_step

    def norms_of(self, parameters: list[torch.nn.Parameter], norm_type: float = 2.) -> tuple[list, list[Tensor], Tensor]:
        """Norm of each gradient and of all, as ``clip_grad_norm_`` computes it; of what is shared out over all processes."""
        norms = gradient_norms(parameters, norm_type)
        return parameters, norms, torch.linalg.vector_norm(torch.stack(norms), norm_type)

    def check_and_clip(self, parameters: list[torch.nn.Parameter], max_norm: float, norm_type: float = 2.,
                       error_if_nonfinite: bool = True, foreach: bool | None = None) -> Tensor:
        """``clip_grad_norm_``, with a look at the norm on the way, which settles its last two arguments."""
        parameters, norms, norm = self.norms_of(parameters, float(norm_type))
        self.check(parameters, norms, norm)
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.)
        torch._foreach_mul_([local(parameter.grad) for parameter in parameters], scale)
        return norm

    def check(self, parameters: list[torch.nn.Parameter], norms: list[Tensor], norm: Tensor) -> None:
        """Look at the losses and the norm of a step that is about to update the weights."""
        losses = self.losses.copy()
        self.losses.clear()
        judged = [each['loss'].isfinite() for each in losses]
        if self.judges_gradients:
            judged.append(norm.isfinite() if self.max_grad_norm is None else norm <= self.max_grad_norm)
        bad = (~torch.stack(judged).all()).float()
        if dist.is_initialized():
            dist.all_reduce(bad, dist.ReduceOp.MAX)
        facts = (self.runner.iter + 1, losses, parameters, norms, norm)
        if self.reads_late(bad):
            optimizer = self.optim_wrapper.optimizer
            self.bad = bad if self.bad is None else torch.maximum(self.bad, bad)  # once bad, no step counts any more
            optimizer.found_inf, optimizer.grad_scale = self.bad, None
            self.waiting.append((self.bad.to('cpu', non_blocking=True), torch.cuda.Event(), facts))
            self.waiting[-1][1].record()
            if len(self.waiting) > self.LATE:
                self.read_oldest()
        elif bad.item():
            self.stop(*facts)

    def reads_late(self, bad: Tensor) -> bool:
        """Whether the optimizer itself leaves the weights alone, without anybody's waiting for the number."""
        return bad.is_cuda and self.judges_gradients and bool(self.optim_wrapper.optimizer.defaults.get('fused'))

    def read_oldest(self) -> None:
        """Read what was found some steps ago."""
        bad, event, facts = self.waiting.pop(0)
        event.synchronize()
        if bad.item():
            self.stop(*facts)

    def read_all(self, *args, **kwargs) -> None:
        """Read what is left before the weights are saved or validated; :meth:`stop`, which saves as well, leaves nothing."""
        while self.waiting:
            self.read_oldest()

    after_train_epoch = before_save_checkpoint = read_all

    def stop(self, step: int, losses: list[dict], parameters: list, norms: list[Tensor], norm: Tensor) -> None:
        """Say what is wrong, save the weights of the step before, and leave."""
        numbers = [{name: float(value) for name, value in each.items()} for each in losses]
        found = [(self.what(losses, parameters, norms, norm), self.images(step, len(losses)), numbers)]
        if dist.is_initialized():
            found *= dist.get_world_size()
            dist.all_gather_object(found, found[0])
        ranks = [rank for rank, each in enumerate(found) if each[0].startswith('loss')]  # whose gradient all processes share
        ranks = ranks or [rank for rank, each in enumerate(found) if each[0]]
        rank, (what, images, _) = ranks[0], found[ranks[0]]
        self.waiting.clear()
        runner, name = self.runner, f'diverged_iter_{step - 1}'
        record = dict(first=self.steps(step, len(losses))[0], what=what, ranks=ranks, losses=[each[2] for each in found])
        if hasattr(runner, 'place_before'):
            runner.place = runner.place_before(step)
        runner.save_checkpoint(runner.work_dir, f'{name}.pth', by_epoch=False,
                               meta={'epoch': runner.epoch, 'iter': step - 1, DIVERGED: record})
        said = ', '.join(images[:SHOWN]) or 'not known to this runner'
        if len(images) > SHOWN:
            if is_main_process():
                Path(runner.work_dir, f'{name}.txt').write_text('\n'.join(images), errors='surrogateescape')
            said += f' and {len(images) - SHOWN} more in {runner.work_dir}/{name}.txt'
        of = f' in process {rank}' if len(found) > 1 else ''
        raise DivergedError(
            f'step {step} was not taken: {what}{of}', f'images {said}',
            f'the weights before it are {runner.work_dir}/{name}.pth; look at the images, lower optim_wrapper.optimizer.lr or '
            'clip more, and --resume --allow-resume-change')

    def what(self, losses: list[dict], parameters: list, norms: list[Tensor], norm: Tensor) -> str:
        """The first loss or parameter of this process that is wrong; empty if none is."""
        for each in losses:
            for name, value in each.items():
                if not torch.as_tensor(value).isfinite().all():
                    return f'loss {name!r} is {float(value)}'
        if not self.judges_gradients:
            return ''
        names = [self.names.get(id(parameter), '?') for parameter in parameters]
        for name, value in zip(names, torch.stack(norms).tolist()):
            if not abs(value) < float('inf'):
                return f'the gradient of {name} is {value} in norm'
        if self.max_grad_norm is None:
            return '' if norm.isfinite() else f'the gradient norm is {float(norm)}'  # of parts that are finite each
        if norm <= self.max_grad_norm:
            return ''
        return f'the gradient norm is {float(norm):.4g}, above max_grad_norm={self.max_grad_norm}'

    def steps(self, step: int, batches: int) -> range:
        """The runner's steps that an update is made of: mmengine's loops accumulate several, each of a batch."""
        return range(step - max(batches // getattr(self.runner.train_loop, 'count', 1), 1) + 1, step + 1)

    def images(self, step: int, batches: int) -> list[str]:
        """The images of this process's part of an update; none if the runner does not know them."""
        if not hasattr(self.runner, 'images_of'):
            return []
        return [image for each in self.steps(step, batches) for image in self.runner.images_of(each)]
