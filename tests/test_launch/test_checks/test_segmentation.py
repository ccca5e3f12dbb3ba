import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks.segmentation import check_segmentor
from tiny import ROOT, TINY

ARCH = {**TINY['arch'], 'num_layers': 4}
PYRAMID = dict(type='Feature2Pyramid', embed_dim=16, rescales=[4, 2, 1, 0.5])
SEGMENTATION = sorted((ROOT / 'configs/segmentation').glob('*.py'))


@pytest.mark.parametrize('path', SEGMENTATION, ids=[path.stem for path in SEGMENTATION])
def test_configs_pass(path):
    check_segmentor(Config.fromfile(path))


def segmentor(**parts) -> Config:
    """UPerNet's parts around a tiny backbone of 4 blocks; a part given as None is left out."""
    model = dict(
        backbone=dict(type='nepa_mm.NEPAViT', out_type='featmap', out_indices=[0, 1, 2, 3], **{**TINY, 'arch': ARCH}),
        neck=PYRAMID,
        decode_head=dict(type='UPerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3]),
        auxiliary_head=dict(type='FCNHead', in_channels=16, in_index=-1),
        data_preprocessor=dict(type='SegDataPreProcessor', size=(28, 28)),
        test_cfg=dict(mode='slide', crop_size=(28, 28), stride=(20, 28)))
    for name, part in parts.items():
        model[name] = {**model[name], **part} if isinstance(part, dict) else part
    crop = dict(type='RandomCrop', crop_size=(28, 28))
    return Config(dict(model=model, train_dataloader=dict(dataset=dict(type='BaseSegDataset', pipeline=[crop]))))


@pytest.mark.parametrize('parts', [
    dict(),
    dict(auxiliary_head=None),
    dict(auxiliary_head=[dict(in_channels=16), dict(in_channels=16, in_index=0)]),
    dict(neck=None),
    dict(neck=None, decode_head=dict(type='DPTHead'), auxiliary_head=None, backbone=dict(output_cls_token=True)),
    dict(neck=dict(type='nepa_mm.SimplePyramid', embed_dims=16, out_channels=16), backbone=dict(out_indices=-1)),
    dict(neck=dict(type='mmseg.MultiLevelNeck', in_channels=[16] * 4, out_channels=16, scales=[4, 2, 1, 0.5])),
    dict(neck=dict(type='NeckOfAnother'), decode_head=dict(in_channels=[8] * 5, in_index=[0, 1, 2, 3, 4])),
    dict(decode_head=dict(type='HeadOfAnother', in_channels=[8, 8], in_index=None)),
    dict(backbone=dict(type='mmpretrain.VisionTransformer', out_indices=[99])),
    dict(test_cfg=dict(mode='whole', stride=None, crop_size=None)),
    dict(neck=[dict(type='Feature2Pyramid', embed_dim=16), dict(type='FPN')], decode_head=dict(in_channels=[8] * 4)),
    dict(neck=dict(rescales=[2, 1, 0.5, 0.25])),
    dict(backbone=dict(patch_size=(7, 7))),  # which the backbone refuses
    dict(neck=None, auxiliary_head=None, backbone=dict(output_cls_token=True),
         decode_head=dict(type='nepa_mm.NamedHeads', heads=dict(
        linear=dict(type='FCNHead', in_channels=16, in_index=3),
        dpt=dict(type='DPTHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3]),
        upernet=dict(type='UPerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3], neck=PYRAMID)))),
    dict(neck=dict(type='NeckOfAnother'), auxiliary_head=None, decode_head=dict(type='nepa_mm.NamedHeads', heads=dict(
        upernet=dict(type='UPerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3], neck=PYRAMID)))),
])
def test_what_works_passes(parts):
    check_segmentor(segmentor(**parts))


@pytest.mark.parametrize('parts, message', [
    (dict(backbone=dict(out_indices=[0, 1, 4])),
     r'\[0, 1, 4\]: 4 is not in \[-4, 3\], the blocks of model.backbone.arch=.* \| model.backbone.out_indices'),
    (dict(backbone=dict(out_indices=[0, 2])),
     r'\[4, 2, 1, 0.5\] takes 4 maps, but model.backbone.out_indices=\[0, 2\] gives 2 \| model.neck.rescales'),
    (dict(backbone=dict(out_indices=[3, 3, -1])), r'.* takes 4 maps, but model.backbone.out_indices=\[3, 3, -1\] gives 1'),
    (dict(backbone=dict(out_indices=[0, 2]), neck=None),
     r'\[0, 1, 2, 3\]: 2 is not in \[-2, 1\], the 2 feature maps of model.backbone.out_indices=.* \| model.decode_head.in_index'),
    (dict(auxiliary_head=dict(in_index=4)),
     r"4: 4 is not in \[-4, 3\], the 4 feature maps of model.neck.type='Feature2Pyramid' \| model.auxiliary_head.in_index"),
    (dict(auxiliary_head=[dict(in_channels=16), dict(in_channels=8)]),
     r"8: map -1 of model.neck.type='Feature2Pyramid' has 16 channels \| model.auxiliary_head.1.in_channels"),
    (dict(decode_head=dict(in_channels=[16, 32, 16, 16])),
     r'\[16, 32, 16, 16\]: map 1 of .* has 16 channels \| model.decode_head.in_channels'),
    (dict(decode_head=dict(in_channels=[16, 16])),
     r'\[16, 16\] and model.decode_head.in_index=\[0, 1, 2, 3\] are not as many \| model.decode_head.in_channels'),
    (dict(neck=dict(embed_dim=768)), r'768 differs from the width of model.backbone.arch, 16 \| model.neck.embed_dim'),
    (dict(neck=dict(type='MultiLevelNeck', in_channels=[16, 16])),
     r'\[16, 16\] differs from the maps of model.backbone.out_indices=.* \| model.neck.in_channels \| .*\[16, 16, 16, 16\]'),
    (dict(neck=dict(rescales=[4, 2, 1])),
     r'\[4, 2, 1\] is neither \[4, 2, 1, 0.5\] nor \[2, 1, 0.5, 0.25\] \| model.neck.rescales \| '),
    (dict(neck=None, decode_head=dict(type='mmseg.DPTHead')),
     r'False, and model.decode_head takes pairs of feature map and \[CLS\] \| model.backbone.output_cls_token \| set it to True'),
    (dict(neck=None, decode_head=dict(type='nepa_mm.NamedHeads', heads=dict(
        upernet=dict(type='UPerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3], neck={**PYRAMID, 'embed_dim': 768})))),
     r'768 differs from the width of model.backbone.arch, 16 \| model.decode_head.heads.upernet.neck.embed_dim'),
    (dict(neck=None, decode_head=dict(type='nepa_mm.NamedHeads', heads=dict(
        linear=dict(type='FCNHead', in_channels=16, in_index=4)))),
     r'4: 4 is not in .* \| model.decode_head.heads.linear.in_index'),
    (dict(neck=dict(type='nepa_mm.ViTAdapter', embed_dims=16)),
     r"None gives no images to model.neck, a ViTAdapter \| model.type \| set 'nepa_mm.AdaptedEncoderDecoder'"),
    (dict(backbone=dict(out_indices=None)),
     r'None is neither the number of a block, such as -1 for the last, nor a list.* \| model.backbone.out_indices'),
    (dict(backbone=dict(out_indices='last')), r"'last' is neither the number of a block.* \| model.backbone.out_indices"),
    (dict(backbone=dict(out_indices=[])), r'\[\] is neither the number of a block.* \| model.backbone.out_indices'),
    (dict(backbone=dict(out_indices=[0, 1.0])), r'\[0, 1.0\] is neither the number of a block.* \| model.backbone.out_indices'),
    (dict(backbone=dict(out_type=None)), r'None gives no feature maps.* \| model.backbone.out_type'),
    (dict(decode_head=dict(in_index=3)),
     r'\[16, 16, 16, 16\] and model.decode_head.in_index=3 are a list and a number \| model.decode_head.in_channels \| give two'),
    (dict(neck=[dict(type='FPN')], auxiliary_head=dict(in_index=[0, 1])),
     r'16 and model.auxiliary_head.in_index=\[0, 1\] are a list and a number \| model.auxiliary_head.in_channels'),
    (dict(backbone=dict(arch='basic')), r"'basic' is unknown \| model.backbone.arch \| choose from"),
    (dict(backbone=dict(out_type='raw')), r"'raw' gives no feature maps .* \| model.backbone.out_type \| "
                                          r"set 'padded_featmap' for"),
    (dict(backbone=dict(out_type='avg_featmap')), r"'avg_featmap' gives no feature maps.* \| model.backbone.out_type"),
    (dict(test_cfg=dict(crop_size=None)), r"None, but mode='slide' needs a pair.* \| model.test_cfg.crop_size"),
    (dict(test_cfg=dict(windows_at_once=0)), r'0 is no number of windows \| model.test_cfg.windows_at_once \| give 1 or more'),
    (dict(test_cfg=dict(windows_at_once=2.5)), r'2.5 is no number of windows'),
    (dict(test_cfg=dict(stride=20)), r"20, but mode='slide' needs a pair.* \| model.test_cfg.stride"),
    (dict(test_cfg=dict(stride=(20, 29))),
     r'\(20, 29\) is not in 1 to model.test_cfg.crop_size=\(28, 28\): larger steps leave pixels between.* \| '
     r'model.test_cfg.stride'),
    (dict(test_cfg=dict(crop_size=(28, 6), stride=(6, 6))),
     r'\(28, 6\) is smaller than one patch, model.backbone.patch_size=7 \| model.test_cfg.crop_size \| '
     r'use larger crops or smaller'),
    (dict(data_preprocessor=dict(size=(6, 28))), r'\(6, 28\) is smaller than one patch.* \| model.data_preprocessor.size'),
    (dict(backbone=dict(patch_size=32), data_preprocessor=dict(size=None), test_cfg=dict(crop_size=(32, 32))),
     r'\(28, 28\) is smaller than one patch, model.backbone.patch_size=32 \| train_dataloader.dataset.pipeline.0.crop_size'),
])
def test_what_cannot_work_is_named_by_its_keys(parts, message):
    with pytest.raises(ConfigError, match=f'^{message}'):
        check_segmentor(segmentor(**parts))


def test_crops_of_a_wrapper_around_a_dataset_are_seen():
    cfg = segmentor()
    crop = dict(type='RandomCrop', crop_size=(4, 28))
    cfg.train_dataloader.dataset = dict(type='MultiImageMixDataset', dataset=cfg.train_dataloader.dataset, pipeline=[crop])
    with pytest.raises(ConfigError, match=r'^\(4, 28\) is smaller than one patch.* \| '
                                          r'train_dataloader.dataset.pipeline.0.crop_size'):
        check_segmentor(cfg)


@pytest.mark.parametrize('preprocessor', ['SegDataPreProcessor', 'mmseg.SegDataPreProcessor'])
def test_labels_in_bytes_need_a_preprocessor_that_widens_them(preprocessor):
    cfg = segmentor(data_preprocessor=dict(type=preprocessor), backbone=dict(type='mmseg.ResNet'))
    cfg.train_dataloader.dataset.pipeline.append(dict(type='nepa_mm.PackSegInputs'))
    with pytest.raises(ConfigError, match=rf"^'{preprocessor}' leaves labels in the bytes that train_dataloader.dataset."
                                          r'pipeline.1.type.* \| model.data_preprocessor.type \| '):
        check_segmentor(cfg)
    cfg.model.data_preprocessor.type = 'nepa_mm.SegDataPreProcessor'
    check_segmentor(cfg)


def test_configs_without_a_segmentor_pass():
    check_segmentor(Config(dict()))
    check_segmentor(Config.fromfile(next((ROOT / 'configs/pretrain').glob('nepa*.py'))))
