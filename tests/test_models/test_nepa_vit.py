import math
import re
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, DefaultScope

from nepa_mm import NEPAViT
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.models.nepa_vit import shrinking_weights
from nepa_mm.variants import ARCHS
from tiny import TINY, randomize

PAPER = dict(with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True)


def tiny(**kwargs):
    return randomize(NEPAViT(**{**TINY, **kwargs})).eval()


@pytest.mark.parametrize('arch, millions', [
    ('tiny', 5.5), ('small', 21.5), ('base', 85.5), ('large', 303.0), ('huge', 630.5), ('giant', 1011.0)])
def test_parameters_of_each_arch(arch, millions):
    with torch.device('meta'):
        model = NEPAViT(arch)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize('kwargs', [dict(), PAPER])
def test_equals_the_formula_written_out(kwargs):
    """The forward pass of one block by hand: attention as softmax of a masked product, rotation as complex numbers."""
    model = tiny(arch=dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=12), norm_eps=1e-6, **kwargs)
    x, block = torch.randn(2, 3, 14, 21), model.layers[0]
    prefix = model.num_extra_tokens
    rows, columns, head_dim = 2, 3, 4

    def norm(value, layer=None):
        value = (value - value.mean(-1, keepdim=True)) / (value.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return value if layer is None else value * layer.weight + layer.bias

    patches = [x[:, :, 7 * r:7 * r + 7, 7 * c:7 * c + 7].flatten(1) for r in range(rows) for c in range(columns)]
    z = torch.stack(patches, 1) @ model.patch_embed.weight.flatten(1).T + model.patch_embed.bias
    if prefix:
        z = torch.cat([model.cls_token.expand(2, -1, -1), z], 1)
    torch.testing.assert_close(model.embed(x), z, atol=1e-5, rtol=1e-5)
    z = model.add_position(z, (rows, columns))

    def rotate(head):  # [B, L, 4]: pairs (0, 2) turn with y and (1, 3) with x, both with period 1
        out = head.clone()
        for t in range(rows * columns):
            y, x_ = (t // columns + 0.5) / rows * 2 - 1, (t % columns + 0.5) / columns * 2 - 1
            for first, coordinate in ((0, y), (1, x_)):
                turned = torch.complex(head[:, prefix + t, first], head[:, prefix + t, first + 2]) * complex(
                    math.cos(2 * math.pi * coordinate), math.sin(2 * math.pi * coordinate))
                out[:, prefix + t, first], out[:, prefix + t, first + 2] = turned.real, turned.imag
        return out

    q, k, v = (norm(z, block.ln1) @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, -1)
    heads = []
    for h in range(2):
        part = slice(h * head_dim, (h + 1) * head_dim)
        scores = rotate(norm(q[..., part])) @ rotate(norm(k[..., part])).transpose(1, 2) / head_dim**0.5
        scores = scores.masked_fill(torch.ones_like(scores[0]).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(-1) @ v[..., part])
    attended = torch.cat(heads, -1) @ block.attn.proj.weight.T + block.attn.proj.bias
    z = z + block.ls1.gamma * attended
    u, mlp = norm(z, block.ln2), block.mlp
    if kwargs:
        gate = u @ mlp.fc1_g.weight.T + mlp.fc1_g.bias
        hidden = gate / (1 + (-gate).exp()) * (u @ mlp.fc1_x.weight.T + mlp.fc1_x.bias)
    else:
        up = u @ mlp.fc1.weight.T + mlp.fc1.bias
        hidden = up * 0.5 * (1 + torch.erf(up / 2**0.5))
    z = z + block.ls2.gamma * (hidden @ mlp.fc2.weight.T + mlp.fc2.bias)
    torch.testing.assert_close(model(x)[0], norm(z, model.norm), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('kwargs', [dict(), PAPER])
@pytest.mark.parametrize('patch', [0, 5, 15])
def test_causal_output_before_a_changed_patch_is_bit_equal(kwargs, patch):
    x = torch.randn(2, 3, 28, 28)
    changed = x.clone()
    row, column = divmod(patch, 4)
    changed[:, :, 7 * row:7 * row + 7, 7 * column:7 * column + 7] += 1
    position = patch + (0 if kwargs else 1)

    causal = tiny(causal=True, **kwargs)
    before, after = causal(x)[0], causal(changed)[0]
    assert torch.equal(before[:, :position], after[:, :position])
    assert (before[:, position:] != after[:, position:]).any(-1).all()

    causal.causal = False
    assert (causal(x)[0] != causal(changed)[0]).any(-1).all()


def test_attention_gets_no_mask_tensor(monkeypatch):
    seen = []
    original = F.scaled_dot_product_attention

    def spy(*args, **kwargs):
        seen.append((kwargs.get('attn_mask'), kwargs['is_causal']))
        return original(*args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', spy)
    tiny()(torch.randn(1, 3, 28, 28))
    tiny(causal=False)(torch.randn(1, 3, 28, 28))
    assert seen == [(None, True)] * 3 + [(None, False)] * 3


def test_out_types_and_indices():
    x = torch.randn(2, 3, 28, 35)
    raw = tiny(out_indices=[0, -1])
    outs = raw(x)
    assert [tuple(o.shape) for o in outs] == [(2, 21, 16)] * 2

    def of_type(out_type):
        model = tiny(out_type=out_type, out_indices=[0, 2])
        model.load_state_dict(raw.state_dict(), strict=False)
        return model, model(x)

    for out_type, expected in dict(raw=outs[1], cls_token=outs[1][:, 0], last_token=outs[1][:, -1]).items():
        assert torch.equal(of_type(out_type)[1][1], expected)
    model, (_, pooled) = of_type('avg_featmap')
    assert torch.equal(pooled, model.fc_norm(outs[1][:, 1:].mean(1)))
    _, (first, last) = of_type('featmap')
    assert first.shape == last.shape == (2, 16, 4, 5)
    assert torch.equal(last[:, :, 1, 3], outs[1][:, 1 + 1 * 5 + 3])
    blocks = []
    for layer in raw.layers:
        layer.register_forward_hook(lambda module, args, out: blocks.append(out))
    raw(x)
    assert torch.equal(outs[0], blocks[0]) and torch.equal(outs[1], raw.norm(blocks[2]))  # final norm on the last alone
    normed = tiny(out_indices=[0, -1], final_norm='all')
    normed.load_state_dict(raw.state_dict())
    assert all(torch.equal(out, raw.norm(block)) for out, block in zip(normed(x), (blocks[0], blocks[2]), strict=True))
    assert torch.equal(normed.predict(normed.embed(x), (28, 35)), outs[1])


@pytest.mark.parametrize('size', [(28, 28), (7, 7), (30, 9), (50, 41), (8, 71)])
@pytest.mark.parametrize('kwargs', [dict(), PAPER])
def test_any_size(size, kwargs):
    out = tiny(out_type='featmap', **kwargs)(torch.randn(1, 3, *size))[0]
    assert out.shape[2:] == (math.ceil(size[0] / 7), math.ceil(size[1] / 7)) and out.isfinite().all()


@pytest.mark.parametrize('size', [(518, 518), (512, 512), (512, 683), (700, 512), (300, 517)])
def test_feature_map_lies_where_the_image_does(size):
    """Blocks switched off, a colour that encodes position: resized as heads do, features give each pixel its own position."""
    model = NEPAViT(
        dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8), patch_size=14, causal=False, out_type='featmap',
        layer_scale_init_value=0.)
    model.norm = torch.nn.Identity()
    with torch.no_grad():  # channel 0 is the mean of red over a patch, channel 1 of green
        model.patch_embed.weight.zero_()
        model.patch_embed.weight[0, 0] = model.patch_embed.weight[1, 1] = 1 / 14**2
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing='ij')
    image = torch.stack([rows, columns, torch.zeros(size)])[None]
    read = F.interpolate(model.eval()(image)[0], size=size, mode='bilinear', align_corners=False)[0, :2]
    for got, own in zip(read.flatten(1).double(), image[0, :2].flatten(1).double()):
        # Resizing repeats the outermost cells for half a patch, here as without padding; between them nothing may move.
        inner = (own >= 7) & (own <= own.max() - 21)
        assert (got - own)[inner].abs().max() < 0.5
        assert (got - own).abs().max() < 7.5 and abs((got - own).mean().item()) < 0.5
        slope = ((own - own.mean()) * (got - got.mean())).sum() / (own - own.mean()).square().sum()
        assert slope.item() == pytest.approx(1, abs=0.005)


def test_feature_map_keeps_its_precision_under_autocast():
    model, x = tiny(out_type='featmap', causal=False), torch.randn(1, 3, 25, 30)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        low = model(x)[0]
    assert low.dtype == torch.float32
    rows = shrinking_weights(4, 25 / 28, torch.device('cpu'))
    torch.testing.assert_close(rows.sum(1), torch.ones(4))
    assert rows[0].tolist() == pytest.approx([1, 0, 0, 0])  # clamped at the first cell's centre
    assert rows[3].tolist() == pytest.approx([0, 0, 0.375, 0.625])  # (3.5 * 25 / 28 - 0.5) = 2.625


def test_cls_token_under_a_causal_mask_warns():
    with pytest.warns(UserWarning, match='sees no patch; set causal=False'):
        tiny(out_type='cls_token')


def test_a_causal_feature_map_warns_once_under_mmseg():
    def segmentor(**kwargs):
        backbone = dict(type='nepa_mm.NEPAViT', **TINY, out_type='featmap', **kwargs)
        head = dict(type='FCNHead', in_channels=16, in_index=0, channels=4, num_convs=1, num_classes=2)
        MODELS.build(dict(type='EncoderDecoder', backbone=backbone, decode_head=head))

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('ignore')
        warnings.filterwarnings('default', message='.*dense prediction')  # Python's own: once for each place in the code
        tiny(out_type='featmap')  # features for any use
        with DefaultScope.overwrite_default_scope('mmseg'):
            segmentor(causal=False)
            assert not seen
            for _ in range(2):
                segmentor()
    assert [str(warning.message).partition(':')[0] for warning in seen] == ["out_type='featmap', causal=True"]


def test_position_embedding_is_resized_in_the_forward():
    small = tiny(**PAPER)
    assert small.pos_embed.shape == (1, 16, 16)
    constant = torch.full_like(small.pos_embed, 3.)
    small.pos_embed.data.copy_(constant)
    z = torch.zeros(1, 5 * 6, 16)
    torch.testing.assert_close(small.add_position(z, (5, 6)), z + 3, atol=1e-5, rtol=0)
    assert torch.equal(small.add_position(torch.zeros(1, 16, 16), (4, 4)), constant)


@pytest.mark.parametrize('frozen_stages, expected', [
    (-1, set()),
    (0, {'patch_embed.weight', 'patch_embed.bias'}),
    (1, {'patch_embed', 'cls_token', 'layers.0'}),
    (3, {'patch_embed', 'cls_token', 'layers', 'norm', 'fc_norm'}),
])
def test_frozen_stages(frozen_stages, expected):
    """No gradients, and in training the same outputs to the bit as in evaluation; what is not frozen moves at random."""
    model = randomize(NEPAViT(**TINY, out_type='avg_featmap', frozen_stages=frozen_stages, drop_path_rate=0.5))
    for name, parameter in model.named_parameters():
        frozen = any(name == part or name.startswith(part + '.') for part in expected)
        assert parameter.requires_grad != frozen, name
    images = torch.randn(4, 3, 28, 28)
    z = model.embed(images)
    evaluated = [*model.eval().hidden_states(z, (28, 28)), *model(images)]
    for _ in range(2):
        trained = [*model.train().hidden_states(z, (28, 28)), *model(images)]
        same = [torch.equal(ours, theirs) for ours, theirs in zip(trained, evaluated)]
        assert same == [i < frozen_stages or frozen_stages == 3 for i in range(4)]
    assert [layer.training for layer in model.layers] == [i >= frozen_stages for i in range(3)]
    assert any(module.training for module in model.modules()) == (frozen_stages < 3)


@pytest.mark.parametrize('with_cp, recomputed', [(False, 0), (True, 3), (1, 3), (2, 2), (3, 1)])
def test_with_cp_gives_the_same_gradients(with_cp, recomputed):
    x = torch.randn(2, 3, 28, 28)
    plain, saving = tiny(rope=dict(rescale=None)), tiny(rope=dict(rescale=None), with_cp=with_cp)
    saving.load_state_dict(plain.state_dict())
    passes = []
    for layer in saving.layers:
        layer.register_forward_pre_hook(lambda *args: passes.append(1))
    for model in (plain, saving):
        model.train()(x)[0].square().sum().backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters()):
        torch.testing.assert_close(one.grad, other.grad, msg=name)
    assert len(passes) == 3 + recomputed


def test_drop_path_rises_linearly_and_acts_in_training_alone():
    model = NEPAViT(**TINY, drop_path_rate=0.4, rope=None, layer_scale_init_value=1.)
    rates = [getattr(layer.drop_path, 'drop_prob', 0.) for layer in model.layers]
    assert rates == pytest.approx([0, 0.2, 0.4])
    x = torch.randn(64, 3, 28, 28)
    assert torch.equal(model.eval()(x)[0], model(x)[0])
    assert not torch.equal(model.train()(x)[0], model(x)[0])


def test_initial_values():
    model = NEPAViT('tiny', use_abs_pos_embed=True)
    for weight in (model.layers[0].attn.qkv.weight, model.layers[5].mlp.fc2.weight, model.patch_embed.weight, model.pos_embed):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05) and abs(weight.mean().item()) < 1e-3
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.3)
    assert not model.layers[0].attn.qkv.bias.any() and not model.patch_embed.bias.any()
    assert (model.layers[3].ls2.gamma == 1e-5).all()


