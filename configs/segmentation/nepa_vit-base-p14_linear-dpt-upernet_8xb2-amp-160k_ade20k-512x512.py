# Three heads at once, a linear one, DPT's and UPerNet's, on the same feature maps of a frozen NEPA ViT-B/14, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_linear-dpt-upernet_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# Schedule and lr of the linear probe; the backbone is passed once for all, and each head is trained and judged by itself.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

four = dict(in_channels=[768, 768, 768, 768], in_index=[0, 1, 2, 3])
model = dict(
    type='nepa_mm.MultiHeadEncoderDecoder',
    backbone=dict(
        frozen_stages=12,
        out_indices=[2, 5, 8, 11],
        output_cls_token=True,  # of which DPT's head alone is given some
        final_norm='all'),
    decode_head=dict(
        type='nepa_mm.NamedHeads',
        heads=dict(
            linear=dict(type='FCNHead', in_channels=768, in_index=3, channels=768, num_convs=0, concat_input=False),
            dpt=dict(
                four,
                type='DPTHead',
                input_transform='multiple_select',
                channels=256,
                embed_dims=768,
                post_process_channels=[96, 192, 384, 768],
                readout_type='project'),
            upernet=dict(
                four,
                type='UPerHead',
                neck=dict(type='Feature2Pyramid', embed_dim=768, rescales=[4, 2, 1, 0.5]),
                pool_scales=(1, 2, 3, 6),
                channels=768))))

optim_wrapper = dict(optimizer=dict(lr=1e-3))
val_evaluator = [
    dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'], head='linear', prefix='linear'),
    dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'], head='dpt', prefix='dpt'),
    dict(type='nepa_mm.ExactIoUMetric', iou_metrics=['mIoU'], head='upernet', prefix='upernet'),
]
test_evaluator = val_evaluator
