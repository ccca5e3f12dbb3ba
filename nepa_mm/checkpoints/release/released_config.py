"""``config.json`` of the authors' release and the arguments of our models, both ways."""
import math

from nepa_mm.checkpoints.preprocessing import sides
from nepa_mm.errors import CheckpointError
from nepa_mm.variants import complete_arguments

# What the authors' config class takes for a setting that config.json leaves out
DEFAULTS = dict(
    hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, use_gated_mlp=False,
    hidden_act='gelu', hidden_dropout_prob=0., attention_probs_dropout_prob=0., initializer_range=0.02, layer_norm_eps=1e-12,
    rope_theta=100., image_size=224, patch_size=16, num_channels=3, qkv_bias=True, qk_norm=False, qk_norm_bias=False,
    qk_norm_affine=False, layerscale_value=1e-5, drop_path_prob=0., add_pooling_layer=False, is_causal=True,
    pos_embed_shift=None, pos_embed_jitter=None, pos_embed_rescale=2.)
UNSUPPORTED = ('hidden_dropout_prob', 'attention_probs_dropout_prob', 'num_prompt_token')

# Our names of settings and the release's, whose values are the same
SIZES = dict(
    embed_dims='hidden_size', num_layers='num_hidden_layers', num_heads='num_attention_heads',
    feedforward_channels='intermediate_size')
ROPE = dict(theta='rope_theta', rescale='pos_embed_rescale', jitter='pos_embed_jitter', shift='pos_embed_shift')
ARGUMENTS = dict(
    img_size='image_size', patch_size='patch_size', in_channels='num_channels', causal='is_causal', qkv_bias='qkv_bias',
    layer_scale_init_value='layerscale_value', gated_mlp='use_gated_mlp', drop_path_rate='drop_path_prob',
    norm_eps='layer_norm_eps')
# Hugging Face's ``problem_type`` of a classifier whose images have several labels: the sigmoid of each logit is a score
SEVERAL = 'multi_label_classification'
# Names of the release's activations that timm calls otherwise
ACTIVATIONS = {'swish': 'silu', 'gelu_new': 'gelu_tanh', 'gelu_pytorch_tanh': 'gelu_tanh'}


def backbone_kwargs(config: dict) -> dict:
    """Arguments of :class:`NEPAViT` for a released config.

    CheckpointError if a setting is of another kind than theirs, or one that no release uses and this backbone lacks.
    """
    for keys, what, fits in KINDS:
        for key in keys:
            if key in config and not fits(config[key]):
                raise CheckpointError(f'{str(config[key])[:50]!r} is not {what}', f'config.json, {key}', 'mend it')
    for key in UNSUPPORTED:
        if config.get(key):
            raise CheckpointError(f'{config[key]} is not supported; no released checkpoint sets it', f'config.json, {key}',
                                  'give a released checkpoint')
    config = {**DEFAULTS, **config}
    affine = 'affine_bias' if config['qk_norm_bias'] else 'affine'
    arch, rope, arguments = ({ours: config[theirs] for ours, theirs in names.items()} for names in (SIZES, ROPE, ARGUMENTS))
    return dict(
        arguments,
        with_cls_token=True,
        use_abs_pos_embed=False,
        out_type='raw',
        arch=arch,
        rope=rope,
        qk_norm=None if not config['qk_norm'] else affine if config['qk_norm_affine'] else 'plain',
        act=ACTIVATIONS.get(config['hidden_act'], config['hidden_act']))


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


