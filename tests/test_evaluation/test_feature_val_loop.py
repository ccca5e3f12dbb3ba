import json

import forks
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import Runner
from PIL import Image

from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.evaluation import FeatureValLoop, knn_predict
from nepa_mm.evaluation.feature_val_loop import extract_features, pool_features
from nepa_mm.models import CausalTIMMBackbone
from tiny import ROOT, randomize

CONFIG = '''
default_scope = 'mmpretrain'
model = dict(
    type='nepa_mm.NEPA',
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='nepa_mm.NEPAViT', layer_scale_init_value=1., img_size=28, patch_size=7,
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)))
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
bank = dict(
    type='CustomDataset', data_root='{data}', data_prefix='bank', pipeline=[*pipeline, dict(type='nepa_mm.KNNBank')])
queries = dict(type='CustomDataset', data_root='{data}', data_prefix='queries', pipeline=pipeline)
loader = dict(num_workers=0, persistent_workers=False, collate_fn=dict(type='default_collate'))
train_dataloader = dict(batch_size=4, sampler=dict(type='DefaultSampler', shuffle=True), dataset=bank, **loader)
val_dataloader = dict(
    batch_size=5, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ConcatDataset', datasets=[bank, queries]), **loader)
val_evaluator = dict(type='nepa_mm.KNNAccuracy', k=[1, 3])
val_cfg = dict(type='nepa_mm.FeatureValLoop', pool='avg')
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.05))
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=2)
custom_hooks = [dict(type='EMAHook', momentum=1e-3, evaluate_on_origin=True, priority='ABOVE_NORMAL')]
randomness = dict(seed=0)
'''


@pytest.fixture
def scope():
    init_default_scope('mmpretrain')
    yield
    DefaultScope._instance_dict.clear()


def draw(folder, counts, size=28):
    """Noise with a faint tint of the class, so that neighbours are right now and then: {folder}/{class}/{i}.png."""
    rng = np.random.default_rng(0)
    for label, count in enumerate(counts):
        (folder / f'{label}').mkdir(parents=True)
        for i in range(count):
            pixels = rng.normal(127, 60, (size, size, 3)) + 4 * np.eye(3)[label]
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f'{label}/{i}.png')


def read(folder):
    """Images [B, 3, H, W] in [-1, 1] and labels [B]."""
    paths = sorted(folder.glob('*/*.png'))
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1, torch.tensor([int(path.parent.name) for path in paths])


def logged(work_dir):
    file, = work_dir.glob('*/vis_data/scalars.json')
    record = json.loads(file.read_text().splitlines()[-1])
    return {key: value for key, value in record.items() if key.startswith('knn/')}


def test_pooling_by_hand():
    tokens = torch.tensor([[[9.], [1.], [2.], [6.]]])  # [B, L, D]
    assert pool_features((tokens * 0, tokens), 'avg', 1).item() == 3
    assert pool_features(tokens, 'last', 1).item() == 6
    assert torch.equal(pool_features([torch.eye(2)], 'avg', 1), torch.eye(2))
    assert pool_features(tokens[..., None], 'last', 0).shape == (1, 4)
    with pytest.raises(ConfigError, match='output of type dict'):
        pool_features({}, 'avg', 0)
    with pytest.raises(ConfigError, match=r"'mean' is unknown \| pool \| choose from \['avg', 'last'\]"):
        FeatureValLoop(None, None, None, pool='mean')


VIT = dict(arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32), img_size=28, patch_size=7)
HEAD = dict(
    type='MoCoV3Head', loss=dict(type='CrossEntropyLoss'),
    predictor=dict(type='NonLinearNeck', in_channels=4, hid_channels=4, out_channels=4))
NECK = dict(type='NonLinearNeck', in_channels=16, hid_channels=4, out_channels=4)


