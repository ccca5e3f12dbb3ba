# UPerNet on ADE20K with a NEPA ViT-L/14 backbone of the paper's variant: SwiGLU, learned position embedding, no [CLS].
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512-paper.py 8
#
# Hardware: 8 GPUs. mIoU, single scale: paper 54.0, ours not run.
# The paper gives crop, batch, iterations and attention; the rest is mmseg's MAE recipe.
_base_ = './nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        img_size=518,  # of the position embedding: 37 x 37 patches, to which crops of 512 are padded
        with_cls_token=False,
        use_abs_pos_embed=True,
        act='silu',
        gated_mlp=True,
        init_cfg=dict(checkpoint='work_dirs/nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k-paper/epoch_800.pth')))