def test_qk_norm_kinds():
    names = {kind: [n for n, _ in tiny(qk_norm=kind).layers[0].attn.named_parameters() if '_norm' in n]
             for kind in (None, 'plain', 'affine', 'affine_bias')}
    assert names[None] == names['plain'] == []
    assert names['affine'] == ['q_norm.weight', 'k_norm.weight'] and len(names['affine_bias']) == 4
    assert isinstance(tiny(qk_norm=None).layers[0].attn.q_norm, torch.nn.Identity)


def test_layer_depth_is_the_release_s():
    model = NEPAViT(**TINY, out_type='avg_featmap', use_abs_pos_embed=True)
    exponents = {}
    for name, _ in model.named_parameters():
        depth, count = model.get_layer_depth('backbone.' + name, 'backbone.')
        exponents[re.sub(r'(layers\.\d+).*', r'\1', name)] = count - 1 - depth
    assert exponents == {
        'cls_token': 3, 'pos_embed': 3, 'patch_embed.weight': 3, 'patch_embed.bias': 3, 'layers.0': 2, 'layers.1': 1,
        'layers.2': 0, 'norm.weight': 0, 'norm.bias': 0, 'fc_norm.weight': 0, 'fc_norm.bias': 0}
    assert model.get_layer_depth('head.fc.weight', 'backbone.') == (3, 4)


