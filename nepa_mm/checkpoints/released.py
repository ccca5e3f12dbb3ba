"""The authors' released format (Hugging Face ``config.json`` and ``model.safetensors``) and ours, both ways."""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CheckpointError

# Released prefix of a parameter name, and ours
OUTSIDE_BLOCKS = [
    ('vit_nepa.embeddings.cls_token', 'backbone.cls_token'),
    ('vit_nepa.embeddings.patch_embeddings.projection.', 'backbone.patch_embed.'),
    ('vit_nepa.layernorm.', 'backbone.norm.'),
    ('fc_norm.', 'backbone.fc_norm.'),
    ('classifier.', 'head.fc.'),
]
IN_BLOCK = [
    ('layernorm_before.', 'ln1.'),
    ('attention.attention.q_norm.', 'attn.q_norm.'),
    ('attention.attention.k_norm.', 'attn.k_norm.'),
    ('attention.output.dense.', 'attn.proj.'),
    ('layer_scale.lambda1', 'ls1.gamma'),
    ('layernorm_after.', 'ln2.'),
    ('output.dense.', 'mlp.fc2.'),
    ('output.layer_scale.lambda1', 'ls2.gamma'),
]
PLAIN_MLP = [('intermediate.up_proj.', 'mlp.fc1.')]
GATED_MLP = [('intermediate.gate_proj.', 'mlp.fc1_g.'), ('intermediate.up_proj.', 'mlp.fc1_x.')]
# The release keeps three projections, which we fuse into one, in this order.
QKV = ('query', 'key', 'value')

REQUIRED = ('hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'image_size', 'patch_size',
            'is_causal', 'rope_theta', 'qkv_bias', 'layerscale_value', 'hidden_act', 'use_gated_mlp', 'layer_norm_eps')

# Names of the release's activations that timm calls otherwise
ACTIVATIONS = {'swish': 'silu', 'gelu_new': 'gelu_tanh', 'gelu_pytorch_tanh': 'gelu_tanh'}


def read_released(address: str) -> tuple[dict, dict[str, Tensor]]:
    """Read ``config.json`` and ``model.safetensors`` (or the only safetensors file).

    Args:
        address: A local folder, or the id of a Hugging Face repository, which is then downloaded.

    Returns:
        The config, and the parameters by their released names.

    Raises:
        CheckpointError: If a file is missing, the hub does not give the repository, or the config is not of a NEPA model.
    """
    folder = Path(address)
    if not folder.is_dir():
        folder = download(address)
    weights = folder / 'model.safetensors'
    if not weights.is_file():  # a copy may go by another name, as long as there is no doubt which
        found = sorted(folder.glob('*.safetensors'))
        weights = found[0] if len(found) == 1 else weights
    for path in (folder / 'config.json', weights):
        if not path.is_file():
            raise CheckpointError(f'hf:{address} has no {path.name}; a released checkpoint is a folder with config.json and '
                                  'model.safetensors')
    config = json.loads((folder / 'config.json').read_text())
    if config.get('model_type') != 'vit_nepa':
        raise CheckpointError(f"hf:{address}: model_type={config.get('model_type')!r} in config.json is not 'vit_nepa'")
    return config, load_file(weights)


def download(repository: str) -> Path:
    """Download a Hugging Face repository to its cache and return the local folder."""
    from huggingface_hub import snapshot_download
    try:
        return Path(snapshot_download(repository, allow_patterns=['config.json', 'model.safetensors']))
    except Exception as error:  # many kinds: a bad id, no network, a refusal
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f'hf:{repository} is no local folder, and the Hugging Face hub did not give it ({reason}); check '
                              'the path, or the repository id and the network') from error


