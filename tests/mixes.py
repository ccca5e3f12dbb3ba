"""The pairs of docs/mixing.md: which algorithm, backbone and head go together, as configs of tiny models."""
from dataclasses import dataclass
from importlib import import_module

from mmengine.config import Config

from tiny import ROOT, TINY

WORKS = 'works'
D = 16
ARCH = TINY['arch']
NEPA_VIT = dict(type='nepa_mm.NEPAViT', **TINY)  # 16 patches of 7 pixels
PREPROCESSOR = dict(type='mmpretrain.SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)


@dataclass
class Pair:
    """One row of the table.

    Attributes:
        group: Heading of its table.
        whole: The algorithm, or what else stands around the backbone.
        part: The backbone, or the head.
        cfg: Config of the model.
        data: Kind of batch, a name in ``tests/test_mixing.py``.
        outcome: 'works', or 'refused: ...' and why.
        error: What checking the config, building it or training it a step says then.
        scope: The host whose default scope it is built under.
        needs: Module without which it is skipped.
    """
    group: str
    whole: str
    part: str
    cfg: dict
    data: str = 'images'
    outcome: str = WORKS
    error: str = ''
    scope: str = 'mmpretrain'
    needs: str | None = None

    def __str__(self) -> str:
        return f'{self.whole}-{self.part}'.replace(' ', '_')


def importable(name):
    try:
        import_module(name)
    except (ImportError, AssertionError):  # mmdet asserts a range of mmcv's versions
        return False
    return True


# NEPA over other backbones

def timm_backbone(name, **kwargs):
    return dict(type='nepa_mm.CausalTIMMBackbone', model_name=name, img_size=28, patch_size=7, embed_dim=D, depth=2, num_heads=2,
                **kwargs)


def over(backbone, **kwargs):
    return dict(type='nepa_mm.NEPA', backbone=backbone, **kwargs)


HOST_VIT = dict(arch=ARCH, img_size=28, patch_size=7)
BACKBONES = {
    'NEPAViT': NEPA_VIT,
    'VisionTransformer, by CausalVisionTransformer': dict(type='nepa_mm.CausalVisionTransformer', **HOST_VIT),
    'VisionTransformer of CLIP and LLaVA, by CausalVisionTransformer': dict(
        type='nepa_mm.CausalVisionTransformer', pre_norm=True, layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
        **HOST_VIT),
    'BEiTViT, by CausalBEiTViT': dict(type='nepa_mm.CausalBEiTViT', **HOST_VIT),
    'timm ViT, by CausalTIMMBackbone': timm_backbone('vit_tiny_patch16_224'),
    'timm ViT with registers': timm_backbone('vit_base_patch14_reg4_dinov2'),
    'timm ViT without [CLS] (SigLIP, SigLIP 2)': timm_backbone('vit_base_patch16_siglip_224'),
    'timm ViT of CLIP': timm_backbone('vit_base_patch16_clip_224'),
    'timm DeiT III': timm_backbone('deit3_small_patch16_224'),
    'timm EVA-02': timm_backbone('eva02_tiny_patch14_224'),
    'timm DINOv3': timm_backbone('vit_small_patch16_dinov3'),
    'timm Perception Encoder': timm_backbone('vit_pe_core_base_patch16_224'),
    'timm NaFlexViT, by CausalNaFlexViT': dict(
        type='nepa_mm.CausalNaFlexViT', model_name='naflexvit_base_patch16_gap', pos_embed_grid_size=(4, 4), patch_size=7,
        embed_dim=D, depth=2, num_heads=2),
    "birder's ViT-5, ViT5": dict(type='nepa_mm.ViT5', **HOST_VIT),
}
LACKING = {
    'ViTEVA02': (dict(type='mmpretrain.ViTEVA02', arch='tiny', img_size=28), "use timm's EVA-02, by CausalTIMMBackbone"),
    'VisionTransformer as it is': (dict(type='mmpretrain.VisionTransformer', **HOST_VIT), 'use CausalVisionTransformer'),
    'SwinTransformer': (dict(type='mmpretrain.SwinTransformer', arch='tiny'), 'windows and merged patches have no raster order'),
    'ResNet': (dict(type='mmpretrain.ResNet', depth=18), 'a convolution has no sequence of patches'),
}
REFUSED_TIMM = {
    'timm BEiT': (timm_backbone('beit_base_patch16_224'), 'takes no is_causal', 'no is_causal in timm; use CausalBEiTViT'),
    'timm Swin': (
        dict(type='nepa_mm.CausalTIMMBackbone', model_name='swin_tiny_patch4_window7_224', embed_dim=8, depths=(1, ),
             num_heads=(1, )), 'takes no is_causal', 'no is_causal in timm'),
    'timm ResNet': (
        dict(type='nepa_mm.CausalTIMMBackbone', model_name='resnet18'), 'takes no is_causal', 'no is_causal in timm'),
    'timm distilled DeiT': (
        timm_backbone('deit_tiny_distilled_patch16_224'), 'does more than', 'its head averages two tokens before NEPA sees any'),
    'timm hybrid ViT': (
        dict(type='nepa_mm.CausalTIMMBackbone', model_name='vit_tiny_r_s16_p8_224', img_size=64, depth=1), 'share pixels',
        'convolutions under the patches see the next ones'),
}
NEPA_OVER = 'NEPA over other backbones'
PAIRS = [Pair(NEPA_OVER, 'NEPA', name, over(cfg)) for name, cfg in BACKBONES.items()]
PAIRS += [Pair(NEPA_OVER, 'NEPA with mask_ratio', name, over(BACKBONES[name], mask_ratio=0.4)) for name in (
    'NEPAViT', 'VisionTransformer, by CausalVisionTransformer', 'timm ViT with registers')]
PAIRS += [
    Pair(NEPA_OVER, 'NEPA', name, over(cfg), outcome=f'refused: {why}', error='has no embed, which NEPA asks for')
    for name, (cfg, why) in LACKING.items()]
PAIRS.append(Pair(
    NEPA_OVER, 'NEPA', "HuggingFaceClassifier, mmpretrain's one wrapper of transformers' image models",
    over(dict(type='mmpretrain.HuggingFaceClassifier', model_name='facebook/dinov3-vits16-pretrain-lvd1689m')),
    outcome='refused: it gives scores of classes alone; timm has DINOv3 and SigLIP 2', error='gives scores of classes alone'))
PAIRS += [
    Pair(NEPA_OVER, 'NEPA', name, over(cfg), outcome=f'refused: {why}', error=error)
    for name, (cfg, error, why) in REFUSED_TIMM.items()]
PAIRS += [
    Pair(NEPA_OVER, 'NEPA and labels, SupervisedNEPA', name,
         over(BACKBONES[name], cls_head=dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=D))
         | dict(type='nepa_mm.SupervisedNEPA'), 'labels')
    for name in ('NEPAViT', 'VisionTransformer, by CausalVisionTransformer')]


