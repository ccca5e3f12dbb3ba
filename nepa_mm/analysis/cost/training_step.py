"""The training step that a config describes, without its data set: model, optimizer, average, and what they cost."""
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, init_default_scope
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException

from nepa_mm.errors import ConfigError

from .counted_step import peak_memory, size, without_content, work
from .made_up_batch import made_up_batch, map_tensors

# Kinds of MemTracker under the names of a table; what is left of the total is activations and what is made on the way.
PARTS = {'parameters': ('Parameter', 'Buffer'), 'gradients': ('Gradient', ), 'optimizer state': ('Optstate', )}


def without_checkpoints(cfg: Config) -> Config:
    """A copy of a config whose weights are drawn at random and whose validation is left out; its scope becomes the default."""
    cfg = copy.deepcopy(cfg)
    for key in ('model', 'train_dataloader', 'optim_wrapper'):
        if key not in cfg:
            raise ConfigError(f'{key} is missing, so it trains nothing', cfg.filename, 'give the config of a training')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    if cfg.get('default_scope') == 'mmpretrain':  # as mmpretrain's own tools do
        cfg.train_dataloader.setdefault('collate_fn', dict(type='default_collate'))
    if cfg.get('data_preprocessor'):  # as mmengine's Runner does
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    cfg.load_from = cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    if (cfg.model.get('backbone', {}).get('init_cfg') or {}).get('type') == 'Pretrained':
        cfg.model.backbone.init_cfg = None
    return cfg


@dataclass
class TrainingStep:
    """One training step on one batch, called as mmengine's loops call it, and what follows it, such as the average."""
    model: nn.Module
    optim_wrapper: OptimWrapper
    batch: dict
    after: Sequence[Callable[[], None]] = ()

    @classmethod
    def of(cls, model: nn.Module, cfg: Config, batch: dict) -> 'TrainingStep':
        """With the optimizer of a config whose scope is the default."""
        settings = {key: value for key, value in cfg.optim_wrapper.items() if key != 'accumulative_counts'}
        return cls(model.train(), build_optim_wrapper(model, settings), batch)

    def __call__(self) -> None:
        self.model.train_step(self.batch, optim_wrapper=self.optim_wrapper)
        for run in self.after:
            run()

    def forward(self) -> None:
        """The loss of the batch as a step computes it, without gradients."""
        with torch.no_grad(), self.optim_wrapper.optim_context(self.model):
            self.model(**self.model.data_preprocessor(self.batch, training=True), mode='loss')


def averaging(hook: EMAHook, model: nn.Module) -> Callable:
    """A function that averages the model's weights once more, as a built EMAHook does after an iteration."""
    runner = SimpleNamespace(model=model, iter=hook.begin_iter, epoch=hook.begin_epoch)
    hook.before_run(runner)
    return lambda: hook.after_train_iter(runner, 0)


def ema_hooks(cfg: Config) -> list[EMAHook]:
    """Hooks of the config that average weights, built."""
    built = [HOOKS.build({key: value for key, value in hook.items() if key != 'priority'})
             for hook in cfg.get('custom_hooks') or [] if 'EMA' in str(hook.type)]
    return [hook for hook in built if isinstance(hook, EMAHook)]


def ready_step(cfg: Config, batch: dict) -> TrainingStep:
    """A training step of a model of its own, with new weights, on the GPU if there is one; the config's average is included."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    step = TrainingStep.of(model.cuda() if torch.cuda.is_available() else model, cfg, batch)
    step.after = [averaging(hook, step.model) for hook in ema_hooks(cfg)]
    return step


def shape_of_model(cfg: Config) -> nn.Module:
    """The config's model without any memory, for its shapes."""
    try:
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
    except RuntimeError:  # it reads tensors while it is built, as Swin does its rates of stochastic depth
        model = nn.Module.to(MODELS.build(cfg.model), 'meta')  # mmengine's own would send the batch there as well
    return revert_sync_batchnorm(model)


