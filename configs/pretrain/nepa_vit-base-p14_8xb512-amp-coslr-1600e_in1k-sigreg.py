# NEPA pretraining of ViT-B/14 on ImageNet-1k, without stop-gradient, held apart by SIGReg (arXiv 2607.00958): docs/beyond.md.
#
#   bash tools/dist_train.sh configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-sigreg.py 8
#
# Hardware: 8 GPUs of 80 GB.
# Top-1 after fine-tuning: paper none, ours not run.
# Widths and the weight of SIGReg are guesses that nothing backs; the source's were not at hand.
_base_ = './nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'

model = dict(
    head=dict(
        _delete_=True,
        type='nepa_mm.ProjectedLosses',
        projector=dict(type='nepa_mm.Projector', in_channels=768, hidden_channels=2048, out_channels=128),
        losses=[
            dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=128, distance='mse', stop_grad=False, compile=True),
            dict(type='nepa_mm.SIGReg', num_projections=256, loss_weight=1., compile=True),
        ]))
