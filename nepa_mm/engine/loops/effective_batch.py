"""The batch that a recipe states, whatever the number of GPUs: by accumulation, or else by a scaled learning rate.

A config says ``auto_scale_lr = dict(base_batch_size=4096)``, the batch that its learning rate is stated for, and trains in one of
the two loops here. Their iteration is one optimizer step, so schedules, EMA, logging and checkpoints count steps; mmengine's
loops count batches of the loader, and its ``--auto-scale-lr`` ignores accumulation and scales the rate of every group.
"""
from collections.abc import Iterator
from itertools import islice

from mmengine.dataset import InfiniteSampler
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import Tensor

from nepa_mm.errors import ConfigError
from nepa_mm.registry import LOOPS


class StepLoader:
    """A loader whose items are the ``count`` batches of one optimizer step.

    Batches that are left at the end of an epoch are a smaller step. If the loader drops what is incomplete, they are left out as
    well, unless ``take_rest`` says that whole batches are to be taken.
    """

    def __init__(self, loader, count: int, take_rest: bool = False) -> None:
        self.loader, self.count, self.takes_rest = loader, count, take_rest or not loader.drop_last

    def __len__(self) -> int:
        return -(-len(self.loader) // self.count) if self.takes_rest else len(self.loader) // self.count

    def __iter__(self) -> Iterator[list]:
        batches = iter(self.loader)
        while batch := list(islice(batches, self.count)):  # a resumed epoch has fewer
            if len(batch) == self.count or self.takes_rest:
                yield batch

    def __getattr__(self, name: str):  # dataset, sampler, batch_size, ...
        if name == 'loader':  # not there yet, as in a copy being made
            raise AttributeError(name)
        return getattr(self.loader, name)


class StepIterator:
    """The same for mmengine's infinite iterator."""

    def __init__(self, iterator, count: int) -> None:
        self.iterator, self.count = iterator, count

    def __next__(self) -> list:
        return list(islice(self.iterator, self.count))

    def skip_iter(self, steps: int) -> None:
        self.iterator.skip_iter(steps * self.count)


class WeightedOptimWrapper:
    """An optimizer wrapper for one batch of a step, whose loss counts by a weight."""

    def __init__(self, optim_wrapper: OptimWrapper, weight: float) -> None:
        self.optim_wrapper, self.weight = optim_wrapper, weight

    def update_params(self, loss: Tensor, **kwargs) -> None:
        """As the wrapper does, for the weighted loss."""
        self.optim_wrapper.update_params(loss * self.weight, **kwargs)

    def __getattr__(self, name: str):  # optim_context, ...
        return getattr(self.optim_wrapper, name)


class StepMixin:
    """What both loops do: find the number of batches in a step, announce the recipe, take steps."""

    def settle_batch(self, runner: Runner, batch_size: int) -> None:
        """Find how many batches a step accumulates, and the learning rate; write both into the runner's ``optim_wrapper``.

        Raises:
            ConfigError: If the effective batch cannot be reached.
        """
        if batch_size is None:
            raise ConfigError('its batches have no size that the effective batch could be counted by',
                              'train_dataloader.batch_sampler', "leave it out, or choose a loop of mmengine's")
        optimizer = self.stated_optimizer(runner)
        stated = runner.auto_scale_lr or {}
        base, at_once = stated.get('base_batch_size'), runner.world_size * batch_size
        if base is not None and not (isinstance(base, int) and base > 0):
            raise ConfigError(f'{base!r} is no number of images', 'auto_scale_lr.base_batch_size',
                              'give the batch that lr is for')
        self.stated_count = self.count = runner.optim_wrapper.get('accumulative_counts', 1)
        self.lr_factor = 1.
        if stated.get('enable'):
            if base is None:
                raise ConfigError('--auto-scale-lr needs the batch that the learning rate is for',
                                  'auto_scale_lr.base_batch_size', 'set it')
            self.lr_factor = at_once * self.count / base
        elif base is not None:
            self.count = accumulation(base, runner.world_size, batch_size)
        self.effective_batch, images = at_once * self.count, len(self.dataloader.dataset)
        self.batch_text = (f'{self.effective_batch} = {count_of(runner.world_size)} x {batch_size} images x {self.count} '
                           'accumulated')
        if self.effective_batch > images and self.count > 1:
            raise ConfigError(f'the effective batch {self.batch_text} is larger than an epoch of {images} images',
                              'auto_scale_lr.base_batch_size',
                              'lower it and the learning rate with it, or scale the rate: --auto-scale-lr')
        optimizer['lr'] *= self.lr_factor
        runner.optim_wrapper = {**runner.optim_wrapper, 'optimizer': optimizer, 'accumulative_counts': self.count}
        runner.auto_scale_lr = None  # done; the runner would do it in its own way

    def stated_optimizer(self, runner: Runner) -> dict:
        """A copy of the optimizer's config, which must be there and have a rate."""
        optim_wrapper = runner.optim_wrapper
        if not isinstance(optim_wrapper, dict) or 'optimizer' not in optim_wrapper:
            raise ConfigError(f'it is no config of one optimizer, of which {type(self).__name__} sets lr and accumulative_counts',
                              'optim_wrapper', 'give one')
        lr = optim_wrapper['optimizer'].get('lr')
        if not isinstance(lr, (int, float)):
            raise ConfigError(f'{lr!r} is no number', 'optim_wrapper.optimizer.lr',
                              'give the rate for auto_scale_lr.base_batch_size')
        return dict(optim_wrapper['optimizer'])

    def refuse_empty(self) -> None:
        """Raise ConfigError for a loader that drops all that it has."""
        if not len(self.dataloader) and not is_infinite(self.dataloader):
            raise ConfigError(f'{len(self.dataloader.dataset)} images make no full batch of {self.batch_text}',
                              'train_dataloader', 'lower train_dataloader.batch_size or set drop_last=False')

    def announce(self) -> None:
        """Log the effective batch, the rate and the lengths in iterations.

        Raises:
            ConfigError: If the warm-up is longer than training.
        """
        runner, epoch = self.runner, len(self.dataloader)
        schedulers = [scheduler for scheduler in runner.param_schedulers or [] if scheduler.param_name == 'lr']
        warmup = warmup_iters(schedulers, epoch)
        if warmup > self.max_iters:
            keys = warmup_keys(runner.cfg.get('param_scheduler'))
            raise ConfigError(f'a warm-up of {warmup} iterations is longer than training, {self.max_iters} iterations', keys,
                              'shorten it, or train longer (train_cfg.max_epochs or max_iters)')
        end = max((scheduler.end * (epoch if scheduler.by_epoch else 1) for scheduler in schedulers), default=self.max_iters)
        if end != self.max_iters and end < 10**9:  # mmengine's end where none is given
            runner.logger.warning(f'The learning rate is scheduled for {end} iterations, but training takes {self.max_iters}: '
                                  'param_scheduler.end and train_cfg differ')
        if self.count != self.stated_count:
            runner.logger.info(f'optim_wrapper.accumulative_counts={self.stated_count} becomes {self.count}, which keeps '
                               'auto_scale_lr.base_batch_size')
        scaled = '' if self.lr_factor == 1 else f' (as stated x {self.lr_factor:g})'
        wrapper = runner.optim_wrapper  # after a resume with the rate of the checkpoint, or of a change
        settings = getattr(wrapper, 'base_param_settings', None) or wrapper.optimizer.param_groups[0]
        runner.logger.info(f'Effective batch {self.batch_text}; lr {settings.get("initial_lr", settings["lr"]):g}{scaled}; '
                           f'{self.max_iters} iterations, {warmup} of them warm-up{self.epoch_text()}')

    def epoch_text(self) -> str:
        """What to say about an epoch."""
        return ''

    def run(self):
        self.announce()
        self.expect(-1)
        return super().run()

    def expect(self, batches: int) -> None:
        """Tell the optimizer wrapper how many batches are left until it must step; -1 for the usual number."""
        self.runner.optim_wrapper.initialize_count_status(self.runner.model, 0, batches)

    def take_step(self, batch_idx: int, batches: list) -> None:
        """One optimizer step over the batches of a step; hooks are called once and see the last batch."""
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=batches[-1])
        if len(batches) < self.count:
            self.expect(len(batches))
        sizes = [images_in(batch) for batch in batches] if len(batches) > 1 else [1]  # the last may not be full
        outputs, weights = [], [size * len(sizes) / sum(sizes) for size in sizes]
        for batch, weight in zip(batches, weights):
            optim_wrapper = runner.optim_wrapper if weight == 1 else WeightedOptimWrapper(runner.optim_wrapper, weight)
            outputs.append(runner.model.train_step(batch, optim_wrapper=optim_wrapper))
        if len(batches) < self.count:
            self.expect(-1)
        if len(outputs) > 1:
            outputs = [{name: sum(output[name] * weight for output, weight in zip(outputs, weights)) / len(outputs)
                        for name in outputs[-1]}]
        runner.call_hook('after_train_iter', batch_idx=batch_idx, data_batch=batches[-1], outputs=outputs[0])
        self._iter += 1