# Algorithms of mmpretrain over NEPA's backbone

def features(out_type, **kwargs):
    return dict(NEPA_VIT, causal=False, out_type=out_type, **kwargs)


def mlp(in_channels=D, **kwargs):
    return dict(type='NonLinearNeck', in_channels=in_channels, hid_channels=8, out_channels=8, with_avg_pool=False, **kwargs)


def algorithm(name, backbone, neck, head, **kwargs):
    return dict(type=name, data_preprocessor=PREPROCESSOR, backbone=backbone, neck=neck, head=head, **kwargs)


CONTRASTIVE = dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2)
LATENT = dict(type='LatentPredictHead', predictor=mlp(8), loss=dict(type='CosineSimilarityLoss'))
MASKED = dict(type='nepa_mm.MAENEPAViT', **TINY)
DECODER = dict(type='MAEPretrainDecoder', num_patches=16, patch_size=7, embed_dim=D, decoder_embed_dim=D, decoder_depth=1,
               decoder_num_heads=2)
NEPA_UNDER = 'Algorithms of mmpretrain over NEPAViT'
PAIRS += [Pair(NEPA_UNDER, cfg['type'], part, cfg, data) for part, data, cfg in [
    ('MAENEPAViT', 'images', algorithm(
        'MAE', MASKED, DECODER,
        dict(type='MAEPretrainHead', norm_pix=True, patch_size=7, loss=dict(type='PixelReconstructionLoss', criterion='L2')))),
    ('SimMIMNEPAViT', 'masks', algorithm(
        'SimMIM', dict(type='nepa_mm.SimMIMNEPAViT', **TINY), dict(type='SimMIMLinearDecoder', in_channels=D, encoder_stride=7),
        dict(type='SimMIMHead', patch_size=7, loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)))),
    ('MAENEPAViT, with a stand-in for CLIP', 'images', algorithm(
        'EVA', MASKED, dict(DECODER, predict_feature_dim=8), dict(type='MIMHead', loss=dict(type='CosineSimilarityLoss')),
        target_generator=dict(type='StandInForCLIP'))),
    ('NEPAViT, mean of patches', 'views', algorithm(
        'MoCoV3', features('avg_featmap', frozen_stages=0), mlp(),
        dict(type='MoCoV3Head', predictor=mlp(8), loss=dict(type='CrossEntropyLoss'), temperature=0.2))),
    ('NEPAViT, [CLS]', 'views', algorithm(
        'MoCoV3', features('cls_token', frozen_stages=0), mlp(),
        dict(type='MoCoV3Head', predictor=mlp(8), loss=dict(type='CrossEntropyLoss'), temperature=0.2))),
    ('NEPAViT, mean of patches', 'views', algorithm(
        'MoCo', features('avg_featmap'), mlp(), CONTRASTIVE, queue_len=8, feat_dim=8, momentum=0.001)),
    ('NEPAViT, mean of patches', 'views', algorithm('SimCLR', features('avg_featmap'), mlp(), CONTRASTIVE)),
    ('NEPAViT, mean of patches', 'views', algorithm('SimSiam', features('avg_featmap'), mlp(), LATENT)),
    ('NEPAViT, mean of patches', 'views', algorithm('BYOL', features('avg_featmap'), mlp(), LATENT, base_momentum=0.01)),
    ('NEPAViT, mean of patches', 'views', algorithm(
        'BarlowTwins', features('avg_featmap'), mlp(),
        dict(type='LatentCrossCorrelationHead', in_channels=8, loss=dict(type='CrossCorrelationLoss')))),
    ('NEPAViT, feature map', 'views', algorithm(
        'SwAV', features('featmap'),
        dict(type='SwAVNeck', in_channels=D, hid_channels=8, out_channels=8, norm_cfg=dict(type='BN1d')),
        dict(type='SwAVHead', loss=dict(type='SwAVLoss', feat_dim=8, num_prototypes=4, num_crops=[2])))),
    ('NEPAViT, feature map', 'views', algorithm(
        'DenseCL', features('featmap'), dict(type='DenseCLNeck', in_channels=D, hid_channels=8, out_channels=8), CONTRASTIVE,
        queue_len=8, feat_dim=8)),
]]
TOKENS = dict(type='DALL-E', n_hid=4, n_blk_per_group=1, vocab_size=8)  # strides of 8 pixels
VQ_KD = dict(
    type='VQKD', num_embed=8, embed_dims=4, quantize_kmeans_init=False,
    encoder_config=dict(arch=ARCH, img_size=28, patch_size=7, out_type='featmap', with_cls_token=True))
