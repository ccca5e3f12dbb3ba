# Multi-scale test of nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py:
# the mean over six sizes, 0.5 to 1.75 of the single-scale one, and their mirror images.
#
#   bash tools/dist_test.sh configs/segmentation/nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512-ms.py CHECKPOINT 8
#
# Hardware: 8 GPUs; on one, tools/test.py. mIoU, multi-scale: paper none, ours not run.
# tools/test.py wraps the model in tta_model, as with --tta. mmseg's own tools/test.py needs its --tta for that.
_base_ = './nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'

test_dataloader = dict(dataset=dict(pipeline=_base_.tta_pipeline))
