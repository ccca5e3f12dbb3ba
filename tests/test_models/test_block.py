from functools import partial

import pytest
import torch
import torch.nn.functional as F
from timm.layers import AttentionRope
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from nepa_mm import NEPAViT
from nepa_mm.models.block import QK_NORMS, Attention, rotations_of_all
from nepa_mm.models.rope2d import RoPE2D
from tiny import TINY, randomize


def attention(qk_norm='plain', qkv_bias=True):
    return randomize(Attention(24, 3, qkv_bias, qk_norm, 1e-12))


def timm_s(ours, qk_norm, qkv_bias, extra):
    norm = partial(nn.LayerNorm, eps=1e-12, **(QK_NORMS[qk_norm] or {}))
    theirs = AttentionRope(24, 3, qkv_bias=qkv_bias, num_prefix_tokens=extra, qk_norm=qk_norm is not None, norm_layer=norm,
                           rotate_half=True)
    theirs.load_state_dict(ours.state_dict())
    return theirs


@pytest.mark.parametrize('qk_norm', QK_NORMS)
@pytest.mark.parametrize('extra, with_rope, qkv_bias, causal', [
    (1, True, True, True), (0, True, True, False), (1, False, False, True), (1, True, False, False)])
def test_equals_timm_s_attention_bit_for_bit(qk_norm, extra, with_rope, qkv_bias, causal):
    ours = attention(qk_norm, qkv_bias)
    table = RoPE2D(8)((3, 4), (3, 4), torch.device('cpu')) if with_rope else None
    results = []
    for module, rope in ((ours, None if table is None else rotations_of_all(table, extra)),
                         (timm_s(ours, qk_norm, qkv_bias, extra), table)):
        x = torch.linspace(-2, 2, 2 * (12 + extra) * 24).sin().reshape(2, 12 + extra, 24).requires_grad_()
        out = module(x, rope, causal) if module is ours else module(x, rope=rope, is_causal=causal)
        out.square().sum().backward()
        results.append([out, x.grad, *(p.grad for p in module.parameters())])
    torch.testing.assert_close(results[0][0], results[1][0], atol=0, rtol=0)
    largest = max(t.abs().max().item() for t in results[1])  # without RoPE, keys have a bias whose gradient is 0 but for rounding
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6 * largest, rtol=0)


@pytest.mark.parametrize('causal', [True, False])
def test_attention_that_is_not_fused_computes_the_same(causal):
    ours, results = attention().double(), []
    rope = rotations_of_all(RoPE2D(8)((3, 4), (3, 4), torch.device('cpu')), 1)
    for ours.fused in (True, False):
        x = torch.linspace(-2, 2, 2 * 13 * 24, dtype=torch.double).sin().reshape(2, 13, 24).requires_grad_()
        out = ours(x, rope, causal)
        results.append((out, *torch.autograd.grad(out.square().sum(), (x, *ours.parameters()))))
    torch.testing.assert_close(*results, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize('fused', [True, False])
def test_a_mask_says_which_tokens_each_sees(fused):
    """What is masked may change; the triangle is causal attention."""
    torch.manual_seed(0)
    attention = randomize(Attention(16, 2, True, 'affine', 1e-6))
    attention.fused = fused
    x, mask = torch.randn(2, 6, 16), torch.rand(2, 1, 6, 6) < 0.6
    mask[:, :, :, 0], mask[..., 4, 5], mask[..., 3, 5] = True, False, True
    changed = x.clone()
    changed[:, 5] += 1
    with torch.no_grad():
        before, after = attention(x, None, mask), attention(changed, None, mask)
        triangle = torch.ones(2, 1, 6, 6, dtype=torch.bool).tril()
        assert torch.allclose(attention(x, None, triangle), attention(x, None, True), atol=1e-5)
    assert torch.equal(before[:, 4], after[:, 4]) and (before[:, 3] != after[:, 3]).any(-1).all()


def test_an_extra_token_is_not_turned_and_each_image_may_have_its_own_rotations():
    table = torch.randn(5, 4, 16)  # B, T, 2 * d
    rotations = rotations_of_all(table, 1)
    assert rotations.shape == (5, 5, 1, 16)
    assert rotations[:, 0].unique().tolist() == [0, 1] and (rotations[:, 0, :, 8:] == 1).all()
    ours, x = attention('plain'), torch.randn(5, 5, 24)
    plain, turned = ours.queries_keys_values(x, None), ours.queries_keys_values(x, rotations)
    for before, after in zip(plain[:2], turned[:2]):
        assert torch.equal(before[:, 0], after[:, 0]) and not torch.equal(before[:, 1:], after[:, 1:])
    third = ours.queries_keys_values(x[3:4], rotations_of_all(table[3], 1))
    torch.testing.assert_close(third[0][0], turned[0][3])


@pytest.mark.parametrize('qk_norm', ['plain', 'affine', None])
@pytest.mark.parametrize('low', [False, True])
def test_flash_attention_takes_queries_keys_and_values(qk_norm, low, monkeypatch):
    """One type and a last stride of 1; with all other kernels of SDPA switched off it would raise if it did not."""
    seen = []
    original = F.scaled_dot_product_attention
    monkeypatch.setattr(F, 'scaled_dot_product_attention', lambda *args, **kwargs: seen.append(args) or original(*args, **kwargs))
    model = NEPAViT(**TINY, qk_norm=qk_norm)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.autocast('cpu', dtype=torch.bfloat16, enabled=low):
        model(torch.randn(2, 3, 28, 28))[0].float().square().sum().backward()
    assert len(seen) == 3
    for qkv in seen:
        assert {t.dtype for t in qkv} == {torch.bfloat16 if low else torch.float32}
        assert all(t.shape == (2, 2, 17, 8) and t.stride(-1) == 1 for t in qkv)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_flash_attention_on_a_gpu():
    model = NEPAViT(**{**TINY, 'arch': dict(embed_dims=128, num_layers=1, num_heads=2, feedforward_channels=64)}).cuda()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.autocast('cuda', dtype=torch.bfloat16):
        model(torch.randn(2, 3, 28, 28, device='cuda'))[0].float().square().sum().backward()


@pytest.mark.parametrize('kwargs', [dict(), dict(with_cls_token=False)])
def test_the_residual_stream_is_in_float32_under_autocast(kwargs):
    """LayerScale begins at 1e-5: in bfloat16, of 8 bits, what a block adds would be rounded away."""
    model, types = NEPAViT(**TINY, **kwargs), []
    for layer in model.layers:
        layer.register_forward_hook(lambda module, args, out: types.append(out.dtype))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        model(torch.randn(2, 3, 28, 28))
    assert types == [torch.float32] * 3
