# UPerNet on ADE20K with a NEPA ViT-L/14 backbone, shared out over all GPUs by FSDP2.
#
#   bash tools/dist_train.sh configs/segmentation/nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512-fsdp.py 8
#
# Hardware: 8 GPUs, of less memory than without. mIoU, single scale: paper 54.0 with its own variant (-paper), ours not run.
# The same training as nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py but for the last bits. The heads are gathered for
# the whole step: mmseg calls them by other methods than FSDP2 gathers at.
_base_ = './nepa_vit-large-p14_upernet_8xb2-amp-160k_ade20k-512x512.py'

model_wrapper_cfg = dict(type='nepa_mm.FullyShardedDataParallel', blocks=['Block'])
