"""Each pair of docs/mixing.md takes one training step, or does not for the reason given there."""
import re
from copy import deepcopy
from itertools import product
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from drawn_data import detected
from mixes import PAIRS, WORKS, importable
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.datasets import SimMIMMaskGenerator
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.registry import TOKENIZER
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from nepa_mm import NEPA
from nepa_mm.launch.checks.mixing import check_mixing
from tiny import ROOT


@MMPRETRAIN_MODELS.register_module()
class StandInForCLIP(torch.nn.Module):
    """Targets of EVA and MILAN in the form of mmpretrain's ``CLIPGenerator``: features, and what each token attends to."""

    def forward(self, x):
        tokens = x.flatten(1)[:, :17 * 8].unflatten(1, (17, 8))  # [B, 1 + 16, 8]
        return tokens, (tokens @ tokens.mT).softmax(-1)  # [B, 1 + 16, 1 + 16]


@TOKENIZER.register_module()
class StandInForWords:
    """A number for each letter, in the form of a tokenizer of transformers."""
    pad_token_id, bos_token_id = 0, 1

    def __call__(self, texts, **kwargs):
        if isinstance(texts, str):
            return SimpleNamespace(input_ids=[2 + ord(letter) % 6 for letter in texts])
        return StandInForWords.Batch(torch.tensor([self(text).input_ids for text in texts]))

    class Batch(NamedTuple):
        """[B, letters]"""
        input_ids: torch.Tensor

        def to(self, device):
            return self


def images(size=28):
    return [torch.randint(0, 256, (3, size, size), dtype=torch.uint8) for _ in range(4)]


def batch(kind, cfg):
    """Four images as mm's pipelines pack them."""
    size = 64 if kind in ('segmentation', 'depth') else cfg.get('backbone', {}).get('img_size', 28)
    data = dict(inputs=torch.stack(images(size)), data_samples=[DataSample() for _ in range(4)])
    if kind == 'views':
        data['inputs'] = [torch.stack(images(size)) for _ in range(2)]
    elif kind == 'labels':
        data['data_samples'] = [DataSample().set_gt_label(label) for label in (0, 1, 2, 0)]
    elif kind == 'scores':
        data['data_samples'] = [DataSample().set_gt_score(torch.tensor([1., 0., label])) for label in (0, 1, 1, 0)]
    elif kind.startswith('masks'):
        patch = cfg['backbone']['patch_size']
        masks = SimMIMMaskGenerator(input_size=size, mask_patch_size=patch, model_patch_size=patch, mask_ratio=0.5)
        for sample in data['data_samples']:
            sample.set_field(torch.from_numpy(masks(dict())['mask']), 'mask')
        if kind != 'masks':  # what the tokenizer sees: the same, or as many of its own patches
            data['inputs'] = [data['inputs'], torch.stack(images(32)) if kind == 'masks and tokens' else data['inputs']]
    elif kind == 'segmentation':
        classes = cfg['decode_head'].get('num_classes', 3) if isinstance(cfg['decode_head'], dict) else 3
        data['inputs'] = images(size)
        data['data_samples'] = [
            SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)),
                          gt_sem_seg=PixelData(data=torch.randint(0, classes, (1, 64, 64)))) for _ in range(4)]
    elif kind == 'captions':
        data['data_samples'] = [DataSample(gt_caption=letter) for letter in 'abcd']
    elif kind == 'depth':
        data['inputs'] = images(size)
        data['data_samples'] = [
            SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)),
                          gt_depth_map=PixelData(data=torch.rand(1, 64, 64))) for _ in range(4)]
    elif kind == 'detection':
        data.update(inputs=images(size), data_samples=[detected(size) for _ in range(4)])
    return data


def train_one_step(pair):
    """Check and build in the host's scope, take a step of Adam; each weight with what it was, and what was logged."""
    check_mixing(Config(dict(model=deepcopy(pair.cfg))))
    np.random.seed(0)
    init_default_scope(pair.scope)
    MessageHub.get_current_instance().update_info('max_iters', 10)  # which momentum encoders ask for
    try:
        model = MODELS.build(ConfigDict(deepcopy(pair.cfg))).train()
        backbone = model.backbone if hasattr(model, 'backbone') else model.visual_encoder
        before = {name: (value, value.detach().clone()) for name, value in backbone.named_parameters()}
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)  # no decay: a weight moves by its gradient alone
        log = model.train_step(batch(pair.data, pair.cfg), OptimWrapper(optimizer))
    finally:
        DefaultScope._instance_dict.clear()
    return before, log


@pytest.mark.parametrize('pair', PAIRS, ids=str)
def test_pair(pair):
    if pair.needs and not importable(pair.needs):
        pytest.skip(f'{pair.needs} cannot be imported')
    if pair.outcome != WORKS:
        with pytest.raises(Exception, match=pair.error):
            train_one_step(pair)
        return
    weights, log = train_one_step(pair)
    assert torch.isfinite(log['loss'])
    for name, (parameter, before) in weights.items():
        if parameter.requires_grad and parameter.ndim > 1 and 'token' not in name:
            assert not torch.equal(parameter, before), name


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


def test_what_does_not_work_is_refused_for_a_reason():
    for pair in PAIRS:
        assert pair.outcome == WORKS or (pair.outcome.startswith('refused: ') and pair.error), pair