CODES = dict(embed_dims=D, num_embed=8, loss=dict(type='CrossEntropyLoss'))
LAYER = dict(layer_scale_init_value=0.1)
PAIRS += [Pair(NEPA_UNDER, whole, f'{cfg["backbone"]["type"][8:]}{note}', cfg, data) for whole, note, data, cfg in [
    ('MaskFeat', '', 'masks', algorithm(
        'MaskFeat', dict(type='nepa_mm.MaskFeatNEPAViT', **TINY | dict(patch_size=2)),  # the generator makes 14 x 14 patches
        dict(type='LinearNeck', in_channels=D, out_channels=27, norm_cfg=None),
        dict(type='MIMHead', loss=dict(type='PixelReconstructionLoss', criterion='L2')),
        target_generator=dict(type='HOGGenerator', nbins=9, pool=2, gaussian_window=14))),
    ('BEiT v1', ', with a stand-in for DALL-E', 'masks and tokens', algorithm(
        'BEiT', dict(type='nepa_mm.BEiTNEPAViT', **TINY), None, dict(type='BEiTV1Head', **CODES), target_generator=TOKENS)),
    ('BEiT v2', ', with a stand-in for VQ-KD', 'masks and views', algorithm(
        'BEiT', dict(type='nepa_mm.BEiTNEPAViT', out_indices=[0, 2], **TINY),
        dict(type='BEiTV2Neck', num_layers=1, early_layers=1, backbone_arch=dict(ARCH, depth=2), **LAYER),
        dict(type='BEiTV2Head', **CODES), target_generator=VQ_KD)),
    ('CAE', ', with a stand-in for DALL-E', 'masks and tokens', algorithm(
        'CAE', dict(type='nepa_mm.CAENEPAViT', **TINY),
        dict(type='CAENeck', num_classes=8, embed_dims=D, regressor_depth=1, decoder_depth=1, num_heads=2, mask_tokens_num=8,
             **LAYER),
        dict(type='CAEHead', loss=dict(type='CAELoss', lambd=2)), target_generator=TOKENS)),
    ('MILAN', ', with a stand-in for CLIP', 'images', algorithm(
        'MILAN', dict(type='nepa_mm.MILANNEPAViT', **TINY), dict(DECODER, type='MILANPretrainDecoder', predict_feature_dim=8),
        dict(type='MIMHead', loss=dict(type='CosineSimilarityLoss')), target_generator=dict(type='StandInForCLIP'))),
    ('MFF', '', 'images', algorithm(
        'MFF', dict(type='nepa_mm.MFFNEPAViT', out_indices=[0, 2], **TINY), DECODER,
        dict(type='MAEPretrainHead', norm_pix=True, patch_size=7, loss=dict(type='PixelReconstructionLoss', criterion='L2')))),
]]
PAIRS += [
    Pair(NEPA_UNDER, name, 'NEPAViT', algorithm(name, NEPA_VIT, None, None), 'images', f'refused: {why}', f'{name} {error}')
    for name, error, why in [
        ('MixMIM', 'mixes two images', 'it mixes two images inside the windows of four stages; use MAE or SimMIM'),
        ('iTPN', 'joins three stages', 'it joins three stages of HiViT, which begin with cells of 4 pixels; use MAE or MFF'),
        ('SparK', 'is for convolutions', 'it makes convolutions sparse; a ViT leaves hidden patches out, as MAE does')]]
