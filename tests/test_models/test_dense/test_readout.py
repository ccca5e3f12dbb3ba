"""What mmseg's DPTHead reads of [CLS] from a NEPAViT."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.models.backbones import VisionTransformer
from mmseg.models.decode_heads import DPTHead
from mmseg.models.decode_heads.dpt_head import ReassembleBlocks

from nepa_mm.models import NEPAViT
from tiny import TINY, randomize

ARCH = dict(TINY['arch'], num_layers=4)
BLOCKS = [0, 1, 2, 3]


def backbone(**kwargs) -> NEPAViT:
    torch.manual_seed(0)
    return randomize(NEPAViT(**{
        **TINY, 'arch': ARCH, 'causal': False, 'out_type': 'featmap', 'out_indices': BLOCKS, 'output_cls_token': True, **kwargs}))


def test_pairs_are_the_feature_map_and_cls_of_a_block_as_mmseg_s_vit_gives_them():
    x = torch.randn(2, 3, 28, 35)
    with torch.no_grad():
        ours = backbone()(x)
        states = backbone(out_type='raw', output_cls_token=False)(x)
        theirs = VisionTransformer(img_size=(28, 35), patch_size=7, embed_dims=16, num_layers=4, num_heads=2, mlp_ratio=2,
                                   out_indices=BLOCKS, output_cls_token=True)(x)
    assert [[part.shape for part in pair] for pair in ours] == [[part.shape for part in pair] for pair in theirs]
    for (featmap, cls_token), state in zip(ours, states, strict=True):
        assert torch.equal(cls_token, state[:, 0])
        assert torch.equal(featmap.flatten(2).transpose(1, 2), state[:, 1:])


@pytest.mark.parametrize('readout', ['ignore', 'add', 'project'])
def test_readout_is_the_formula_of_dpt(readout):
    """Per patch: the patch; plus [CLS]; or GELU(W [patch, CLS] + b), arXiv 2103.13413, section 3.1; then mmseg's layers."""
    blocks = randomize(ReassembleBlocks(16, [8] * 4, readout, patch_size=7)).eval()
    plain = ReassembleBlocks(16, [8] * 4, 'ignore', patch_size=7).eval()
    plain.load_state_dict(blocks.state_dict(), strict=False)
    with torch.no_grad():
        pairs = backbone().eval()(torch.randn(2, 3, 28, 35))
        expected = []
        for i, (featmap, cls_token) in enumerate(pairs):
            patches = featmap.permute(0, 2, 3, 1)  # [B, h, w, D]
            token = cls_token[:, None, None].expand_as(patches)
            if readout == 'add':
                patches = patches + token
            elif readout == 'project':
                linear = blocks.readout_projects[i][0]
                patches = F.gelu(F.linear(torch.cat([patches, token], -1), linear.weight, linear.bias))
            expected.append((patches.permute(0, 3, 1, 2), None))
        for ours, theirs in zip(blocks(list(pairs)), plain(expected), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize('readout, frozen_stages, reached', [('project', -1, True), ('ignore', -1, False), ('project', 4, False)])
def test_gradients_reach_cls_only_where_it_is_read_and_trained(readout, frozen_stages, reached):
    """The last block's [CLS] alone: earlier ones are attended to as well."""
    vit = backbone(frozen_stages=frozen_stages)
    head = MODELS.build(dict(
        type='mmseg.DPTHead', in_channels=[16] * 4, in_index=BLOCKS, channels=8, embed_dims=16, post_process_channels=[8] * 4,
        readout_type=readout, num_classes=3, input_transform='multiple_select', norm_cfg=dict(type='BN')))
    assert type(head) is DPTHead
    pairs = vit(torch.randn(2, 3, 28, 28))
    cls_token = pairs[-1][1]
    assert cls_token.requires_grad == (frozen_stages < 4)
    logits = head(pairs)
    assert logits.shape == (2, 3, 32, 32)
    logits.square().mean().backward(inputs=[*head.parameters(), *([cls_token] if cls_token.requires_grad else [])])
    assert (cls_token.grad is not None and bool(cls_token.grad.any())) == reached
    assert head.conv_seg.weight.grad.any()
