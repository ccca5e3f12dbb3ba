# NEPA pretraining on CIFAR-10 without stop-gradient, held apart by SIGReg in a projected space: docs/beyond.md.
#
#   python tools/train.py configs/evidence/nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px-sigreg.py
#
# Hardware: 1 CPU core, about an hour.
_base_ = './nepa_vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py'

model = dict(
    head=dict(
        _delete_=True,
        type='nepa_mm.ProjectedLosses',
        projector=dict(type='nepa_mm.Projector', in_channels=64, hidden_channels=256, out_channels=32),
        losses=[
            dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=32, distance='mse', stop_grad=False),
            dict(type='nepa_mm.SIGReg', num_projections=64, loss_weight=1.),
        ]))