PAIRS += [
    Pair(NEPA_UNDER, name, 'NEPAViT', {'type': name, key: NEPA_VIT}, 'images', 'refused: it has no loss; mmpretrain only runs it',
         f'{name} has no loss')
    for name, key in [('CLIPZeroShot', 'vision_backbone'), ('Llava', 'vision_encoder')]]
BERT = dict(
    hidden_size=D, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1, vocab_size=8, encoder_width=D,
    max_position_embeddings=8, add_type_embeddings=False, add_cross_attention=True)
PAIRS.append(Pair(NEPA_UNDER, 'BlipCaption, with `transformers`', 'NEPAViT, with a stand-in for words', dict(
    type='BlipCaption', vision_encoder=features('raw'), tokenizer=dict(type='StandInForWords'), prompt='of ',
    decoder_head=dict(type='SeqGenerationHead', decoder=dict(type='XBertLMHeadDecoder', med_config=BERT))),
    'captions', needs='transformers'))
PAIRS += [
    Pair(NEPA_UNDER, name, 'NEPAViT', algorithm(name, NEPA_VIT, None, None), 'images',
         'refused: it hides no patches; use the encoder made for it', f"not hide patches as {name} .* 'nepa_mm.{encoder}'")
    for name, encoder in [
        ('MAE', 'MAENEPAViT'), ('EVA', 'MAENEPAViT'), ('SimMIM', 'SimMIMNEPAViT'), ('BEiT', 'BEiTNEPAViT'), ('CAE', 'CAENEPAViT'),
        ('MaskFeat', 'MaskFeatNEPAViT'), ('MILAN', 'MILANNEPAViT'), ('MFF', 'MFFNEPAViT')]]


# Heads of mmpretrain

def classifier(backbone, head, **kwargs):
    return dict(type='ImageClassifier', backbone=backbone, head=dict(head), **kwargs)


LINEAR = dict(type='LinearClsHead', num_classes=3, in_channels=D)
HEADS = 'Heads of mmpretrain, under ImageClassifier'
PAIRS += [Pair(HEADS, whole, part, classifier(backbone, head, **more), data) for whole, part, data, backbone, head, more in [
    ('LinearClsHead', 'NEPAViT, mean of patches', 'labels', features('avg_featmap'), LINEAR, {}),
    ('LinearClsHead', 'NEPAViT, [CLS]', 'labels', features('cls_token'), LINEAR, {}),
    ('LinearClsHead', 'NEPAViT, last token, causal', 'labels', features('last_token') | dict(causal=True), LINEAR, {}),
    ('LinearClsHead after GlobalAveragePooling', 'NEPAViT, feature map', 'labels', features('featmap'), LINEAR,
     dict(neck=dict(type='GlobalAveragePooling'))),
    ('LinearClsHead after GeneralizedMeanPooling', 'NEPAViT, feature map', 'labels', features('featmap'), LINEAR,
     dict(neck=dict(type='GeneralizedMeanPooling'))),
    ('StackedLinearClsHead', 'NEPAViT, mean of patches', 'labels', features('avg_featmap'),
     dict(type='StackedLinearClsHead', num_classes=3, in_channels=D, mid_channels=[8]), {}),
    ('VisionTransformerClsHead', 'NEPAViT, [CLS]', 'labels', features('cls_token'),
     dict(type='VisionTransformerClsHead', num_classes=3, in_channels=D, hidden_dim=8), {}),
    ('ArcFaceClsHead', 'NEPAViT, mean of patches', 'labels', features('avg_featmap'),
     dict(type='ArcFaceClsHead', num_classes=3, in_channels=D), {}),
    ('MultiLabelLinearClsHead', 'NEPAViT, mean of patches', 'scores', features('avg_featmap'),
     dict(type='MultiLabelLinearClsHead', num_classes=3, in_channels=D), {}),
    ('LeViTClsHead, distillation=False', 'NEPAViT, mean of patches', 'labels', features('avg_featmap'),
     dict(type='LeViTClsHead', num_classes=3, in_channels=D, distillation=False), {}),
    ('CSRAClsHead', 'NEPAViT, feature map', 'scores', features('featmap'),
     dict(type='CSRAClsHead', num_classes=3, in_channels=D, num_heads=1, lam=0.1), {}),
    ('LinearClsHead', 'CausalVisionTransformer, causal=False', 'labels',
     dict(type='nepa_mm.CausalVisionTransformer', causal=False, out_type='avg_featmap', **HOST_VIT), LINEAR, {}),
    ('LinearClsHead', 'CausalBEiTViT, causal=False', 'labels',
     dict(type='nepa_mm.CausalBEiTViT', causal=False, out_type='avg_featmap', **HOST_VIT), LINEAR, {}),
    ('LinearClsHead', 'CausalTIMMBackbone, causal=False', 'labels',
     timm_backbone('eva02_tiny_patch14_224', causal=False, out_type='avg_featmap'), LINEAR, {}),
]]
PAIRS += [
    Pair(HEADS, head, part, classifier(backbone, dict(LINEAR, type=head)), 'labels', f'refused: {why}', error)
    for head, part, backbone, error, why in [
        ('LinearClsHead', 'TIMMBackbone of a ViT', dict(timm_backbone('vit_tiny_patch16_224'), type='TIMMBackbone'),
         'TIMMBackbone gives all tokens',
         'TIMMBackbone gives all tokens; use CausalTIMMBackbone with causal=False and an out_type'),
        ('LeViTClsHead', 'NEPAViT, mean of patches', features('avg_featmap'), "doesn't support training in distillation mode",
         'mmpretrain does not train its distillation; set distillation=False'),
        ('DeiTClsHead', 'NEPAViT, [CLS]', features('cls_token'), 'takes a distillation token',
         'it takes a distillation token too, which mmpretrain does not train; use VisionTransformerClsHead'),
        ('ConformerHead', 'NEPAViT, mean of patches', features('avg_featmap'), 'takes the convolutional',
         'it takes the convolutional and the transformer branch of Conformer')]]


