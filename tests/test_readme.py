"""The one-liners of README, run as they stand there but for the weights, which are a tiny model's; its config, built."""
import json
import re
from pathlib import Path

import forks
import mmseg
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from PIL import Image
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT
from nepa_mm.checkpoints import released_state_dict
from tiny import ROOT, TINY, randomize

ONE_LINERS = re.findall(r'python -c "(.*?)"\n', (ROOT / 'README.md').read_text().replace('\\\n', ''), re.DOTALL)
HUB = 'SixAILab/nepa-base-patch14-224'
SIZES = dict(
    model_type='vit_nepa', hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=28,
    patch_size=7, qk_norm=True)


@pytest.fixture(scope='module')
def hub(tmp_path_factory):
    """Stand-ins for the published models, and a picture."""
    folder = tmp_path_factory.mktemp('hub')
    head = LinearClsHead(2, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    backbone = NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap')
    classifier = ImageClassifier(backbone, head=head, data_preprocessor=ClsDataPreprocessor())
    names = {'0': 'tench', '1': 'goldfish'}
    for name, model, config in [
            (HUB, NEPA(NEPAViT(**TINY)), dict()),
            (f'{HUB}-sft', classifier, dict(is_causal=False, qk_norm_affine=True, add_pooling_layer=True, id2label=names))]:
        (folder / name).mkdir(parents=True)
        weights = released_state_dict(randomize(model).state_dict())
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / name / 'model.safetensors')
        (folder / name / 'config.json').write_text(json.dumps({**SIZES, **config}))
    Image.fromarray(np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)).save(folder / 'dog.jpg')
    return folder


@pytest.mark.parametrize('code, says', zip(ONE_LINERS, [r'tensor\(\[', '(tench|goldfish)$'], strict=True))
def test_one_liner(code, says, hub):
    # hf:ORG/NAME is a folder here
    done = forks.done('-c', code, folder=hub)
    assert done.returncode == 0, done.stderr
    assert re.search(says, done.stdout.strip()), done.stdout


def test_the_config_puts_the_backbone_into_mmseg_s_own(tmp_path):
    code, = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
    name, = re.findall(r"_base_ = '(.*)'", code)
    (tmp_path / 'config.py').write_text(code.replace(name, f'{Path(mmseg.__file__).parent}/.mim/configs/mae/{name}'))
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert cfg.model.backbone.pop('init_cfg') == dict(type='Pretrained', checkpoint=f'hf:{HUB}')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert isinstance(model.backbone, NEPAViT) and not model.backbone.causal
    rates = {group['lr'] for group in optimizer.param_groups}
    assert max(rates) == cfg.optim_wrapper.optimizer.lr and min(rates) == pytest.approx(max(rates) * 0.65**12)
