"""A model as an exported graph has it: a tensor of images in, tensors out, no samples and no data preprocessor.

Shapes: B batch, C classes, H x W pixels.
"""
import torch
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.models.heads import MultiLabelClsHead
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from nepa_mm.arguments import MAX_BATCH
from nepa_mm.errors import ConfigError, first_line

from .source import Source

NAME = 'input'  # of the graph's input
TRACED = 3  # images, which costs nothing: no number is computed


class Graph(nn.Module):
    """Images [B, C, H, W] -> a tuple of tensors, named by ``output_names``.

    A classifier gives ``logits`` [B, C], a segmentor ``seg_logits`` [B, C, H, W] of one window (its slide mode is left to the
    caller) or ``seg_map`` [B, H, W], and anything, with ``features``, what its backbone gives, the only thing that a pretraining
    model has.

    Args:
        source: The model.
        features: Give the outputs of the backbone.
        argmax: Of a segmentor, give the class of each pixel.
        normalize: Take uint8 pixels, 0 to 255, and normalise them in the graph; otherwise take float32, normalised. Images that
            are not RGB are float32 in any case, then of the numbers in their files.
        max_batch: The most images at once, which runtimes that plan their memory ahead, as ExecuTorch, have to know.

    Raises:
        ConfigError: If the model has no such outputs, or its config does not say how to normalise.
    """

    def __init__(self, source: Source, features: bool = False, argmax: bool = False, normalize: bool = False,
                 max_batch: int = MAX_BATCH) -> None:
        super().__init__()
        self.max_batch, self.in_channels, self.takes_bytes = max_batch, source.input_channels, normalize and not source.are_bands
        self.model, self.argmax, self.normalize = source.model, argmax, normalize
        if features or isinstance(self.model, BaseSelfSupervisor):
            self.task = 'features'
        elif hasattr(self.model, 'encode_decode'):
            self.task = 'segmentation'
        elif hasattr(self.model, 'head'):
            self.task = 'classification'
        else:
            raise ConfigError(f'{source.config.model.type!r} is no classifier, segmentor or pretraining model', 'model.type',
                              'export its backbone alone, with --features OUT_TYPE')
        if argmax and self.task != 'segmentation':
            raise ConfigError(f'it is for segmentors, and the task here is {self.task}', '--argmax', 'leave it out')
        if argmax and self.model.out_channels == 1:
            raise ConfigError('it needs two classes; the segmentor has one channel, with a threshold', '--argmax', 'leave it out')
        if normalize and source.mean_std is None:
            raise ConfigError('the config has neither model.data_preprocessor.mean nor a TimmTransform', '--normalize inside',
                              'leave it out')
        if normalize:
            for name, values in zip(('mean', 'std'), source.mean_std):
                self.register_buffer(name, torch.tensor(values, device=self.device)[:, None, None], persistent=False)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def output_names(self) -> list[str]:
        if self.task == 'features':
            count = len(getattr(self.model.backbone, 'out_indices', [0]))
            return ['features'] if count == 1 else [f'features_{i}' for i in range(count)]
        return [{'classification': 'logits', 'segmentation': 'seg_map' if self.argmax else 'seg_logits'}[self.task]]

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        outputs = self.before_argmax(input)
        return (outputs[0].argmax(dim=1), ) if self.argmax else outputs

    def before_argmax(self, input: Tensor) -> tuple[Tensor, ...]:
        """The same, with ``argmax`` too a segmentor's logits."""
        if self.normalize:
            input = (input.float() - self.mean) / self.std
        if self.task == 'features':
            return tuple(self.model.backbone(input))
        if self.task == 'classification':
            return (self.model(input), )
        return (self.model.encode_decode(input, [dict(img_shape=input.shape[2:])]), )  # mmseg reads the first alone

    def images(self, batch: int, size: tuple[int, int]) -> Tensor:
        """Made-up images to trace and to check with."""
        if self.takes_bytes:
            return torch.randint(256, (batch, self.in_channels, *size), dtype=torch.uint8, device=self.device)
        return torch.randn(batch, self.in_channels, *size, device=self.device)

    def trace(self, size: tuple[int, int], dynamic_shape: bool) -> ExportedProgram:
        """The graph for up to ``max_batch`` images, of H x W pixels or of any whole number of patches; else ConfigError."""
        shapes = {0: Dim('batch', min=1, max=self.max_batch)} if self.max_batch > 1 else {}
        if dynamic_shape:
            patch = self.patch_size
            shapes.update({2: patch * Dim('rows', min=2), 3: patch * Dim('columns', min=2)})
            size = size[0], size[1] + patch  # equal numbers could be taken for one
        try:
            with torch.no_grad():
                images = self.images(min(TRACED, self.max_batch), size)
                return torch.export.export(self, (images, ), dynamic_shapes={NAME: shapes}, strict=False)
        except ConfigError:
            raise
        except Exception as error:  # of many kinds: whatever the model's parts cannot do
            advice = 'leave out --dynamic-shape and give --shape' if dynamic_shape else 'NEPA_DEBUG=1 shows where'
            raise ConfigError(f'{type(self.model).__name__} cannot be traced by torch.export ({first_line(error)})', 'model',
                              advice) from error

    @property
    def batches(self) -> list[int]:
        """Numbers of images to check with: others than the traced one, where there may be that many."""
        return [batch for batch in (1, 2) if batch <= self.max_batch]

    @property
    def decision(self) -> dict:
        """How the host makes classes of the outputs: ``activation`` and, of a sigmoid, the ``threshold`` of a score."""
        if self.task == 'features' or self.argmax:
            return {}
        if self.task == 'segmentation':
            head = self.model.decode_head
            return dict(activation='softmax') if head.out_channels > 1 else dict(activation='sigmoid', threshold=head.threshold)
        head = self.model.head
        if not isinstance(head, MultiLabelClsHead):
            return dict(activation='softmax')
        return dict(activation='sigmoid', **{name: value for name, value in (('threshold', head.thr), ('topk', head.topk))
                                             if value is not None})

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels, of which a side of an image of dynamic size is a multiple; ConfigError if there is none."""
        size = getattr(self.model.backbone, 'patch_size', None)
        if not isinstance(size, int):
            raise ConfigError(f'it is for NEPAViT, whose images may have any size, not for {type(self.model.backbone).__name__}',
                              '--dynamic-shape', 'give --shape')
        return size

    def sizes(self, size: tuple[int, int], dynamic_shape: bool) -> list[tuple[int, int]]:
        """Image sizes to check with: the one that was asked for, and others where they may differ."""
        if not dynamic_shape:
            return [size]
        patch = self.patch_size
        return [size, (size[0] + 2 * patch, size[1] + patch), (3 * patch, 2 * patch)]
