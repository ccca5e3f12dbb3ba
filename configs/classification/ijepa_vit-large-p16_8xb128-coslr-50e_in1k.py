# Fine-tuning of I-JEPA's ViT-L/16 on ImageNet-1k under the recipe of nepa_vit-large-p14_8xb128-coslr-50e_in1k.py: only the
# backbone changes, with the mean and std of its pixels; it is tested on the centre of 256 pixels, as is common. Mean of
# the patch tokens, as the method is evaluated; it has no [CLS].
#
#   bash tools/dist_train.sh configs/classification/ijepa_vit-large-p16_8xb128-coslr-50e_in1k.py 8
#
# Hardware: 8 GPUs. Top-1: paper 85.2 in a run of its own, ours not run.
# Weights: its authors published none of this size. Those of a training by https://github.com/facebookresearch/ijepa, convert:
#
#   python tools/model_converters/vit_timm_to_mm.py jepa-latest.pth.tar work_dirs/ijepa_vit-large-p16.pth
_base_ = ['../_base_/recipes/vit-large_finetune_50e_in1k.py', '../_base_/datasets/imagenet_224_meanstd.py']

model = dict(
    backbone=dict(
        out_type='avg_featmap',
        final_norm=True,
        with_cls_token=False,
        init_cfg=dict(checkpoint='work_dirs/ijepa_vit-large-p16.pth')))
