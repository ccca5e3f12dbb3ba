"""Each pair of docs/mixing.md takes one training step, or does not for the reason given there."""
import re
from copy import deepcopy
from itertools import product

import numpy as np
import pytest
import torch
from drawn_data import detected
from mixes import PAIRS, WORKS, importable
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.datasets import SimMIMMaskGenerator
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from nepa_mm import NEPA
from tiny import ROOT


@MMPRETRAIN_MODELS.register_module()
class StandInForCLIP(torch.nn.Module):
    """A target that EVA regresses to, in the form of mmpretrain's ``CLIPGenerator``."""

    def forward(self, x):
        return x.flatten(1)[:, :17 * 8].unflatten(1, (17, 8)), None  # [B, 1 + 16, 8]


def images(size=28):
    return [torch.randint(0, 256, (3, size, size), dtype=torch.uint8) for _ in range(4)]


def batch(kind, cfg):
    """Four images as mm's pipelines pack them."""
    size = 64 if kind == 'segmentation' else cfg['backbone'].get('img_size', 28)
    data = dict(inputs=torch.stack(images(size)), data_samples=[DataSample() for _ in range(4)])
    if kind == 'views':
        data['inputs'] = [torch.stack(images(size)) for _ in range(2)]
    elif kind == 'labels':
        data['data_samples'] = [DataSample().set_gt_label(label) for label in (0, 1, 2, 0)]
    elif kind == 'scores':
        data['data_samples'] = [DataSample().set_gt_score(torch.tensor([1., 0., label])) for label in (0, 1, 1, 0)]
    elif kind == 'masks':
        patch = cfg['backbone']['patch_size']
        masks = SimMIMMaskGenerator(input_size=size, mask_patch_size=patch, model_patch_size=patch, mask_ratio=0.5)
        for sample in data['data_samples']:
            sample.set_field(torch.from_numpy(masks(dict())['mask']), 'mask')
    elif kind == 'segmentation':
        classes = cfg['decode_head'].get('num_classes', 3) if isinstance(cfg['decode_head'], dict) else 3
        data['inputs'] = images(size)
        data['data_samples'] = [
            SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)),
                          gt_sem_seg=PixelData(data=torch.randint(0, classes, (1, 64, 64)))) for _ in range(4)]
    elif kind == 'detection':
        data.update(inputs=images(size), data_samples=[detected(size) for _ in range(4)])
    return data


def train_one_step(pair):
    """Build in the host's scope and take a step of Adam; the model, the weights before, and what was logged."""
    np.random.seed(0)
    init_default_scope(pair.scope)
    MessageHub.get_current_instance().update_info('max_iters', 10)  # which momentum encoders ask for
    try:
        model = MODELS.build(ConfigDict(deepcopy(pair.cfg))).train()
        before = {name: value.detach().clone() for name, value in model.backbone.named_parameters()}
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)  # no decay: a weight moves by its gradient alone
        log = model.train_step(batch(pair.data, pair.cfg), OptimWrapper(optimizer))
    finally:
        DefaultScope._instance_dict.clear()
    return model, before, log


@pytest.mark.parametrize('pair', [pair for pair in PAIRS if pair.cfg], ids=str)
def test_pair(pair):
    if pair.needs and not importable(pair.needs):
        pytest.skip(f'{pair.needs} cannot be imported')
    if pair.outcome != WORKS:
        with pytest.raises(Exception, match=pair.error):
            train_one_step(pair)
        return
    model, before, log = train_one_step(pair)
    assert torch.isfinite(log['loss'])
    for name, parameter in model.backbone.named_parameters():
        if parameter.requires_grad and parameter.ndim > 1 and 'token' not in name:
            assert not torch.equal(parameter, before[name]), name


def test_the_page_lists_these_pairs_with_these_outcomes():
    """A cell may list several names, with semicolons between them; each stands for a row of its own."""
    group, listed = None, []
    for line in (ROOT / 'docs/mixing.md').read_text().splitlines():
        if line.startswith('#'):
            group = line.lstrip('# ')
        cells = [cell.strip() for cell in line.strip('|').split(' | ')]
        if line.startswith('| ') and len(cells) == 3 and cells[2] != 'outcome' and not cells[0].startswith('---'):
            listed += [(group, whole, part, cells[2]) for whole, part in product(*(cell.split('; ') for cell in cells[:2]))]
    expected = [(pair.group, pair.whole, pair.part, pair.outcome) for pair in PAIRS]
    assert sorted(listed) == sorted(expected)


def test_the_adapter_of_the_page_trains():
    code, = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/mixing.md').read_text(), re.S)
    names = {}
    exec(code.replace('MODELS.register_module()', 'MODELS.register_module(force=True)'), names)
    model = NEPA(names['TorchEncoder'](depth=1))
    model.loss(torch.randn(2, 3, 224, 224))['loss'].backward()
    assert all(parameter.grad.any() for parameter in model.backbone.parameters())


def test_every_reason_of_a_failure_is_an_error_or_nothing_was_tried():
    for pair in PAIRS:
        assert pair.outcome == WORKS or pair.outcome.startswith(('refused: ', 'fails: ') if pair.cfg else 'not tried: '), pair
