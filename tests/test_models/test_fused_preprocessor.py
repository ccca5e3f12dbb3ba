"""The same bits as mmpretrain's preprocessor."""
import copy

import pytest
import torch
from mmpretrain.models import SelfSupDataPreprocessor
from mmpretrain.structures import DataSample
from torch._dynamo.testing import CompileCounter

from nepa_mm import NEPA, NEPAViT
from nepa_mm.models import FusedSelfSupDataPreprocessor
from nepa_mm.models.fused_preprocessor import normalize
from tiny import TINY, randomize

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
ALL_BYTES = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)


@pytest.mark.parametrize('settings', [
    dict(), IMAGENET, dict(IMAGENET, to_rgb=True), dict(mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True), dict(to_rgb=True),
    dict(mean=[0, 1, 2], std=[255, 254, 3])])
@pytest.mark.parametrize('images', [ALL_BYTES, ALL_BYTES.float() / 3, ALL_BYTES.flip(3).to(memory_format=torch.channels_last)])
def test_bits_are_those_of_mmpretrain(settings, images):
    before = images.clone()
    data = dict(inputs=images, data_samples=[DataSample()])
    batch = FusedSelfSupDataPreprocessor(**settings)(data)
    assert torch.equal(batch['inputs'], SelfSupDataPreprocessor(**settings)(data)['inputs'])
    assert batch['inputs'].dtype == torch.float32 and len(batch['data_samples']) == 1 and torch.equal(images, before)


def test_views_and_missing_samples():
    settings = dict(IMAGENET, to_rgb=True)
    data = dict(inputs=[ALL_BYTES, ALL_BYTES.flip(2)], data_samples=[])
    expected = SelfSupDataPreprocessor(**settings)(data)['inputs']
    for mine, other in zip(FusedSelfSupDataPreprocessor(**settings)(data)['inputs'], expected, strict=True):
        assert torch.equal(mine, other)
    assert FusedSelfSupDataPreprocessor()(dict(inputs=ALL_BYTES))['data_samples'] is None


def test_under_autocast_the_model_sees_the_same_and_learns_the_same():
    """Autocast's type straight away, or by the first layer: the same bits of the loss."""
    pixels = torch.randint(0, 256, (2, 3, 28, 28), dtype=torch.uint8)
    model = randomize(NEPA(NEPAViT(**TINY), data_preprocessor=dict(IMAGENET, to_rgb=True)), 0.1)
    other = copy.deepcopy(model)
    other.data_preprocessor = SelfSupDataPreprocessor(**IMAGENET, to_rgb=True)
    assert type(model.data_preprocessor) is FusedSelfSupDataPreprocessor
    losses = []
    for each, dtype in ((model, torch.bfloat16), (other, torch.float32)):
        torch.manual_seed(0)
        with torch.autocast('cpu', torch.bfloat16):
            data = each.data_preprocessor(dict(inputs=pixels, data_samples=[]), True)
            assert data['inputs'].dtype == dtype
            losses.append(each(**data, mode='loss')['loss'])
        losses[-1].backward()
    assert torch.equal(*losses)
    for (name, mine), theirs in zip(model.named_parameters(), other.parameters()):
        assert torch.equal(mine.grad, theirs.grad), name


def test_it_compiles_as_one_graph():
    """That the graph is one kernel was measured (docs/performance.md); to generate it takes too long for a test."""
    counter = CompileCounter()
    mean, std = (torch.tensor(IMAGENET[key]).view(3, 1, 1) for key in ('mean', 'std'))
    compiled = torch.compile(normalize, backend=counter, fullgraph=True)
    for dtype in (torch.float32, torch.bfloat16):
        assert torch.equal(compiled(ALL_BYTES, mean, std, True, dtype), normalize(ALL_BYTES, mean, std, True, dtype))
    assert counter.frame_count == 2  # one for each type
