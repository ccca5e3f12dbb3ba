# SegFormer's head, which fuses four layers by linear maps, on a NEPA ViT-B/14, ADE20K.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-base-p14_segformer_8xb2-amp-160k_ade20k-512x512.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper none, ours not run.
# The recipe is UPerNet's.
_base_ = '../_base_/recipes/nepa_vit-base_head_160k_ade20k.py'

model = dict(
    backbone=dict(
        out_indices=[3, 5, 7, 11],
        final_norm='all',  # no neck brings the four to one scale
        drop_path_rate=0.1),
    decode_head=dict(type='SegformerHead', in_channels=[768, 768, 768, 768], in_index=[0, 1, 2, 3], channels=256))