# Heads of mmseg

LOSS = dict(type='CrossEntropyLoss', loss_weight=1.0)
BN = dict(type='BN')
CHANNELS = 16


def seg_head(name, scales=0, **kwargs):
    """A head of one map, or, for scales > 0, of so many."""
    maps = dict(in_channels=[D] * scales, in_index=list(range(scales))) if scales else dict(in_channels=D)
    return dict(type=name, channels=CHANNELS, num_classes=3, norm_cfg=BN, dropout_ratio=0, loss_decode=LOSS) | maps | kwargs


PYRAMID = dict(type='Feature2Pyramid', embed_dim=D, rescales=[4, 2, 1, 0.5], norm_cfg=BN)
SEG_HEADS = {
    'UPerHead': (seg_head('UPerHead', 4, pool_scales=(1, 2)), PYRAMID),
    'UPerHead on SimplePyramid': (
        seg_head('UPerHead', 4, pool_scales=(1, 2)), dict(type='nepa_mm.SimplePyramid', embed_dims=D, out_channels=D)),
    'FPNHead': (seg_head('FPNHead', 4, feature_strides=[4, 8, 16, 32]), PYRAMID),
    'FPNHead after FPN': (
        seg_head('FPNHead', 4, feature_strides=[4, 8, 16, 32]),
        [PYRAMID, dict(type='FPN', in_channels=[D] * 4, out_channels=D, num_outs=4)]),
    'FCNHead': (seg_head('FCNHead', num_convs=2), None),
    'FCNHead, linear': (seg_head('FCNHead', num_convs=0, concat_input=False, kernel_size=1), None),
    'DepthwiseSeparableFCNHead': (seg_head('DepthwiseSeparableFCNHead', num_convs=1, concat_input=False), None),
    'SegformerHead': (seg_head('SegformerHead', 4), PYRAMID),
    'PSPHead': (seg_head('PSPHead', pool_scales=(1, 2)), None),
    'ASPPHead': (seg_head('ASPPHead', dilations=(1, 2)), None),
    'DepthwiseSeparableASPPHead': (
        seg_head('DepthwiseSeparableASPPHead', in_index=3, dilations=(1, 2), c1_in_channels=D, c1_channels=8), PYRAMID),
    'SETRUPHead': (seg_head('SETRUPHead', num_convs=2, up_scale=2), None),
    'SETRMLAHead': (seg_head('SETRMLAHead', 4, mla_channels=8, channels=32),
                    dict(type='MLANeck', in_channels=[D] * 4, out_channels=D, norm_cfg=BN)),
    'SegmenterMaskTransformerHead': (
        seg_head('SegmenterMaskTransformerHead', num_layers=1, num_heads=2, embed_dims=D, norm_cfg=dict(type='LN')), None),
    'ANNHead': (seg_head('ANNHead', 2, dropout_ratio=0.1, project_channels=8, query_scales=(1, ), key_pool_scales=(1, 2)), None),
    'APCHead': (seg_head('APCHead', pool_scales=(1, 2)), None),
    'DAHead': (seg_head('DAHead', pam_channels=8), None),
    'DMHead, as nepa_mm.DMHead': (seg_head('nepa_mm.DMHead', filter_sizes=(1, 3)), None),
    'DNLHead': (seg_head('DNLHead'), None),
    'EMAHead': (seg_head('EMAHead', ema_channels=8, num_bases=4, num_stages=2), None),
    'EncHead': (seg_head('EncHead', 2, num_codes=4), None),
    'GCHead': (seg_head('GCHead'), None),
    'NLHead': (seg_head('NLHead'), None),
    'ISAHead': (seg_head('ISAHead', isa_channels=8, down_factor=(2, 2)), None),
    'LightHamHead': (seg_head('LightHamHead', 4, ham_channels=32, norm_cfg=dict(type='GN', num_groups=2)), PYRAMID),
    'IterativeDecodeHead (K-Net)': (
        dict(type='IterativeDecodeHead', num_stages=1,
             kernel_update_head=[dict(
                 type='KernelUpdateHead', num_classes=3, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1, feedforward_channels=32,
                 in_channels=CHANNELS, out_channels=CHANNELS, dropout=0.0, conv_kernel_size=1, ffn_act_cfg=dict(type='ReLU'),
                 with_ffn=True, feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
                 kernel_updator_cfg=dict(
                     type='KernelUpdator', in_channels=CHANNELS, feat_channels=CHANNELS, out_channels=CHANNELS,
                     act_cfg=dict(type='ReLU'), norm_cfg=dict(type='LN')))],
             kernel_generate_head=seg_head('FCNHead', num_convs=1)), None),
    'OCRHead after FCNHead': (
        [seg_head('FCNHead', num_convs=1), seg_head('OCRHead', ocr_channels=8)], None),
    'STDCHead, an auxiliary head': (
        seg_head('STDCHead', num_convs=1, num_classes=2, boundary_threshold=0.1,
                 loss_decode=[dict(type='CrossEntropyLoss', loss_name='loss_ce', use_sigmoid=True),
                              dict(type='DiceLoss', loss_name='loss_dice')]), None),
}
SEGMENTATION = 'Heads of mmseg'