def backbone_kwargs(config: dict) -> dict:
    """Arguments of :class:`NEPAViT` for a released config.

    Raises:
        CheckpointError: If a setting is missing, or is one that the release never uses and this backbone lacks.
    """
    for key in ('hidden_dropout_prob', 'attention_probs_dropout_prob', 'num_prompt_token'):
        if config.get(key):
            raise CheckpointError(f'config.json: {key}={config[key]} is not supported; no released checkpoint sets it')
    lacking = [key for key in REQUIRED if key not in config]
    if lacking:
        raise CheckpointError(f'config.json lacks {lacking}, which every released checkpoint has')
    qk_norm = None
    if config.get('qk_norm', True):
        affine, bias = config.get('qk_norm_affine', False), config.get('qk_norm_bias', False)
        qk_norm = 'plain' if not affine else 'affine_bias' if bias else 'affine'
    return dict(
        arch=dict(
            embed_dims=config['hidden_size'],
            num_layers=config['num_hidden_layers'],
            num_heads=config['num_attention_heads'],
            feedforward_channels=config['intermediate_size']),
        img_size=config['image_size'],
        patch_size=config['patch_size'],
        in_channels=config.get('num_channels', 3),
        causal=config['is_causal'],
        rope=dict(
            theta=config['rope_theta'],
            rescale=config.get('pos_embed_rescale'),
            jitter=config.get('pos_embed_jitter'),
            shift=config.get('pos_embed_shift')),
        qk_norm=qk_norm,
        qkv_bias=config['qkv_bias'],
        layer_scale_init_value=config['layerscale_value'],
        act=ACTIVATIONS.get(config['hidden_act'], config['hidden_act']),
        gated_mlp=config['use_gated_mlp'],
        drop_path_rate=config.get('drop_path_prob', 0.),
        norm_eps=config['layer_norm_eps'])


def mm_state_dict(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename released parameters to ours: ``backbone.*`` and ``head.fc.*``.

    Raises:
        CheckpointError: For a parameter that no released model has.
    """
    released = dict(released)
    result = {}
    for name in [name for name in released if '.attention.attention.query.' in name]:
        parts = [released.pop(name.replace('.query.', f'.{part}.'), None) for part in QKV]
        if any(part is None for part in parts):
            raise CheckpointError(f'{name} has no key or value beside it; the checkpoint is incomplete')
        block = name.split('.')[3]
        result[f'backbone.layers.{block}.attn.qkv.{name.rsplit(".", 1)[1]}'] = torch.cat(parts)
    table = rename_table(released, gate='.intermediate.gate_proj.', block=3)
    result.update(rename(released, table))
    return result


def released_state_dict(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename our parameters to the released names: the inverse of :func:`mm_state_dict`.

    Raises:
        CheckpointError: For a parameter that has no place in the released format.
    """
    ours = dict(ours)
    result = {}
    for name in [name for name in ours if '.attn.qkv.' in name]:
        block, kind = name.split('.')[2], name.rsplit('.', 1)[1]
        for part, value in zip(QKV, ours.pop(name).chunk(3)):
            result[f'vit_nepa.encoder.layer.{block}.attention.attention.{part}.{kind}'] = value
    table = rename_table(ours, gate='.mlp.fc1_g.', block=2)
    result.update(rename(ours, [(new, old) for old, new in table]))
    return result


def rename_table(names, gate: str, block: int) -> list[tuple[str, str]]:
    """Pairs of released and our prefixes for the blocks that the names hold; ``block`` is the place of a block's number."""
    mlp = GATED_MLP if any(gate in name for name in names) else PLAIN_MLP
    blocks = {name.split('.')[block] for name in names if '.layer.' in name or '.layers.' in name}
    return OUTSIDE_BLOCKS + [(f'vit_nepa.encoder.layer.{i}.{old}', f'backbone.layers.{i}.{new}') for i in sorted(blocks)
                             for old, new in IN_BLOCK + mlp]


def rename(state_dict: dict[str, Tensor], table: list[tuple[str, str]]) -> dict[str, Tensor]:
    """Replace the prefix of each name by the table; every name must have one."""
    result = {}
    for name, value in state_dict.items():
        prefixes = [(old, new) for old, new in table if name.startswith(old)]
        if len(prefixes) != 1:
            raise CheckpointError(f'parameter {name!r} is unknown to the NEPA formats')
        old, new = prefixes[0]
        result[new + name.removeprefix(old)] = value
    return result
