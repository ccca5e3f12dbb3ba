import pytest
import torch
from torch import nn

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.models import check_causal
from tiny import TINY, randomize


class MeanSoFar(nn.Module):
    """Adds to each patch the mean of those up to it, or up to the one ``reach`` patches on."""

    def __init__(self, reach=0, stride=4, scale=1.):
        super().__init__()
        self.embed_dims, self.num_extra_tokens, self.reach, self.scale = 8, 0, reach, scale
        self.patch_embed, self.norm = nn.Conv2d(3, 8, 4, stride=stride), nn.LayerNorm(8)

    def embed(self, x):
        return self.patch_embed(x).flatten(2).transpose(1, 2)

    def predict(self, z, image_size):
        mean = z.cumsum(1) / torch.arange(1, z.shape[1] + 1)[:, None]
        return self.norm(z + self.scale * torch.roll(mean, -self.reach, dims=1))


def test_a_backbone_of_ten_lines_trains():
    backbone = MeanSoFar()
    check_causal(backbone, (16, 16))
    NEPA(backbone).loss(torch.randn(2, 3, 16, 16))['loss'].backward()
    assert backbone.patch_embed.weight.grad.any()


@pytest.mark.parametrize('settings, message', [
    (dict(reach=1), 'outputs depend on later patches although causal=True'),
    (dict(reach=1, scale=1e-6), 'outputs depend on later patches although causal=True'),  # however little
    (dict(stride=3), 'patches share pixels'),
    (dict(scale=0.), 'outputs depend on no earlier patch, so that causal=True cannot be verified'),
])
def test_what_is_not_causal_is_refused(settings, message):
    with pytest.raises(ConfigError, match=rf'^{message}.* \| MeanSoFar'):
        check_causal(MeanSoFar(**settings), (16, 16))


def test_the_check_leaves_no_trace():
    model = randomize(NEPAViT(**TINY, drop_path_rate=0.5)).train()
    model.layers[0].eval()
    state = torch.get_rng_state()
    with torch.no_grad():
        check_causal(model, (28, 28))
    assert torch.equal(torch.get_rng_state(), state) and model.training and not model.layers[0].training
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ConfigError, match='later patches'):
        check_causal(NEPAViT(**TINY, causal=False), (28, 28))
    with torch.device('meta'):
        check_causal(NEPAViT(**TINY, causal=False), (28, 28))  # has no numbers


@pytest.mark.parametrize('part', ['embed', 'predict', 'embed_dims', 'num_extra_tokens'])
def test_a_part_that_lacks_is_named_with_the_adapters(part):
    class Lacking(nn.Module):
        pass

    for name in {'embed', 'predict', 'embed_dims', 'num_extra_tokens'} - {part}:
        setattr(Lacking, name, 1)
    with pytest.raises(ConfigError) as error:
        NEPA(Lacking())
    assert str(error.value).startswith(f'Lacking has no {part}, which NEPA asks for | model.backbone | ')
    assert all(f'nepa_mm.{name}' in str(error.value) for name in (
        'NEPAViT', 'CausalVisionTransformer', 'CausalBEiTViT', 'CausalTIMMBackbone'))
