"""What tests share: a tiny model, random weights, and where the reference tensors are."""
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample

from nepa_mm.checkpoints import released_state_dict

ROOT = Path(__file__).parents[1]
# Reference tensors dumped from the authors' release; tests that need them are skipped where they are absent.
GOLDEN = Path(os.environ.get('NEPA_GOLDEN', ROOT.parent / 'shared/golden'))
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f'no reference tensors in {GOLDEN}')
# The last original mmengine makes torch print this on every import.
WARNED = re.compile(r'.*/mmengine/optim/optimizer/zero_optimizer\.py:\d+: DeprecationWarning: .*\n  from torch.distributed.*\n')
OF_24 = torch.__version__ < (2, 5)
counts = pytest.mark.skipif(torch.__version__ < (2, 6), reason='counting memory and work needs torch 2.6 or later')
GOLDEN_PRETRAINING = ['pretrain_gelu', 'pretrain_swiglu', 'pretrain_bidirectional', 'pretrain_plain']


def golden_tensors(case: str) -> dict[str, torch.Tensor]:
    """Inputs, outputs, loss and gradients of one case."""
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(GOLDEN / case / 'tensors.npz').items()}


def assert_golden_gradients(model: torch.nn.Module, tensors: dict[str, torch.Tensor], tolerance: float = 1e-4) -> None:
    """Each within ``tolerance`` of its largest."""
    ours = released_state_dict({name: parameter.grad for name, parameter in model.named_parameters()})
    expected = {name.removeprefix('grad/'): value for name, value in tensors.items() if name.startswith('grad/')}
    assert len(expected) > 30
    for name, value in expected.items():
        error = (ours[name].cpu() - value).abs().max() / value.abs().max()
        assert error < tolerance, f'{name}: relative error {error:.1e}'


TINY = dict(arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32), img_size=28, patch_size=7)


class Images(torch.utils.data.Dataset):
    """24 images of noise for it, each drawn by its index."""
    metainfo = dict()

    def __len__(self):
        return 24

    def __getitem__(self, index):
        image = torch.randint(0, 256, (3, 28, 28), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
        return dict(inputs=image, data_samples=DataSample())

    def get_data_info(self, index):
        return dict(img_path=f'image {index}')


class Numbers(BaseDataset):
    """Eight numbers, each under its index."""

    def load_data_list(self):
        return [dict(inputs=torch.tensor([float(i)])) for i in range(8)]


class Nearer(BaseModel):
    """A weight that comes nearer to the numbers."""

    def __init__(self, seen):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(1)), seen

    def forward(self, inputs, sample_idx=None, mode='loss'):
        self.seen += [int(each) for each in inputs]
        return dict(loss=(self.weight - torch.stack(inputs)).square().mean())


def randomize(module: torch.nn.Module, std: float = 0.5) -> torch.nn.Module:
    """Draw every parameter at random, so that no branch hides behind a small LayerScale."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter.data, std=std)
    return module


# 250 real images of ImageNet, which may not be given away; tests that need them are skipped where they are absent.
IMAGES = Path(os.environ.get('NEPA_DATA', GOLDEN.parent / 'data')) / 'imagenet_sample.tar'
needs_sample = pytest.mark.skipif(not IMAGES.is_file(), reason=f'no images in {IMAGES}')


def real_images() -> list[bytes]:
    """The encoded images."""
    with tarfile.open(IMAGES) as tar:
        return [tar.extractfile(member).read() for member in sorted(tar, key=lambda member: member.name) if member.isfile()]


def evaluated(model):
    """In evaluation mode; ``eval`` of mmpretrain's backbones returns nothing."""
    model.eval()
    return model


def assert_learns(model, images, samples, lr):
    """The loss falls by a fifth in 30 steps, and reaches every parameter of the backbone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    losses = []
    for step in range(30):
        loss = model.loss(images, samples)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses
    assert all(parameter.grad.abs().max() > 0 for parameter in model.backbone.parameters())
