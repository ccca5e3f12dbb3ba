"""Images to pretrain on, and a pretraining that goes on: its first loss is the loaded model's."""
import pytest
import torch
from drawn_bands import bands
from drawn_data import class_folders, image
from mask_layouts import LAYOUTS
from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, DefaultScope, init_default_scope
from own_configs import written
from timm.models import adapt_input_conv

import nepa_mm
from nepa_mm import NEPA, NEPAViT
from nepa_mm.errors import ConfigError
from nepa_mm.own_data.pretraining import find_images_alone
from tiny import TINY, randomize


def test_label_maps_and_images_of_other_splits_are_left_out(tmp_path):
    LAYOUTS['ade'].draw(tmp_path)
    found = find_images_alone(tmp_path)
    assert [path.name for path in found.paths] == ['1.jpg', '2.jpg', '3.jpg', '4.jpg'] and found.folder == 'images/training'
    assert len(found.remarks) == 2


def test_all_images_of_plain_folders(tmp_path):
    class_folders(tmp_path, dict(a=2, b=1))
    image(tmp_path / 'c.png')
    found = find_images_alone(tmp_path)
    assert len(found.paths) == 4 and found.folder == '' and not found.remarks


@pytest.mark.parametrize('in_work_dir', [False, True])
def test_the_loss_of_step_0_is_that_of_the_loaded_model(tmp_path, monkeypatch, in_work_dir):
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / 'data', dict(a=8), size=(40, 40))
    pixels = dict(mean=[100., 110., 120.], std=[50., 60., 70.], to_rgb=True)
    config = Config(dict(
        default_scope='mmpretrain', model=dict(
            type='nepa_mm.NEPA', backbone=dict(type='nepa_mm.NEPAViT', **TINY, gated_mlp=True, act='silu', qk_norm='affine'),
            head=dict(type='nepa_mm.NextEmbeddingLoss'),
            data_preprocessor=dict(type='nepa_mm.FusedSelfSupDataPreprocessor', **pixels))))
    trained = randomize(NEPA(NEPAViT(**TINY, gated_mlp=True, act='silu', qk_norm='affine')), 0.3)
    (tmp_path / 'run').mkdir()
    torch.save(dict(state_dict=trained.state_dict(), meta=dict(cfg=config.pretty_text)), 'run/epoch_3.pth')
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'run/epoch_3.pth'))
    cfg = written(monkeypatch, 'pretrain', '--from', 'run' if in_work_dir else 'run/epoch_3.pth')
    assert cfg.model.backbone.init_cfg.checkpoint == 'run/epoch_3.pth' and cfg.model.data_preprocessor.std == [50., 60., 70.]
    init_default_scope('mmpretrain')
    built = MODELS.build(cfg.model)
    built.init_weights()
    torch.manual_seed(1)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = FUNCTIONS.get(cfg.train_dataloader.collate_fn.type)([dataset[i] for i in range(4)])
    losses = []
    for model in (built, nepa_mm.get_model('run/epoch_3.pth')):
        torch.manual_seed(2)
        data = model.train().data_preprocessor(batch, training=True)
        losses.append(model(**data, mode='loss')['loss'].item())
    DefaultScope._instance_dict.clear()
    assert losses[0] == losses[1] and abs(losses[0]) > 0.01


@pytest.mark.parametrize('channels, dtype', [(1, 'uint16'), (4, 'uint16'), (12, 'float32')])
def test_the_loss_of_step_0_is_that_of_the_model_adapted_from_rgb(tmp_path, monkeypatch, channels, dtype):
    """The config of new_config.py builds and loads what get_model loads for as many channels, whose weights are timm's."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    for i in range(8):
        bands(tmp_path / f'data/{i}.tif', channels, dtype)
    config = Config(dict(default_scope='mmpretrain', model=dict(
        type='nepa_mm.NEPA', backbone=dict(type='nepa_mm.NEPAViT', **TINY),
        data_preprocessor=dict(type='nepa_mm.FusedSelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True))))
    trained = randomize(NEPA(NEPAViT(**TINY)), 0.3)
    torch.save(dict(state_dict=trained.state_dict(), meta=dict(cfg=config.pretty_text)), 'rgb.pth')
    cfg = written(monkeypatch, 'pretrain', '--from', 'rgb.pth')
    init_default_scope('mmpretrain')
    built = MODELS.build(cfg.model)
    built.init_weights()
    rgb = trained.backbone.patch_embed.weight
    assert torch.equal(built.backbone.patch_embed.weight, adapt_input_conv(channels, rgb))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    torch.manual_seed(1)
    batch = FUNCTIONS.get(cfg.train_dataloader.collate_fn.type)([dataset[i] for i in range(4)])
    assert batch['inputs'].shape == (4, channels, 28, 28) and batch['inputs'].dtype == torch.float32
    data = built.train().data_preprocessor(batch, training=True)
    mean, std = data['inputs'].mean().item(), data['inputs'].std().item()
    assert abs(mean) < 0.1 and 0.3 < std < 1.1  # normalised; of noise, resizing leaves less
    losses = []
    for model in (built, nepa_mm.get_model('rgb.pth', in_channels=channels).train()):
        torch.manual_seed(2)
        losses.append(model(**data, mode='loss')['loss'].item())
    DefaultScope._instance_dict.clear()
    assert losses[0] == losses[1] and abs(losses[0]) > 1e-3


def test_weights_of_other_channels_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bands(tmp_path / 'data/0.tif', 4)
    bands(tmp_path / 'data/1.tif', 4)
    config = Config(dict(default_scope='mmpretrain', model=dict(
        type='nepa_mm.NEPA', backbone=dict(type='nepa_mm.NEPAViT', **TINY, in_channels=12),
        data_preprocessor=dict(type='nepa_mm.FusedSelfSupDataPreprocessor', mean=[0.] * 12, std=[1.] * 12))))
    trained = NEPA(NEPAViT(**TINY, in_channels=12))
    torch.save(dict(state_dict=trained.state_dict(), meta=dict(cfg=config.pretty_text)), 'twelve.pth')
    with pytest.raises(ConfigError, match=r"'twelve.pth' is of 12 channels, and the images are 4 channels \| --from \| give"):
        written(monkeypatch, 'pretrain', '--from', 'twelve.pth')
    assert not (tmp_path / 'own.py').exists()
