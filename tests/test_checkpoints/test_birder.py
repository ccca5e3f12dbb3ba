import json
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from safetensors.torch import save_file

import nepa_mm
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.models import ViT5, check_causal

SIZE, PATCH, WIDTH, HEADS, DEPTH = (12, 20), 4, 16, 2, 2
GRID, ARCH = (3, 5), dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=2 * WIDTH)
FACTS = dict(signature=dict(inputs=[dict(data_shape=[0, 3, *SIZE])]), rgb_stats=dict(mean=(0.5, 0.25, 0.5), std=(0.2, 0.2, 0.4)),
             class_to_idx={}, config=dict(num_heads=HEADS))


# A birder model, written from the architecture: its names, and what it computes of them

def weights_of(vit5: bool, seed=0, **more):
    """Random weights by birder's names."""
    d, generator = WIDTH, torch.Generator().manual_seed(seed)
    shapes = {'class_token': (1, 1, d), 'pos_embedding': (1, math.prod(GRID) + (not vit5), d),
              'conv_proj.weight': (d, 3, PATCH, PATCH), 'conv_proj.bias': (d, ), 'norm.weight': (d, )}
    blocks = {'norm1.weight': (d, ), 'norm2.weight': (d, ), 'attn.qkv.weight': (3 * d, d), 'attn.proj.weight': (d, d),
              'attn.proj.bias': (d, ), 'mlp.0.weight': (2 * d, d), 'mlp.0.bias': (2 * d, ), 'mlp.3.weight': (d, 2 * d),
              'mlp.3.bias': (d, )}
    if vit5:
        shapes['reg_tokens'] = (1, 4, d)
        blocks |= {'attn.q_norm.weight': (d // HEADS, ), 'attn.k_norm.weight': (d // HEADS, ), 'layer_scale_1.gamma': (d, ),
                   'layer_scale_2.gamma': (d, )}
    else:
        shapes['norm.bias'] = (d, )
        blocks |= {'norm1.bias': (d, ), 'norm2.bias': (d, ), 'attn.qkv.bias': (3 * d, )}
    shapes |= {f'encoder.block.{i}.{name}': shape for i in range(DEPTH) for name, shape in blocks.items()} | more
    return {name: torch.randn(shape, generator=generator) * 0.5 for name, shape in shapes.items()}


def angles_of(grid, theta, head_dim):
    """Row and column of each place times each frequency, every one of them twice: [T, head_dim]."""
    frequencies = [theta**(-i / (head_dim // 4)) for i in range(head_dim // 4)]
    return torch.tensor([[place * f for place in (row, column) for f in frequencies for _ in 'sc']
                         for row in range(grid[0]) for column in range(grid[1])])


def features_of(w, images, causal):
    """All tokens [B, L, D] after the final norm."""
    vit5 = 'reg_tokens' in w

    def norm(x, name):
        if f'{name}.bias' in w:
            return F.layer_norm(x, x.shape[-1:], w[f'{name}.weight'], w[f'{name}.bias'], 1e-6)
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w[f'{name}.weight']

    def linear(x, name):
        return F.linear(x, w[f'{name}.weight'], w.get(f'{name}.bias'))

    def turned(x):
        """Registers in a square of 2 x 2, and patches; [CLS] between them stays."""
        d = x.shape[-1]
        angles = torch.cat([angles_of((2, 2), 100., d), torch.zeros(1, d), angles_of(GRID, 10000., d)])
        a, b = x.chunk(2, dim=-1)
        return x * angles.cos() + torch.cat([-b, a], dim=-1) * angles.sin()

    x = F.conv2d(images, w['conv_proj.weight'], w['conv_proj.bias'], stride=PATCH).flatten(2).transpose(1, 2)
    first = [w[name].expand(len(x), -1, -1) for name in ('reg_tokens', 'class_token') if name in w]
    x = torch.cat([*first, x + w['pos_embedding']], 1) if vit5 else torch.cat([*first, x], 1) + w['pos_embedding']
    for i in range(DEPTH):
        block = f'encoder.block.{i}'
        q, k, v = linear(norm(x, f'{block}.norm1'), f'{block}.attn.qkv').unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        if vit5:
            q, k = turned(norm(q, f'{block}.attn.q_norm')), turned(norm(k, f'{block}.attn.k_norm'))
        scores = q @ k.mT / q.shape[-1]**0.5
        if causal:
            scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
        attended = linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), f'{block}.attn.proj')
        x = x + attended * w.get(f'{block}.layer_scale_1.gamma', 1.)
        fed = linear(F.gelu(linear(norm(x, f'{block}.norm2'), f'{block}.mlp.0')), f'{block}.mlp.3')
        x = x + fed * w.get(f'{block}.layer_scale_2.gamma', 1.)
    return norm(x, 'norm')


def saved(path, weights, **facts):
    torch.save(dict(state=weights, birder_version='0.8.4', task='image_classification', **{**FACTS, **facts}), path)
    return str(path)


@pytest.mark.parametrize('vit5, name', [(False, 'naflex_vit_t4_nepa.pt'), (True, 'rope_vit5_reg4_t4_nepa.pt')])
def test_features_and_logits_of_a_file_are_birders(tmp_path, vit5, name):
    weights, images = weights_of(vit5), torch.randn(2, 3, *SIZE)
    address = saved(tmp_path / name, weights)
    for causal in (True, False):
        model = nepa_mm.get_model(address, causal=causal)
        expected = features_of(weights, images, causal)
        torch.testing.assert_close(model.extract_feat(images)[0], expected, atol=1e-5, rtol=0)
    # the loss of its NEPA: all tokens, registers too
    model = nepa_mm.get_model(address)
    tokens = F.conv2d(images, weights['conv_proj.weight'], weights['conv_proj.bias'], stride=PATCH).flatten(2).transpose(1, 2)
    first = [weights[part].expand(2, -1, -1) for part in ('reg_tokens', 'class_token') if part in weights]
    following = torch.cat([*first, tokens], 1)[:, 1:]
    loss = -F.cosine_similarity(features_of(weights, images, True)[:, :-1], following, dim=-1).mean()
    torch.testing.assert_close(model(images, mode='loss')['loss'], loss, atol=1e-5, rtol=0)
    assert model.data_preprocessor.mean.flatten().tolist() == [127.5, 63.75, 127.5]
    resize = model._config.test_dataloader.dataset.pipeline[1]
    assert resize['type'] == 'mmpretrain.Resize' and tuple(resize['scale']) == SIZE[::-1]

    head = {'classifier.weight': torch.randn(5, WIDTH), 'classifier.bias': torch.randn(5)}
    path = tmp_path / name.replace('.pt', '.safetensors')
    facts = {**FACTS, 'class_to_idx': {f'bird {i}': i for i in range(5)}}
    save_file(weights | head, path, {'birder_version': '0.8.4', **{key: json.dumps(value) for key, value in facts.items()}})
    model = nepa_mm.get_model(str(path))
    logits = F.linear(features_of(weights, images, False)[:, 4 * vit5], head['classifier.weight'], head['classifier.bias'])
    torch.testing.assert_close(model(images), logits, atol=1e-5, rtol=0)
    assert model.dataset_meta['classes'] == [f'bird {i}' for i in range(5)]


def backbone(address, **more):
    return dict(type='nepa_mm.NEPAViT', arch=ARCH, img_size=SIZE, patch_size=PATCH, qk_norm=None, layer_scale_init_value=None,
                use_abs_pos_embed=True, norm_eps=1e-6, causal=False, init_cfg=dict(type='Pretrained', checkpoint=address), **more)


def test_a_backbone_of_a_config_starts_from_it(tmp_path):
    weights = {f'backbone.{name}': value for name, value in weights_of(False).items()}  # of the whole NEPA
    address = saved(tmp_path / 'nepa_naflex_vit_t4.pt', weights)
    model = MODELS.build(backbone(address, rope=None))
    model.init_weights()
    model.train(False)
    images = torch.randn(1, 3, *SIZE)
    torch.testing.assert_close(model(images)[0], features_of(weights_of(False), images, False), atol=1e-5, rtol=0)
    with pytest.raises(CheckpointError, match='rope_theta=None there and 100.0 here'):
        MODELS.build(backbone(address)).init_weights()


def test_its_predictions_depend_on_earlier_tokens_alone():
    check_causal(ViT5(ARCH, patch_size=PATCH, img_size=SIZE), SIZE)
    with pytest.raises(ConfigError, match='causal'):
        check_causal(ViT5(ARCH, patch_size=PATCH, img_size=SIZE, causal=False), SIZE)


def test_frozen_or_queried_its_registers_are_turned_alike():
    model = ViT5(ARCH, patch_size=PATCH, img_size=SIZE, frozen_stages=1, out_type='featmap', output_cls_token=True, causal=False)
    (patches, cls_token), = model(torch.randn(2, 3, *SIZE))
    assert patches.shape == (2, WIDTH, *GRID) and cls_token.shape == (2, WIDTH)
    assert not model.registers.requires_grad and model.layers[1].ln1.weight.requires_grad
    table = model.rope_table(SIZE, torch.device('cpu'))
    own, queried = model.rotations(table), model.rotations(table, ahead=3)
    assert torch.equal(queried[3:], own) and own.shape == (5 + 15, 1, 2 * WIDTH // HEADS)
    still = torch.tensor([0.] * 8 + [1.] * 8)
    assert torch.equal(own[4, 0].abs(), still) and torch.equal(queried[:3, 0].abs(), still.expand(3, -1))
    assert model.get_layer_depth('registers') == model.get_layer_depth('cls_token') == (0, DEPTH + 1)


@pytest.mark.parametrize('name, vit5, more, facts, expected', [
    ('vit_t4.pt', True, {}, dict(config=dict(rope_style='axial')), "'axial' has no place in NEPAViT or ViT5"),
    ('rope_vit_t4.pt', False, {}, {}, 'by its name it has the RoPE of birder, which only ViT-5 has here'),
    ('vit_t4.pt', False, {'attn_pool.token': (1, )}, {}, "'attn_pool.token' of a birder model has no place in NEPAViT or ViT5"),
    ('vit_t4.pt', False, {'reg_tokens': (1, 4, WIDTH)}, {}, 'a birder model with registers that is no ViT-5 has no place'),
    ('vit_t4.pt', False, {}, dict(signature=dict(inputs=[dict(data_shape=[0, 3, 8, 8])])), '16 positions for 4 patches'),
])
def test_refused_in_one_line(tmp_path, name, vit5, more, facts, expected):
    address = saved(tmp_path / name, weights_of(vit5, **more), **facts)
    with pytest.raises(CheckpointError) as caught:
        nepa_mm.get_model(address)
    assert expected in str(caught.value) and address in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('network', ['naflex_vit_t16', 'naflex_vit_b16_ls', 'deit3_t16', 'rope_vit5_reg4_t16'])
def test_against_birders_own_classes(tmp_path, network):
    registry = pytest.importorskip('birder.model_registry').registry
    theirs = registry.net_factory(network, 0, 3, config=dict(num_layers=2), size=(64, 64)).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    address = saved(tmp_path / f'{network}.pt', theirs.state_dict(), config={},
                    signature=dict(inputs=[dict(data_shape=[0, 3, 64, 64])]))
    model, images = nepa_mm.get_model(address), torch.randn(2, 3, 64, 64)
    for causal in (True, False):
        theirs.set_causal_attention(causal)
        model.backbone.causal = causal
        torch.testing.assert_close(model.extract_feat(images)[0], theirs.forward_features(images), atol=1e-5, rtol=0)
