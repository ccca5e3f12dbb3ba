"""RoPE carries a trained model to images that are 2.3 and 4 times as large, 224 -> 512 -> 896, and to other aspect ratios."""
import pytest
import torch
import torch.nn.functional as F

from nepa_mm.models import NEPAViT

SIDE, PATCH = 28, 4
ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)


def scenes(size: tuple[int, int], generator: torch.Generator, number: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """A red and a green disc [B, 3, H, W] at random places, drawn for this size; and where red is: above, below, left, right."""
    centres = torch.rand(number, 2, 2, generator=generator) * 0.7 + 0.15  # disc, then (y, x) as shares of the sides
    apart = centres[:, 0] - centres[:, 1]
    clear = (apart.abs().amax(1) > 0.25) & ((apart[:, 0].abs() - apart[:, 1].abs()).abs() > 0.1)
    centres, apart = centres[clear], apart[clear]
    axis = apart.abs().argmax(1)
    label = 2 * axis + (apart.gather(1, axis[:, None])[:, 0] > 0)
    y, x = ((torch.arange(side) + 0.5) / side for side in size)
    distance = torch.hypot(y[:, None] - centres[..., :1, None], x - centres[..., 1:, None])  # [B, 2, H, W]
    discs = (distance < 0.12).float()
    return torch.cat([discs, torch.zeros(len(discs), 1, *size)], dim=1) * 2 - 1, label


@pytest.fixture(scope='module')
def classifier():
    """Trained on 28 x 28 pixels alone, with the random scale of coordinates that all recipes have."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    backbone = NEPAViT(ARCH, SIDE, PATCH, causal=False, out_type='avg_featmap', layer_scale_init_value=0.1)
    head = torch.nn.Linear(ARCH['embed_dims'], 4)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, 300)
    for _ in range(300):
        images, label = scenes((SIDE, SIDE), generator)
        optimizer.zero_grad()
        F.cross_entropy(head(backbone(images)[0]), label).backward()
        optimizer.step()
        schedule.step()
    return backbone.eval(), head


@torch.no_grad()
def accuracy(classifier, size: tuple[int, int]) -> float:
    backbone, head = classifier
    images, label = scenes(size, torch.Generator().manual_seed(2), 250)
    return (head(backbone(images)[0]).argmax(1) == label).float().mean().item()


# 28 x 28 is 7 x 7 patches; 64 is 28 * 512 / 224 and 112 is 28 * 896 / 224. The last are not whole patches.
@pytest.mark.parametrize('size', [(28, 28), (64, 64), (112, 112), (28, 64), (112, 28), (62, 62), (30, 51)])
def test_larger_images_without_retraining(classifier, size):
    assert accuracy(classifier, size) > 0.9


def test_coordinates_counted_in_patches_would_not_do(classifier, monkeypatch):
    """Control: had coordinates the scale of 7 patches whatever the image, 4 times the size would be near chance."""
    backbone, _ = classifier
    monkeypatch.setattr(backbone, 'rope_table', lambda size, device: backbone.rope(backbone.grid(size), (7., 7.), device))
    assert accuracy(classifier, (28, 28)) > 0.95
    assert accuracy(classifier, (112, 112)) < 0.7
