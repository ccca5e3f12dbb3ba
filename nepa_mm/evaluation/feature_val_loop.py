"""Validation on features, for algorithms that predict nothing, such as those of self-supervised pretraining.

Shapes: B batch, L tokens (extra ones such as [CLS] first, then patches in raster order), D width, h x w grid.
"""
import torch
from mmengine.runner import ValLoop
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from nepa_mm.errors import ConfigError, checked_choice
from nepa_mm.models.fit_model import unwrapped
from nepa_mm.registry import LOOPS


@LOOPS.register_module()
class FeatureValLoop(ValLoop):
    """Validation loop that gives the evaluator one feature vector [D] for each image, as ``feature`` in its data sample.

    mmengine's loop calls ``val_step``, which mmpretrain's self-supervised algorithms do not have; here it is ``extract_feat``.
    The model is taken as it is, so causal attention stays causal. Hooks see an ordinary validation: with mmpretrain's
    ``EMAHook(evaluate_on_origin=True)`` both the averaged and the raw weights are judged.

    Args:
        pool: How tokens become one vector, see :func:`pool_features`.
        *args: Of mmengine's ``ValLoop``.
        **kwargs: Of the same; features are in float32, or of autocast with ``fp16=True``.

    Raises:
        ConfigError: For an unknown ``pool``, a model without ``extract_feat``, or images or outputs of an unfit shape.
    """

    def __init__(self, *args, pool: str = 'avg', **kwargs) -> None:
        self.pool = checked_choice('pool', pool, ('avg', 'last'))
        super().__init__(*args, **kwargs)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Hand the data samples of a batch, with features on the CPU, to the evaluator."""
        self.runner.call_hook('before_val_iter', batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            features, samples = extract_features(unwrapped(self.runner.model), data_batch, self.pool)
        for sample, feature in zip(samples, features.float().cpu()):
            sample.set_field(feature, 'feature')
        self.evaluator.process(data_samples=samples, data_batch=data_batch)
        self.runner.call_hook('after_val_iter', batch_idx=idx, data_batch=data_batch, outputs=samples)


def extract_features(model: nn.Module, data_batch: dict, pool: str) -> tuple[Tensor, list]:
    """Features [B, D] of a batch of the loader, and its B data samples."""
    if not hasattr(model, 'extract_feat'):
        raise ConfigError(f'FeatureValLoop: {type(model).__name__} has no extract_feat(images)', 'val_cfg.type',
                          'validate another model or leave the type out')
    data = model.data_preprocessor(data_batch, training=False)
    images = data['inputs']
    if isinstance(images, (list, tuple)):  # several views, which some algorithms' preprocessors insist on
        images = images[0]
    if images.ndim != 4:
        raise ConfigError(f'images of shape {tuple(images.shape)}, not [B, 3, H, W]', 'val_dataloader',
                          "give it collate_fn=dict(type='default_collate') and images of one size")
    timm_model = getattr(model.backbone, 'timm_model', None)  # whose outputs begin with registers too
    extra = timm_model.num_prefix_tokens if timm_model else getattr(model.backbone, 'num_extra_tokens', 0)
    return pool_features(model.extract_feat(images), pool, extra), data['data_samples']


def pool_features(output: Tensor | tuple, pool: str, num_extra_tokens: int) -> Tensor:
    """One vector for each image, [B, D].

    Args:
        output: Of ``extract_feat``; the last one where there are several. Tokens [B, L, D] are pooled, feature maps
            [B, D, h, w] averaged, and vectors [B, D] taken as they are.
        pool: 'avg' (mean of the patch tokens) or 'last' (the last token, which in causal attention has seen all others).
        num_extra_tokens: Tokens ahead of the patches, left out of the mean.
    """
    while isinstance(output, (tuple, list)):
        output = output[-1]
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        shape = f'shape {tuple(output.shape)}' if isinstance(output, Tensor) else f'type {type(output).__name__}'
        raise ConfigError(f'extract_feat gives an output of {shape}, not [B, D], [B, L, D] or [B, D, h, w]', 'model',
                          'choose another model.backbone.out_type')
    if output.ndim == 4:
        return output.mean(dim=(2, 3))
    if output.ndim == 3:
        return output[:, -1] if pool == 'last' else output[:, num_extra_tokens:].mean(dim=1)
    return output
