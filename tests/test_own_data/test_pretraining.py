"""Images to pretrain on, and a pretraining that goes on: its first loss is the loaded model's."""
import pytest
import torch
from drawn_data import class_folders, image
from mask_layouts import LAYOUTS
from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, DefaultScope, init_default_scope
from own_configs import written

import nepa_mm
from nepa_mm import NEPA, NEPAViT
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