@contextmanager
def counted(cfg: Config, batch_size: int, img_size: int | None = None) -> Iterator[TrainingStep]:
    """A training step on tensors without content; ConfigError for a model whose work depends on values of tensors."""
    cfg = copy.deepcopy(cfg)
    cfg.optim_wrapper.clip_grad = None  # mmengine reads the norm's value; it costs next to nothing
    if str(cfg.optim_wrapper.get('type')).endswith('AmpOptimWrapper'):
        # It refuses to be without a GPU; numbers of 16 bits have one size.
        cfg.optim_wrapper = dict(type='nepa_mm.Bf16OptimWrapper', **{
            key: value for key, value in cfg.optim_wrapper.items() if key not in ('type', 'loss_scale', 'dtype', 'use_fp64')})
    batch, model = made_up_batch(cfg, batch_size, img_size), shape_of_model(cfg)
    with ExitStack() as stack:
        mode = stack.enter_context(without_content())
        if cfg.model.type.endswith('EncoderDecoder'):
            # The head's accuracy, a number for the log, has a shape that depends on the labels.
            stack.enter_context(mock.patch(
                'mmseg.models.decode_heads.decode_head.accuracy', lambda *args, **kwargs: torch.zeros(1)))
        give_memory(model)
        try:
            yield TrainingStep.of(model, cfg, map_tensors(batch, mode.from_tensor))
        except DataDependentOutputException as error:
            raise ConfigError(f'{cfg.model.type!r} cannot be counted: what it does depends on values of tensors', 'model.type',
                              'measure it on a GPU, where it can be') from error


def give_memory(model: nn.Module) -> None:
    """Replace a model's shapes by tensors of the CPU; what is not trained becomes a buffer, as the tracker of memory wants it."""
    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            value, trained = torch.empty_like(value, device='cpu', requires_grad=False), value.requires_grad
            if trained:
                setattr(module, name, nn.Parameter(value))
            else:
                delattr(module, name)
                module.register_buffer(name, value)
        for name, value in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty_like(value, device='cpu'))


def operations(cfg: Config, img_size: int | None = None, images: int = 2) -> tuple[float, float]:
    """Floating-point operations for an image of the forward pass and of a training step.

    The convention: two for a multiplication and its addition; attention in full, also where a causal mask lets a kernel leave
    half of it out; backward twice forward for what has gradients; nothing is computed again, whatever ``with_cp`` says; matrix
    products and convolutions alone, so no normalisation, activation, optimizer or average.
    """
    cfg = copy.deepcopy(cfg)
    if 'with_cp' in cfg.model.backbone:
        cfg.model.backbone.with_cp = False
    with counted(cfg, images, img_size) as step:
        return work(step.forward) / images, work(step) / images


def memory_parts(cfg: Config, batch_size: int, img_size: int | None = None) -> dict[str, int]:
    """Bytes by part at the peak of a training step on one GPU, without the average and the batch."""
    with counted(cfg, batch_size, img_size) as step:
        peak = peak_memory(step)
    parts = {name: sum(peak.get(kind, 0) for kind in kinds) for name, kinds in PARTS.items()}
    return {**parts, 'activations': peak['Total'] - sum(parts.values())}


def inference_cost(cfg: Config) -> tuple[int, int]:
    """Multiply-adds of ``model(image)`` for one image of the size that a config trains on, and all parameters of the model.

    Counted are matrix products, attention's in full, and convolutions. A pretraining model gives its backbone's features there,
    without masks or decoders; a segmentor one window's logits, without the auxiliary head.
    """
    cfg = without_checkpoints(cfg)
    model = shape_of_model(cfg).train(False)
    side = cfg.model.data_preprocessor.get('size') or cfg.model.backbone.img_size
    image = torch.empty(1, 3, *((side, side) if isinstance(side, int) else side), device='meta')
    with torch.no_grad():  # shapes alone: an image and a pass forward need no memory that is counted
        return work(lambda: model(image, mode='tensor')) // 2, size(model)
