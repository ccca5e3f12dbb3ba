"""The config of a model whose weights come without one of ours."""
import logging
import math
from collections.abc import Mapping

from mmengine.logging import print_log
from torch import Tensor

from .fitting.prefixes import blocks_of
from .preprocessing import Preprocessing, sides


def model_config(backbone: dict, num_classes: int | None = None, images: Preprocessing | None = None,
                 several: bool = False) -> dict:
    """A config with the model of a checkpoint, and the pipeline that mmpretrain's inferencers ask for.

    Of pretraining there are no ``num_classes``. Images are prepared as the release does it, if nobody says otherwise, and have
    one label each, unless ``several``.
    """
    images = images or release_images(backbone, min(sides(backbone.get('img_size', 224))))
    pixels = images.pixels()
    backbone = {'type': 'nepa_mm.NEPAViT', **backbone}
    if num_classes is None:
        preprocessor = dict(type='nepa_mm.FusedSelfSupDataPreprocessor', **pixels)
        model = dict(type='nepa_mm.NEPA', backbone=backbone, data_preprocessor=preprocessor)
    else:
        head = dict(type='MultiLabelLinearClsHead' if several else 'LinearClsHead', num_classes=num_classes,
                    in_channels=backbone['arch']['embed_dims'],
                    loss=dict(type='CrossEntropyLoss', **dict(use_sigmoid=True) if several else {}))
        model = dict(type='ImageClassifier', backbone=backbone, head=head,
                     data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=num_classes, **pixels))
    return dict(default_scope='mmpretrain', model=model, test_dataloader=dict(dataset=dict(pipeline=images.pipeline())))


def release_images(backbone: dict, size: int) -> Preprocessing:
    """How the release's test scripts prepare images: the central square, and pixels from [0, 255] to [-1, 1].

    They resize the short side to ``size`` / 0.875 for their base model, and for the large one both sides to ``size`` / 0.95,
    whatever the image's shape.
    """
    arch = backbone.get('arch')
    is_large = arch == 'large' or isinstance(arch, dict) and arch.get('num_layers') == 24
    resize = (int(size / 0.95), ) * 2 if is_large else int(size / 0.875)
    grey = [127.5] * backbone.get('in_channels', 3)
    return Preprocessing(grey, grey, 'RGB', resize, 'bicubic', (size, size))


def centre_pipeline(backbone: dict, bands: int | None = None) -> list[dict]:
    """The release's test pipeline, for models that normalise, of the largest square in a backbone's ``img_size``.

    ``bands`` are the channels of images that are not RGB.
    """
    return release_images(backbone, min(sides(backbone.get('img_size', 224)))).pipeline(bands)


def inferred_backbone(weights: Mapping[str, Tensor], reason: str) -> dict:
    """Arguments of the :class:`NEPAViT` of a checkpoint, from shapes alone.

    What no shape shows is the release's choice, and a warning says so, with the ``reason`` why there is nothing better.
    """
    shown, pooled = shown_arguments(weights), 'backbone.fc_norm.weight' in weights
    guessed = dict(causal=not pooled, act='silu' if shown['gated_mlp'] else 'gelu', rope=dict(theta=100., rescale=2.),
                   norm_eps=1e-12)
    names = [f'{name}={value!r}' for name, value in guessed.items()]
    # Only a position embedding depends on the image size.
    rows = round(weights['backbone.pos_embed'].shape[1]**0.5) if shown['use_abs_pos_embed'] else 16
    shown['img_size'] = rows * shown['patch_size']
    if not shown['use_abs_pos_embed']:
        names.append(f'img_size={shown["img_size"]}')
    if 'head.fc.weight' in weights:
        shown['out_type'] = 'avg_featmap' if pooled else 'last_token'
    if shown['qk_norm'] is None:
        shown['qk_norm'] = 'plain'
        names += ["qk_norm='plain'", f'num_heads={shown["arch"]["num_heads"]}']
    print_log(f'{reason}: sizes are taken from the shapes of the weights, and what no shape shows is assumed, {", ".join(names)}',
              'current', logging.WARNING)
    return {**shown, **guessed}


def shown_arguments(weights: Mapping[str, Tensor], num_heads: int | None = None) -> dict:
    """Arguments of a ViT that the names and shapes of its weights show; a QK-norm without weights is None.

    Args:
        num_heads: Where there is no QK-norm that shows them; default: heads of 64 channels, as in every published model, or
            of the largest power of 2 below that divides the width.
    """
    patch, first = weights['backbone.patch_embed.weight'], 'backbone.layers.0'
    q_norm, gated = weights.get(f'{first}.attn.q_norm.weight'), f'{first}.mlp.fc1_g.weight' in weights
    width = patch.shape[0]
    if q_norm is not None:
        num_heads = width // len(q_norm)
    return dict(
        arch=dict(
            embed_dims=width,
            num_layers=len(blocks_of(weights)),
            num_heads=num_heads or width // math.gcd(width, 64),
            feedforward_channels=len(weights[f'{first}.mlp.fc1_x.weight' if gated else f'{first}.mlp.fc1.weight'])),
        patch_size=patch.shape[-1],
        in_channels=patch.shape[1],
        with_cls_token='backbone.cls_token' in weights,
        use_abs_pos_embed='backbone.pos_embed' in weights,
        qk_norm=None if q_norm is None else 'affine_bias' if f'{first}.attn.q_norm.bias' in weights else 'affine',
        qkv_bias=f'{first}.attn.qkv.bias' in weights,
        layer_scale_init_value=1e-5 if f'{first}.ls1.gamma' in weights else None,
        gated_mlp=gated)