@LOOPS.register_module()
class AccumulatingEpochLoop(StepMixin, EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop`` with an optimizer step for an iteration.

    With ``auto_scale_lr.enable=False`` as many batches are accumulated as make ``base_batch_size`` with this number of processes;
    with ``--auto-scale-lr`` the batch is what it is, and ``optimizer.lr`` (not ``paramwise_cfg.head_lr``) is scaled linearly.

    Args:
        max_epochs: Epochs to train.
        take_rest: Take a smaller step, of the right mean, over the whole batches that are left at the end of an epoch, as the
            release's trainer does; by default ``drop_last`` of the loader leaves them out.
        **kwargs: ``val_interval``, ... of mmengine's loop, which gets runner and loader as well.

    Raises:
        ConfigError: If the effective batch cannot be reached, accumulation is longer than an epoch, or the sampler never ends.
    """

    def __init__(self, runner: Runner, dataloader, max_epochs: int, take_rest: bool = False, **kwargs) -> None:
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        if is_infinite(self.dataloader):
            raise ConfigError('its sampler never ends, and so the first epoch would not', 'train_dataloader.sampler.type',
                              "set 'DefaultSampler', or choose nepa_mm.AccumulatingIterLoop")
        self.settle_batch(runner, self.dataloader.batch_size)
        if self.count > 1:
            self.dataloader = StepLoader(self.dataloader, self.count, take_rest)
        self.refuse_empty()
        self._max_iters = max_epochs * len(self.dataloader)

    def epoch_text(self) -> str:
        """Iterations of an epoch, and the images that it leaves out."""
        images, batches = len(self.dataloader.dataset), len(self.dataloader) * self.count
        if self.count > 1:
            batches = min(batches, len(self.dataloader.loader))  # the last step may be a smaller one
        left_out = max(0, images - batches * self.effective_batch // self.count)
        return f'; {len(self.dataloader)} an epoch, which leaves out {left_out} of {images} images'

    def run_epoch(self) -> None:
        """One epoch, or the rest of it, where the sampler of a resumed run begins within."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        begun = getattr(self.dataloader.sampler, 'begin', 0) // (self.count * self.dataloader.batch_size)
        for idx, batch in enumerate(self.dataloader, begun):
            self.run_iter(idx, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: list | dict) -> None:
        self.take_step(idx, data_batch if self.count > 1 else [data_batch])


@LOOPS.register_module()
class AccumulatingIterLoop(StepMixin, IterBasedTrainLoop):
    """mmengine's ``IterBasedTrainLoop`` with an optimizer step for an iteration; otherwise as :class:`AccumulatingEpochLoop`.

    Args:
        max_iters: Optimizer steps to train.
        **kwargs: ``val_interval``, ... of mmengine's loop.
    """

    def __init__(self, runner: Runner, dataloader, max_iters: int, **kwargs) -> None:
        super().__init__(runner, dataloader, max_iters, **kwargs)
        self.settle_batch(runner, self.dataloader.batch_size)
        self.refuse_empty()
        self.dataloader_iterator = StepIterator(self.dataloader_iterator, self.count)

    def run_iter(self, data_batch: list) -> None:
        self.take_step(self._iter, data_batch)


def images_in(batch: dict) -> int:
    """How many images a batch has, also where each of them comes in several views."""
    inputs = batch['inputs']
    views = isinstance(inputs, (list, tuple)) and (isinstance(inputs[0], (list, tuple)) or getattr(inputs[0], 'ndim', 0) == 4)
    return len(inputs[0] if views else inputs)


def is_infinite(dataloader) -> bool:
    """Whether a loader's sampler never ends; its length says nothing of that."""
    sampler = getattr(dataloader, 'sampler', None)
    return isinstance(sampler, InfiniteSampler) or getattr(sampler, 'is_infinite', False)


def accumulation(base_batch_size: int, processes: int, batch_size: int) -> int:
    """Batches per process that make ``base_batch_size`` images; ConfigError if no whole number does."""
    count, rest = divmod(base_batch_size, processes * batch_size)
    if count and not rest:
        return count
    fitting = [b for b in range(1, batch_size + 1) if base_batch_size % (processes * b) == 0]
    other = f'set train_dataloader.batch_size={fitting[-1]}' if fitting else 'use another number of processes'
    raise ConfigError(f'{base_batch_size} is no multiple of {count_of(processes)} x train_dataloader.batch_size={batch_size}',
                      'auto_scale_lr.base_batch_size', f'{other}, or scale the learning rate instead: --auto-scale-lr')


def warmup_keys(schedulers: dict | list | None) -> str:
    """Dotted keys and values in a config that make a warm-up."""
    listed = isinstance(schedulers, list)
    found = []
    for i, scheduler in enumerate(schedulers if listed else [schedulers or {}]):
        key = 'warmup' if 'warmup' in scheduler else 'end' if 'start_factor' in scheduler else None
        if key:
            found.append(f'param_scheduler{f".{i}" if listed else ""}.{key}={scheduler.get(key)}')
    return ', '.join(found) or 'param_scheduler'


def count_of(processes: int) -> str:
    return f'{processes} process' if processes == 1 else f'{processes} processes'


def warmup_iters(schedulers: list, epoch_length: int) -> int:
    """Iterations during which the learning rate rises at the start, of built mmengine schedulers or ours."""
    lengths = [0]
    for scheduler in schedulers:
        if hasattr(scheduler, 'warmup'):
            warmup = scheduler.warmup
        elif getattr(scheduler, 'start_factor', 1) < getattr(scheduler, 'end_factor', 1):  # mmengine's LinearLR
            warmup = scheduler.end - scheduler.begin
        else:
            continue
        if scheduler.begin == 0:
            lengths.append(warmup * (epoch_length if scheduler.by_epoch else 1))
    return max(lengths)