def segmentor(name, head, neck, backbone):
    """Several heads are a cascade."""
    cfg = dict(type=name, backbone=backbone, decode_head=head, train_cfg=dict(), test_cfg=dict(mode='whole'),
               data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, size=(64, 64)))
    if isinstance(head, list):
        cfg.update(num_stages=len(head))
    return cfg if neck is None else cfg | dict(neck=neck)


def segmentation_backbone(kind, **kwargs):
    # 64 pixels are not whole patches of 7
    return dict(type='nepa_mm.NEPAViT', arch=dict(ARCH, num_layers=4), img_size=64, patch_size=7, causal=False, out_type=kind,
                **kwargs)


for name, (head, neck) in SEG_HEADS.items():
    indices = head['in_index'] if isinstance(head, dict) and isinstance(head.get('in_index'), list) else [0]
    taps = [0, 1, 2, 3] if neck is not None else [2, 3][-len(indices):]
    whole = 'CascadeEncoderDecoder' if isinstance(head, list) else 'EncoderDecoder'
    PAIRS += [
        Pair(SEGMENTATION, written.removeprefix('nepa_mm.'), name, segmentor(
            written, head, neck, segmentation_backbone(kind, out_indices=taps)), 'segmentation', scope='mmseg')
        for written, kind in [(whole, 'featmap'), (f'nepa_mm.Padded{whole}', 'padded_featmap')]]
PAIRS += [
    Pair(SEGMENTATION, 'EncoderDecoder', f'FCNHead over {name}', segmentor(
        'EncoderDecoder', SEG_HEADS['FCNHead'][0], None, backbone), 'segmentation', scope='mmseg')
    for name, backbone in [
        ('CausalVisionTransformer', dict(type='nepa_mm.CausalVisionTransformer', causal=False, out_type='featmap', **HOST_VIT)),
        ('CausalTIMMBackbone', timm_backbone('vit_tiny_patch16_224', dynamic_img_size=True, dynamic_img_pad=True, causal=False,
                                             out_type='featmap'))]]
LRASPP = seg_head('LRASPPHead', in_channels=[D] * 3, in_index=[0, 0, 1], branch_channels=(8, 8), act_cfg=dict(type='ReLU'),
                  input_transform='multiple_select')  # of maps of 128, 128 and 64 cells a side
PAIRS.append(Pair(SEGMENTATION, 'EncoderDecoder', 'LRASPPHead on SimplePyramid', segmentor(
    'EncoderDecoder', LRASPP, SEG_HEADS['UPerHead on SimplePyramid'][1], segmentation_backbone('featmap') | dict(patch_size=2)),
    'segmentation', scope='mmseg'))
PAIRS.append(Pair(SEGMENTATION, 'DepthEstimator', 'VPDDepthHead on Feature2Pyramid', segmentor(
    'DepthEstimator', dict(type='VPDDepthHead', in_channels=[D] * 4, embed_dim=8, feature_dim=64, num_deconv_filters=[8] * 3),
    PYRAMID, segmentation_backbone('featmap', out_indices=[0, 1, 2, 3])), 'depth', scope='mmseg'))
