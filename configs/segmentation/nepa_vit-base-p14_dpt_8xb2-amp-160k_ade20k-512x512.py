# DPT's head, which fuses four layers after each has read its [CLS] token, on a NEPA ViT-B/14, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_dpt_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The head is mmseg's for ADE20K; the recipe is UPerNet's.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

model = dict(
    backbone=dict(
        out_indices=[2, 5, 8, 11],
        output_cls_token=True,
        final_norm='all',  # no neck brings the four to one scale
        drop_path_rate=0.1),
    decode_head=dict(
        type='DPTHead',
        in_channels=[768, 768, 768, 768],
        in_index=[0, 1, 2, 3],
        input_transform='multiple_select',
        channels=256,
        embed_dims=768,
        post_process_channels=[96, 192, 384, 768],
        readout_type='project'))
