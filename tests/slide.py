"""A tiny segmentor of slide mode."""
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from tiny import TINY, randomize

HEAD = dict(
    type='FCNHead', in_channels=16, in_index=0, channels=16, num_convs=1, concat_input=False, dropout_ratio=0, num_classes=3,
    norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'))


def segmentor(kind='nepa_mm.PaddedEncoderDecoder', head=None, **test_cfg):
    backbone = dict(type='nepa_mm.NEPAViT', **{**TINY, 'patch_size': 8}, causal=False, out_indices=0,
                    out_type='padded_featmap' if 'Padded' in kind else 'featmap')
    torch.manual_seed(0)
    return randomize(MODELS.build(Config(dict(model=dict(
        type=kind, backbone=backbone, decode_head={**HEAD, **(head or {})},
        test_cfg={'mode': 'slide', 'crop_size': (28, 28), 'stride': (20, 18), **test_cfg}))).model)).eval()


def metas(size, images):
    return [dict(ori_shape=size, img_shape=size, pad_shape=size) for _ in range(images)]