PAIRS += [
    Pair(SEGMENTATION, 'EncoderDecoder', head, segmentor(
        'EncoderDecoder', seg_head(head), None, segmentation_backbone('featmap')), 'segmentation', f'refused: {why}',
        f'{head} {error}', 'mmseg')
    for head, error, why in [
        ('DMHead', 'views maps', 'it views maps in an order that tokens do not lie in; use nepa_mm.DMHead'),
        ('PIDHead', 'takes the three branches', 'it takes the three branches of PIDNet, and edges'),
        ('DDRHead', 'takes the two branches', 'it takes the two branches of DDRNet'),
        ('SideAdapterCLIPHead', "names masks by CLIP's text",
         "it names masks by CLIP's text, which only CLIP's image features are trained with")]]
PAIRS += [
    Pair(SEGMENTATION, whole, 'DPTHead, with output_cls_token', segmentor(
        f'nepa_mm.{whole}',
        seg_head('DPTHead', 4, embed_dims=D, post_process_channels=[8] * 4, readout_type='project',
                 input_transform='multiple_select'), None,
        segmentation_backbone(kind, out_indices=[0, 1, 2, 3], output_cls_token=True)), 'segmentation', scope='mmseg')
    for whole, kind in [('EncoderDecoder', 'featmap'), ('PaddedEncoderDecoder', 'padded_featmap')]]
NAMED = dict(type='nepa_mm.NamedHeads', heads=dict(
    linear=dict(SEG_HEADS['FCNHead, linear'][0], in_index=3),
    dpt=seg_head('DPTHead', 4, embed_dims=D, post_process_channels=[8] * 4, readout_type='project',
                 input_transform='multiple_select'),
    upernet=dict(SEG_HEADS['UPerHead'][0], neck=PYRAMID)))
PAIRS.append(Pair(SEGMENTATION, 'MultiHeadEncoderDecoder', 'NamedHeads: FCNHead, DPTHead, UPerHead', segmentor(
    'nepa_mm.MultiHeadEncoderDecoder', NAMED, None,
    segmentation_backbone('padded_featmap', out_indices=[0, 1, 2, 3], output_cls_token=True)), 'segmentation', scope='mmseg'))

# Heads that need mmcv's operators, or mmdet
ATTENTION = dict(embed_dims=CHANNELS, num_heads=2, batch_first=True)
FFN = dict(embed_dims=CHANNELS, feedforward_channels=32, num_fcs=2, act_cfg=dict(type='ReLU', inplace=True))
GN, POSITION = dict(type='GN', num_groups=2), dict(num_feats=CHANNELS // 2, normalize=True)


def query_head(name, cost, loss_mask, **kwargs):
    """A head that gives a mask and a class for each of its queries."""
    assigner = dict(type='mmdet.HungarianAssigner', match_costs=[
        dict(type='mmdet.ClassificationCost', weight=2.0), cost, dict(type='mmdet.DiceCost', pred_act=True, eps=1.0)])
    return dict(
        type=name, in_channels=[D] * 4, feat_channels=CHANNELS, out_channels=CHANNELS, num_classes=3, num_queries=8,
        enforce_decoder_input_project=False, positional_encoding=POSITION,
        transformer_decoder=dict(
            return_intermediate=True, num_layers=2,
            layer_cfg=dict(self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FFN), init_cfg=None),
        loss_cls=dict(type='mmdet.CrossEntropyLoss', reduction='mean', class_weight=[1.0] * 3 + [0.1]), loss_mask=loss_mask,
        loss_dice=dict(type='mmdet.DiceLoss', use_sigmoid=True, activate=True, reduction='mean', naive_dice=True, eps=1.0),
        train_cfg=dict(num_points=64, oversample_ratio=3.0, importance_sample_ratio=0.75, assigner=assigner,
                       sampler=dict(type='mmdet.MaskPseudoSampler')), **kwargs)


MASK2FORMER = query_head(
    'Mask2FormerHead', dict(type='mmdet.CrossEntropyLossCost', use_sigmoid=True),
    dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='mean'), strides=[4, 8, 16, 32], num_transformer_feat_level=3,
    pixel_decoder=dict(
        type='mmdet.MSDeformAttnPixelDecoder', num_outs=3, norm_cfg=GN, act_cfg=dict(type='ReLU'), positional_encoding=POSITION,
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=dict(ATTENTION, num_levels=3, num_points=4), ffn_cfg=FFN))))
MASKFORMER = query_head(
    'MaskFormerHead', dict(type='mmdet.FocalLossCost', weight=20.0, binary_input=True),
    dict(type='mmdet.FocalLoss', use_sigmoid=True, reduction='mean'), in_index=[0, 1, 2, 3],
    pixel_decoder=dict(type='mmdet.PixelDecoder', norm_cfg=GN, act_cfg=dict(type='ReLU')))
POINT_REND = [seg_head('FPNHead', 4, feature_strides=[4, 8, 16, 32]),
              dict(seg_head('PointHead', 1, num_fcs=1, coarse_pred_each_layer=True), norm_cfg=None)]