@pytest.mark.parametrize('kwargs, message', [
    (dict(arch='bse'), re.escape(f"'bse' is unknown | arch | choose from {list(ARCHS)}")),
    (dict(arch=dict(embed_dims=16)), r'has not exactly the keys .* \| arch'),
    (dict(arch=dict(embed_dims=16, num_layers=1, num_heads=3, feedforward_channels=8)), r'16 .*num_heads=3.* \| .*embed_dims'),
    (dict(arch=dict(embed_dims=16, num_layers=1, num_heads=0, feedforward_channels='8')),
     r"^\{'num_heads': 0, 'feedforward_channels': '8'\} is no whole number of 1 or more \| arch"),
    (dict(out_type='cls'), r"'cls' is unknown \| out_type \| choose from .*'last_token'"),
    (dict(out_type='cls_token', with_cls_token=False), 'needs with_cls_token=True'),
    (dict(out_type='cls_token', output_cls_token=True), r"^True, and out_type='cls_token' .* \| output_cls_token \| "),
    (dict(out_type='featmap', output_cls_token=True, with_cls_token=False), r'with_cls_token=False has no pairs'),
    (dict(out_indices=[0, 3]), r'3 is not in \[-3, 2\].* \| out_indices'),
    (dict(final_norm='first'), r"'first' is unknown \| final_norm \| choose from \['last', 'all'\]"),
    (dict(out_indices=-4), r'-4 is not in \[-3, 2\].* \| out_indices'),
    (dict(qk_norm='rms'), r"'rms' is unknown \| qk_norm"),
    (dict(act='swish2'), r"'swish2' is unknown \| act \| choose from"),
    (dict(arch=None), r'None is unknown \| arch'),
    (dict(with_cp=-1), r'-1 is no number of blocks \| with_cp'),
    (dict(patch_size=0), r'0 is no side.* \| patch_size'),
    (dict(patch_size=(7, 7)), r'\(7, 7\) is no side.* \| patch_size'),
    (dict(frozen_stages=4), r'4 is not in \[-1, 3\] \| frozen_stages'),
    (dict(img_size=30, use_abs_pos_embed=True), r'30 is not a multiple of patch_size=7.* \| img_size'),
    (dict(img_size=6), r'6x6 pixels is smaller than one patch \(7\) \| patch_size'),
])
def test_bad_arguments_name_value_and_choices(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        NEPAViT(**{**TINY, **kwargs})


def test_image_smaller_than_a_patch():
    with pytest.raises(ConfigError, match='28x6 pixels is smaller than one patch'):
        tiny()(torch.randn(1, 3, 28, 6))


def test_init_cfg_with_a_prefix_that_no_key_has(tmp_path):
    torch.save({'blocks.0.weight': torch.zeros(1)}, tmp_path / 'foreign.pth')
    init_cfg = dict(type='Pretrained', checkpoint=f'{tmp_path}/foreign.pth', prefix='backbone.')
    with pytest.raises(CheckpointError, match=r"^no weights of a NEPA ViT .* \['blocks.0.weight'\] \| .*foreign.pth \(init_cfg"):
        tiny(init_cfg=init_cfg).init_weights()


def test_init_cfg_with_other_shapes_names_the_checkpoint(tmp_path):
    torch.save({f'backbone.{name}': value for name, value in tiny(in_channels=1).state_dict().items()}, tmp_path / 'a.pth')
    init_cfg = dict(type='Pretrained', checkpoint=f'{tmp_path}/a.pth', prefix='backbone.')
    with pytest.raises(CheckpointError, match=r"\[16, 1, 7, 7\] there .* \| .*a.pth \(init_cfg=.*/a.pth"):
        tiny(init_cfg=init_cfg).init_weights()


def test_init_cfg_loads_and_fine_tuning_s_norms_start_as_identity(tmp_path):
    pretrained = tiny()
    torch.save({f'backbone.{name}': value for name, value in pretrained.state_dict().items()}, tmp_path / 'a.pth')
    init_cfg = dict(type='Pretrained', checkpoint=f'{tmp_path}/a.pth', prefix='backbone.')
    model = NEPAViT(**TINY, qk_norm='affine', out_type='avg_featmap', init_cfg=init_cfg)
    model.init_weights()
    for name, value in pretrained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert (model.layers[0].attn.q_norm.weight == 1).all() and (model.fc_norm.weight == 1).all()


def test_shapes_draw_no_values_until_they_have_memory():
    with torch.device('meta'):
        model = NEPAViT(**TINY)
    model.to_empty(device='cpu').reset_parameters()
    assert 0.01 < model.patch_embed.weight.std() < 0.03 and not model.patch_embed.bias.any()
