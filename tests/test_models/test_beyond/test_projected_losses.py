import pytest
import torch

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.models import MultiEmbeddingLoss, ProjectedLosses, Projector, SIGReg
from nepa_mm.registry import MODELS
from tiny import TINY, randomize

HEAD = dict(
    type='nepa_mm.ProjectedLosses', projector=dict(type='nepa_mm.Projector', in_channels=16, hidden_channels=32, out_channels=4),
    losses=[dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=4, distance='mse', stop_grad=False),
            dict(type='nepa_mm.SIGReg', loss_weight=0.1)])


def test_losses_are_those_of_the_projections_and_both_sides_share_the_projector():
    head, p, z = MODELS.build(HEAD), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    torch.manual_seed(0)
    found = head(p, z)
    torch.manual_seed(0)
    small = head.projector(p), head.projector(z)
    first, second = MultiEmbeddingLoss(4, distance='mse', stop_grad=False)(*small), SIGReg(loss_weight=0.1)(*small)
    assert found.keys() == {'loss', 'cosine', 'collapse', 'sigreg_loss'}
    for name, number in {**first, **second}.items():
        assert torch.equal(found[name], number), name


def test_without_projector_one_loss_is_itself():
    p, z = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    loss = MultiEmbeddingLoss(4, num_predictions=2)
    assert torch.equal(ProjectedLosses([loss])(p, z)['loss'], loss(p, z)['loss'])
    assert Projector(4, 8, 2)(p).shape == (2, 5, 2)


def test_two_losses_of_one_name_are_refused():
    head = ProjectedLosses([MultiEmbeddingLoss(4), MultiEmbeddingLoss(4, distance='mse')])
    with pytest.raises(ConfigError, match=r"two losses give \['collapse', 'cosine', 'loss'\] \| model.head.losses"):
        head(torch.randn(2, 5, 4), torch.randn(2, 5, 4))


def test_sigreg_keeps_embeddings_apart_where_nothing_else_does():
    """Without stop-gradient the mean squared error alone draws all embeddings together; with SIGReg they keep their spread."""
    def spread(losses):
        torch.manual_seed(0)
        model = randomize(NEPA(NEPAViT(**{**TINY, 'rope': dict(rescale=None)}), head=dict(HEAD, losses=losses)))
        x, optimizer = torch.randn(8, 3, 28, 28), torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(60):
            found = model.loss(x)
            optimizer.zero_grad()
            sum(value for name, value in found.items() if 'loss' in name).backward()
            optimizer.step()
        return model.head.projector(model.backbone.embed(x)).flatten(0, 1).std(0).mean().item()

    mse, sigreg = HEAD['losses']
    assert spread([mse]) < 0.1 < 0.5 < spread([mse, dict(sigreg, loss_weight=10.)])
