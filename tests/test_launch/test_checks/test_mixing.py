"""Each of its errors is a row of docs/mixing.md, which tests/test_mixing.py sees; here is what it leaves alone."""
import pytest
from mmengine.config import Config

from nepa_mm.launch.checks.mixing import check_mixing

NEPA_VIT = dict(type='nepa_mm.NEPAViT')
VIT = dict(type='VisionTransformer')


@pytest.mark.parametrize('model', [
    None,
    dict(type='MAE', backbone=dict(type='nepa_mm.MAENEPAViT')),
    dict(type='MAE', backbone=dict(type='MAEViT')),
    dict(type='mmpretrain.MFF', backbone=dict(type='MFFNEPAViT')),
    dict(type='EVA', backbone=dict(type='nepa_mm.MAENEPAViT'), target_generator=NEPA_VIT),
    dict(type='iTPN', backbone=dict(type='iTPNHiViT')),
    dict(type='Llava', vision_encoder=VIT),
    dict(type='EncoderDecoder', backbone=NEPA_VIT, decode_head=dict(type='nepa_mm.DMHead')),
    dict(type='EncoderDecoder', backbone=VIT, decode_head=[dict(type='FCNHead'), dict(type='DMHead')]),
    dict(type='ImageClassifier', backbone=dict(type='DistilledVisionTransformer'), head=dict(type='DeiTClsHead')),
    dict(type='ImageClassifier', backbone=dict(type='TIMMBackbone', model_name='resnet50'), head=dict(type='LinearClsHead')),
    dict(type='ImageClassifier', backbone=dict(type='TIMMBackbone', model_name='vit_base_patch16_224', features_only=True)),
    dict(type='ImageClassifier', backbone=dict(type='TIMMBackbone', model_name='vit_base_patch16_224'), neck=dict(type='MyNeck'),
         head=dict(type='LinearClsHead')),
    dict(type='HuggingFaceClassifier', model_name='microsoft/resnet-50'),
], ids=str)
def test_what_goes_together_passes(model):
    check_mixing(Config(dict(model=model)))



def test_what_has_no_loss_may_be_tested():
    check_mixing(Config(dict(model=dict(type='CLIPZeroShot', vision_backbone=NEPA_VIT))), ('test', ))
