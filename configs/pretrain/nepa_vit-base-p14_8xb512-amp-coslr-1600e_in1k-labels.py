# NEPA and labels together: next-embedding loss plus cross entropy on the mean output of the patches, weighted 1 and 0.1.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-labels.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1: paper none, ours not run. An example of two losses by weights; 0.1 is a guess that nothing backs.
_base_ = './nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'

model = dict(
    type='nepa_mm.SupervisedNEPA',
    head=dict(loss_weight=1.0),
    cls_head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='CrossEntropyLoss', loss_weight=0.1),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02)))

# PackPixels leaves labels behind
train_pipeline = [*_base_.train_pipeline[:-1], dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(with_label=True, pipeline=train_pipeline))