KINDS = [
    (('hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'image_size', 'patch_size', 'num_channels'),
     'a positive number', lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10**6),
    (('rope_theta', 'layer_norm_eps'), 'a positive number', lambda value: is_number(value) and value > 0),
    (('pos_embed_rescale', 'pos_embed_jitter', 'pos_embed_shift'), 'null or a positive number',
     lambda value: value is None or is_number(value) and value > 0),
    (('layerscale_value', ), 'null or a number', lambda value: value is None or is_number(value)),
    (('drop_path_prob', ), 'in [0, 1)', lambda value: is_number(value) and 0 <= value < 1),
    (('use_gated_mlp', 'qkv_bias', 'qk_norm', 'qk_norm_bias', 'qk_norm_affine', 'is_causal', 'add_pooling_layer'),
     'true or false', lambda value: isinstance(value, bool)),
    (('hidden_act', ), 'the name of an activation', lambda value: isinstance(value, str)),
]


def classes_of(config: dict, num_classes: int | None) -> list[str] | None:
    """Names of the classes, if ``config.json`` has them all and they say more than LABEL_3."""
    names = config.get('id2label')
    classes = [names.get(str(i)) for i in range(num_classes or 0)] if isinstance(names, dict) else []
    if not classes or any(not isinstance(name, str) or name == f'LABEL_{i}' for i, name in enumerate(classes)):
        return None
    return classes


def released_config(model: dict, num_classes: int | None, classes: list[str] | None = None, source: dict | None = None,
                    image_size: int | tuple[int, int] | None = None) -> dict:
    """``config.json`` from which the authors' classes build a model of ours; CheckpointError if it has no place for a setting.

    Args:
        model: The ``model`` of a config; of a segmentor, its backbone is what the release can hold.
        num_classes: Of a classifier; None for anything else.
        classes: Their names, where known.
        source: The ``config.json`` that the model comes from, if any; what describes no model of ours is kept.
        image_size: Of its images; default: the backbone's ``img_size``.
    """
    backbone = complete_arguments(model['backbone'])
    classifies = num_classes is not None
    for key, possible in dict(
            with_cls_token=[True],
            use_abs_pos_embed=[False],
            out_type=['avg_featmap', 'last_token'] if classifies else [backbone['out_type']]).items():
        if backbone[key] not in possible:
            raise CheckpointError(f'{backbone[key]!r} has no place in the released format, which knows {possible}',
                                  f'model.backbone.{key}', 'keep the checkpoint in our format')
    indices, depth = backbone.get('out_indices', -1), backbone['arch']['num_layers']
    if classifies and depth - 1 not in [index % depth for index in ([indices] if isinstance(indices, int) else indices)]:
        raise CheckpointError(f'{indices!r} has no place in the released format, whose classifiers take the last block',
                              'model.backbone.out_indices', 'keep the checkpoint in our format')
    if not backbone['rope']:
        raise CheckpointError('None has no place in the released format, which always has RoPE', 'model.backbone.rope',
                              'keep the checkpoint in our format')
    config = {**DEFAULTS, 'add_pooling_layer': True, **(source or {})}  # pretraining ignores it, and the release sets it
    if classifies:
        config['add_pooling_layer'] = backbone['out_type'] == 'avg_featmap'
    for settings, names in ((backbone['arch'], SIZES), ({'theta': 100., **backbone['rope']}, ROPE), (backbone, ARGUMENTS)):
        config.update({theirs: settings.get(ours) for ours, theirs in names.items()})
    config.update(
        model_type='vit_nepa',
        architectures=['ViTNepaForImageClassification' if classifies else 'ViTNepaForPreTraining'],
        dtype='float32',
        image_size=side_of(image_size or backbone['img_size']),
        qk_norm=backbone['qk_norm'] is not None,
        qk_norm_affine=backbone['qk_norm'] in ('affine', 'affine_bias'),
        qk_norm_bias=backbone['qk_norm'] == 'affine_bias',
        hidden_act='gelu_pytorch_tanh' if backbone['act'] == 'gelu_tanh' else backbone['act'])
    if str((model.get('head') or {}).get('type')).endswith('MultiLabelLinearClsHead'):
        config['problem_type'] = SEVERAL
    if classifies:
        names = classes if classes and len(classes) == num_classes else [f'LABEL_{i}' for i in range(num_classes)]
        config.update(id2label={str(i): name for i, name in enumerate(names)}, label2id={name: i for i, name in enumerate(names)})
    return config


def side_of(img_size: int | tuple[int, int]) -> int:
    """Side of a square image; the release knows no other."""
    height, width = sides(img_size)
    if height != width:
        raise CheckpointError(f'{img_size!r} has no place in the released format, which knows squares', 'image size',
                              'keep the checkpoint in our format')
    return height