PAIRS += [
    Pair(SEGMENTATION, 'EncoderDecoder, with `nepa_mm.ops`', name, segmentor(
        'CascadeEncoderDecoder' if isinstance(head, list) else 'EncoderDecoder', head, neck,
        segmentation_backbone('featmap', out_indices=taps)) | more, 'segmentation', scope='mmseg',
        needs=needs)
    for name, head, neck, taps, more, needs in [
        ('CCHead', seg_head('CCHead'), None, [3], {}, 'mmcv.ops'),
        ('PSAHead', seg_head('PSAHead', mask_size=(7, 7)), None, [3], {}, 'mmcv.ops'),
        ('PointHead after FPNHead (PointRend)', POINT_REND, PYRAMID, [0, 1, 2, 3],
         dict(train_cfg=dict(num_points=64, oversample_ratio=3, importance_sample_ratio=0.75)), 'mmcv.ops'),
        ('Mask2FormerHead', MASK2FORMER, PYRAMID, [0, 1, 2, 3], {}, 'mmdet.models'),
        ('Mask2FormerHead on SimplePyramid', MASK2FORMER, SEG_HEADS['UPerHead on SimplePyramid'][1], [3], {}, 'mmdet.models'),
        ('MaskFormerHead', MASKFORMER, PYRAMID, [0, 1, 2, 3], {}, 'mmdet.models')]]
PAIRS.append(Pair(SEGMENTATION, 'AdaptedEncoderDecoder, with `nepa_mm.ops`', 'UPerHead on ViTAdapter', segmentor(
    'nepa_mm.AdaptedEncoderDecoder', SEG_HEADS['UPerHead'][0],
    dict(type='nepa_mm.ViTAdapter', embed_dims=D, num_heads=2, prior_channels=8, norm_cfg=BN),
    segmentation_backbone('padded_featmap')), 'segmentation', scope='mmseg', needs='mmcv.ops'))
EOMT = dict(type='nepa_mm.EoMTHead', embed_dims=D, num_classes=3, num_queries=8, num_blocks=2, **{
    name: MASK2FORMER[name] for name in ('loss_cls', 'loss_mask', 'loss_dice', 'train_cfg')})
PAIRS.append(Pair(SEGMENTATION, 'EoMT, with `nepa_mm.ops`', 'EoMTHead', segmentor(
    'nepa_mm.EoMT', EOMT, None, segmentation_backbone('padded_featmap')), 'segmentation', scope='mmseg', needs='mmdet.models'))
PAIRS += [
    Pair(SEGMENTATION, 'PaddedEncoderDecoder, with `nepa_mm.ops`', head['type'], segmentor(
        'nepa_mm.PaddedEncoderDecoder', head, None, segmentation_backbone('padded_featmap', out_indices=[3])), 'segmentation',
        scope='mmseg', needs='mmcv.ops')
    for head in (seg_head('CCHead'), seg_head('PSAHead', mask_size=(7, 7)))]

# Detectors of mmdet

def detector(model):
    """The model of a detection config with a tiny backbone, neck and heads."""
    cfg = model.to_dict()
    backbone = dict(cfg['backbone'], arch=dict(ARCH, num_layers=4), img_size=64, init_cfg=None)
    cfg.update(backbone=backbone, neck=dict(cfg['neck'], embed_dims=D, out_channels=D))
    if cfg['type'] == 'Mask2Former':
        head = MASK2FORMER | dict(
            num_things_classes=80, num_stuff_classes=0, loss_cls=dict(MASK2FORMER['loss_cls'], class_weight=[1.0] * 80 + [0.1]))
        cfg['panoptic_head'] = {key: value for key, value in head.items() if key not in ('num_classes', 'train_cfg')}
        cfg['train_cfg'] = MASK2FORMER['train_cfg']
        return cfg
    cfg['rpn_head'].update(in_channels=D, feat_channels=D)
    heads = cfg['roi_head']
    for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
        heads[name]['out_channels'] = D
    heads['bbox_head'].update(in_channels=D, conv_out_channels=D, fc_out_channels=D)
    heads['mask_head'].update(in_channels=D, conv_out_channels=D, num_convs=1)
    return cfg


RETINANET = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, pad_size_divisor=32),
    backbone=dict(type='nepa_mm.NEPAViT', arch=ARCH, img_size=64, patch_size=16, causal=False, out_type='featmap'),
    neck=dict(type='nepa_mm.SimplePyramid', embed_dims=D, out_channels=D),
    bbox_head=dict(
        type='RetinaHead', num_classes=80, in_channels=D, feat_channels=D, stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0],
                              strides=[4, 8, 16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict())
DETECTORS = dict(RetinaNet=RETINANET, **{
    name: detector(Config.fromfile(ROOT / f'configs/_base_/models/{file}.py').model)
    for name, file in [('MaskRCNN', 'nepa_mask-rcnn'), ('Mask2Former', 'nepa_mask2former')]})
PAIRS += [
    Pair('Detectors of mmdet', name, 'NEPAViT and SimplePyramid', cfg, 'detection', scope='mmdet', needs='mmdet.models')
    for name, cfg in DETECTORS.items()]