@pytest.mark.parametrize('config, expected', [
    (dict(type='MAE', backbone=dict(type='MAEViT', **VIT)), lambda model, x: model.backbone(x, None)[-1][:, 1:].mean(1)),
    (dict(type='MoCoV3', base_momentum=0.01, backbone=dict(type='MoCoV3ViT', **VIT), neck=NECK, head=HEAD),
     lambda model, x: model.backbone(x)[-1]),
    (dict(type='SimSiam', backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4), neck=None, head=None),
     lambda model, x: model.backbone(x)[-1].mean((2, 3))),
], ids=['MAE', 'MoCoV3', 'SimSiam'])
def test_other_algorithms(config, expected, scope):
    model = MODELS.build({**config, 'data_preprocessor': dict(type='SelfSupDataPreprocessor', mean=[0.] * 3, std=[2.] * 3)})
    model.eval()
    x = torch.randn(2, 3, 28, 28)
    features, samples = extract_features(model, dict(inputs=x, data_samples=['a', 'b']), 'avg')
    torch.testing.assert_close(features, expected(model, x / 2))
    assert features.ndim == 2 and samples == ['a', 'b']
    with pytest.raises(ConfigError, match='default_collate'):  # what pseudo_collate gives
        extract_features(model, dict(inputs=list(x), data_samples=['a', 'b']), 'avg')


def test_runner_validates_averaged_and_raw_weights(tmp_path, scope):
    draw(tmp_path / 'data/bank', [6, 6, 6])
    draw(tmp_path / 'data/queries', [7, 7, 7])
    cfg = Config.fromstring(CONFIG.format(data=tmp_path / 'data'), '.py')
    cfg.work_dir = str(tmp_path / 'work')
    Runner.from_cfg(cfg).train()

    checkpoint = torch.load(tmp_path / 'work/epoch_2.pth', weights_only=False)
    raw = {key[len('module.'):]: value for key, value in checkpoint['ema_state_dict'].items() if key.startswith('module.')}
    (bank, bank_labels), (queries, labels) = read(tmp_path / 'data/bank'), read(tmp_path / 'data/queries')
    model = NEPA(NEPAViT(**{key: value for key, value in cfg.model.backbone.items() if key != 'type'})).eval()
    expected, features = {}, {}
    for suffix, weights in (('', checkpoint['state_dict']), ('_origin', raw)):
        model.load_state_dict(weights)
        with torch.no_grad():
            bank_features, features[suffix] = (model.backbone(x)[-1][:, 1:].mean(1) for x in (bank, queries))
        for k in (1, 3):
            prediction = knn_predict(bank_features, bank_labels, features[suffix], k, 0.07, 3)
            expected[f'knn/top1_k{k}{suffix}'] = pytest.approx(100 * (prediction == labels).float().mean().item())
    assert logged(tmp_path / 'work') == expected
    assert (features[''] - features['_origin']).abs().max() > 0.1  # really two models
    assert expected['knn/top1_k1'] != expected['knn/top1_k1_origin']


def test_two_processes_get_the_accuracy_of_one(tmp_path):
    # 3 + 2 images for two processes: the sampler repeats the first image of the bank. If it voted twice, the majority (votes
    # being all but equal) of a query just like it would turn, and accuracy be 100.
    draw(tmp_path / 'data/bank', [1, 2])
    draw(tmp_path / 'data/queries', [1, 1])
    (tmp_path / 'data/queries/0/0.png').write_bytes((tmp_path / 'data/bank/0/0.png').read_bytes())
    (tmp_path / 'data/queries/1/0.png').write_bytes((tmp_path / 'data/bank/1/0.png').read_bytes())
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(data=tmp_path / 'data') + '''
val_evaluator.update(k=[1, 3], temperature=1e3)
val_dataloader.update(batch_size=2)
train_dataloader.update(batch_size=1)
train_cfg.update(max_epochs=1)
''')
    forks.run(tmp_path, ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'one')
    forks.run_together(2, ROOT / 'tools/train.py', config, '--launcher', 'pytorch', '--work-dir', tmp_path / 'two')
    assert logged(tmp_path / 'two') == logged(tmp_path / 'one') == {
        'knn/top1_k1': 100., 'knn/top1_k1_origin': 100., 'knn/top1_k3': 50., 'knn/top1_k3_origin': 50.}


def test_registers_of_a_timm_model_are_no_patches():
    model = NEPA(CausalTIMMBackbone(
        'vit_base_patch14_reg4_dinov2', img_size=28, patch_size=7, embed_dim=16, depth=1, num_heads=2, dynamic_img_size=True))
    randomize(model.eval(), 0.3)
    images = torch.randn(2, 3, 28, 28)
    found, _ = extract_features(model, dict(inputs=images, data_samples=None), 'avg')
    model.backbone.out_type = 'avg_featmap'
    torch.testing.assert_close(found, model.backbone(images)[0])
