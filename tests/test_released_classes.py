"""What we write in the released format loads into the authors' own classes, strictly, and computes what theirs computed.

    NEPA_RELEASE=<checkout of github.com/SihanXU/nepa> pytest tests/test_released_classes.py
"""
import json
import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from nepa_mm.checkpoints.convert import hf_to_mm, mm_to_hf
from tiny import GOLDEN, needs_golden

CASES = ['classify_last_token', 'classify_pooled', 'pretrain_bidirectional', 'pretrain_gelu', 'pretrain_plain', 'pretrain_swiglu']


@pytest.fixture(scope='module')
def released():
    """The module with the authors' classes, which are written for transformers 4.56."""
    if 'NEPA_RELEASE' not in os.environ:
        pytest.skip("NEPA_RELEASE does not say where a checkout of the authors' code is")
    pytest.importorskip('transformers')
    folder = Path(os.environ['NEPA_RELEASE']).resolve()
    assert (folder / 'models/vit_nepa').is_dir(), f"NEPA_RELEASE={str(folder)!r} is no checkout of the authors' code"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield import_module('models.vit_nepa')


@needs_golden
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('case', CASES)
def test_strict_load(released, case, suffix, tmp_path):
    hf_to_mm(str(GOLDEN / case), tmp_path / f'ours{suffix}')
    mm_to_hf(str(tmp_path / f'ours{suffix}'), tmp_path / 'back')

    architecture, = json.loads((tmp_path / 'back/config.json').read_text())['architectures']
    model, report = getattr(released, architecture).from_pretrained(tmp_path / 'back', output_loading_info=True)
    assert not any(report.values()), report  # nothing missing, unexpected or of another shape

    tensors = {name: torch.from_numpy(value) for name, value in np.load(GOLDEN / case / 'tensors.npz').items()}
    x, classifies = tensors['pixel_values'], 'labels' in tensors
    outputs = model.eval()(x, labels=tensors['labels']) if classifies else model.eval()(x)
    assert abs(outputs.loss.item() - tensors['loss'].item()) < 1e-5
    name, value = ('logits', outputs.logits) if classifies else ('last_hidden_state', model.vit_nepa(x).last_hidden_state)
    torch.testing.assert_close(value, tensors[name], atol=1e-5, rtol=0)


@needs_golden
def test_image_processor(released, tmp_path):
    hf_to_mm(str(GOLDEN / 'pretrain_gelu'), tmp_path / 'ours.pth')
    mm_to_hf(str(tmp_path / 'ours.pth'), tmp_path / 'back')
    processor = import_module('transformers').AutoImageProcessor.from_pretrained(tmp_path / 'back')
    pixels = processor(np.full((90, 80, 3), 255, np.uint8), return_tensors='pt')['pixel_values']
    assert pixels.shape == (1, 3, 70, 70) and torch.allclose(pixels, torch.ones(()))
