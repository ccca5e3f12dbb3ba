"""What is chosen for a GPU, for a CPU, and instead of it by options."""
import pytest
from drawn_bands import bands
from drawn_data import class_folders
from mask_layouts import LAYOUTS
from own_configs import GPU, written

from nepa_mm.errors import ConfigError
from nepa_mm.own_data.choices import power_of_two
from nepa_mm.own_data.machine import Cost, Machine


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'data'


def test_powers_of_two():
    assert [power_of_two(most) for most in (0, 1, 3, 4, 1000)] == [1, 1, 2, 4, 512] and power_of_two(0.5, 8) == 8


def test_images_that_fit_and_that_a_cpu_can_do():
    cost = Cost(fixed=4e9, image=1e8, work=6e9)
    assert cost.most(Machine('', 8e9, 2, False)) == pytest.approx(20) and cost.memory(20) == 6e9
    assert cost.images_in(10, Machine('', 8e9, 2, False)) == pytest.approx(80)


def test_the_recipe_on_a_gpu(data, monkeypatch, capsys):
    class_folders(data, {f'class {i}': 200 for i in range(13)}, size=(4, 4))
    cfg = written(monkeypatch, 'classification', on=GPU)
    assert cfg.model.backbone.init_cfg.checkpoint == 'hf:SixAILab/nepa-base-patch14-224' and cfg.model.backbone.arch == 'base'
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 64 and cfg.train_dataloader.num_workers == 1
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.5e-3 / 4, rel=0.01)
    assert cfg.optim_wrapper.type == 'nepa_mm.Bf16OptimWrapper'
    assert cfg.param_scheduler.decay == 0.65 and cfg.param_scheduler.warmup == 20 and cfg.train_cfg.max_epochs == 100
    assert cfg.model.train_cfg.augments[0].mixup_alpha == 0.8 and cfg.model.train_cfg.augments[0].num_classes == 13
    assert cfg.train_dataloader.dataset.pipeline[1].input_size == 224 and cfg.val_evaluator.topk == (1, 5)
    assert "the authors' weights; --from takes others" in capsys.readouterr().out


def test_options_take_the_place_of_choices(data, monkeypatch, capsys):
    class_folders(data, dict(a=40, b=40))
    cfg = written(monkeypatch, 'classification', '--from', 'none', '--arch', 'small', '--img-size', 48, '--patch-size', 6,
                  '--epochs', 7, '--lr', 0.5, '--layer-decay', 0.9, '--effective-batch', 32, '--batch-size', 8,
                  '--val-interval', 3, '--val-share', 0.5, '--ema-momentum', 0.25, on=GPU)
    backbone = cfg.model.backbone
    assert (backbone.arch, backbone.img_size, backbone.patch_size, backbone.init_cfg) == ('small', 48, 6, None)
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (8, 32)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval, cfg.param_scheduler.decay) == (7, 3, 0.9)
    assert cfg.optim_wrapper.optimizer.lr == 0.5 and cfg.custom_hooks[0].momentum == 0.25
    assert cfg.train_dataloader.dataset.pipeline[1].input_size == 48
    assert capsys.readouterr().out.count('as given') == 13


def test_the_batch_is_a_part_of_the_effective_one(data, monkeypatch):
    class_folders(data, dict(a=300, b=300), size=(4, 4))
    cfg = written(monkeypatch, 'classification', '--effective-batch', 250, on=GPU)  # of which 128 would fit
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (50, 250)
    (data.parent / 'own.py').unlink()
    with pytest.raises(ConfigError, match=r'^48 images at a time never make the 200 of an optimizer step \| --batch-size \| '):
        written(monkeypatch, 'classification', '--effective-batch', 200, '--batch-size', 48, on=GPU)


def test_options_that_nothing_asks_for_are_said(data, monkeypatch, capsys):
    for split in ('train', 'val'):
        class_folders(data / split, dict(a=8, b=8))
    written(monkeypatch, 'classification', '--iters', 100, '--val-share', 0.5, '--epochs', 3, '--mask-suffix', '_m.png')
    assert 'not used here: --iters, --mask-suffix, --val-share' in ' '.join(capsys.readouterr().out.replace('│', ' ').split())


def test_commands_of_names_with_blanks_and_brackets(data, monkeypatch, capsys):
    class_folders(data, dict(a=8, b=8))
    monkeypatch.setattr('own_configs.CONFIG', 'my [own].py')
    written(monkeypatch, 'pretrain', '--epochs', 2)
    printed = capsys.readouterr().out
    assert "next:    python tools/train.py 'my [own].py'" in printed and "--from 'work_dirs/my [own]/epoch_2.pth'" in printed
    assert "#   python tools/train.py 'my [own].py'" in (data.parent / 'my [own].py').read_text()


def test_segmentation_on_a_gpu(data, monkeypatch):
    LAYOUTS['ade'].draw(data)
    cfg = written(monkeypatch, 'segmentation', on=GPU)
    assert cfg.train_dataloader.batch_size == 16 and cfg.train_cfg.type == 'nepa_mm.AccumulatingIterLoop'
    assert cfg.model.decode_head.norm_cfg.type == 'SyncBN' and cfg.model.decode_head.channels == 768
    assert cfg.train_cfg.max_iters == 1000 == cfg.param_scheduler[1].end and cfg.param_scheduler[0].end == 100
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.65 and cfg.optim_wrapper.optimizer.lr == 1e-4


def test_a_folder_that_is_named_by_way_of_another(data, monkeypatch):
    class_folders(data, dict(a=8, b=8))
    monkeypatch.setattr('own_configs.DATA', f'{data}/../data')
    cfg = written(monkeypatch, 'pretrain')
    assert cfg.train_dataloader.dataset.data_root == str(data)


def test_large_has_its_own_recipe_on_a_gpu(data, monkeypatch):
    """As classification/nepa_vit-large-p14_8xb128-coslr-100e_in1k.py and segmentation/nepa_vit-large-p14_upernet_*.py."""
    class_folders(data, {f'class {i}': 200 for i in range(13)}, size=(4, 4))
    cfg = written(monkeypatch, 'classification', '--from', 'none', '--arch', 'large', on=GPU)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-3 / 4) and cfg.param_scheduler.warmup == 30
    assert cfg.model.backbone.drop_path_rate == 0.2 and cfg.train_cfg.max_epochs == 100
    (data.parent / 'own.py').unlink()
    LAYOUTS['ade'].draw(data.parent / 'scenes')
    monkeypatch.setattr('own_configs.DATA', 'scenes')
    cfg = written(monkeypatch, 'segmentation', '--from', 'none', '--arch', 'large', on=GPU)
    assert cfg.model.backbone.out_indices == [7, 11, 15, 23] and cfg.model.backbone.drop_path_rate == 0.2


def test_pretraining_on_a_gpu(data, monkeypatch):
    class_folders(data, dict(a=40), size=(120, 120))
    cfg = written(monkeypatch, 'pretrain', on=GPU)
    assert cfg.model.backbone.compile and cfg.model.backbone.get('init_cfg') is None and cfg.train_cfg.max_epochs == 1600
    assert cfg.param_scheduler.warmup == 40 and cfg.auto_scale_lr.base_batch_size == 8
    assert cfg.train_dataloader.dataset.data_prefix == ''
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(3e-4 * 8 / 256, rel=0.01)


def test_bands_on_a_gpu(data, monkeypatch, capsys):
    """The released weights of RGB are adapted, the patch embedding trains, and steps for RGB are left out, with a line."""
    for i in range(8):
        bands(data / f'{"ab"[i % 2]}/{i}.tif', 4, size=(240, 230))
    cfg = written(monkeypatch, 'classification', on=GPU)
    assert cfg.model.backbone.init_cfg.checkpoint == 'hf:SixAILab/nepa-base-patch14-224' and cfg.model.backbone.in_channels == 4
    assert cfg.model.backbone.frozen_stages == -1 and len(cfg.model.data_preprocessor.mean) == 4
    assert not cfg.model.data_preprocessor.to_rgb
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline] == [
        'nepa_mm.LoadImage', 'nepa_mm.RandomResizedCropFlip', 'PackInputs']
    assert [step.type for step in cfg.val_dataloader.dataset.pipeline] == [
        'nepa_mm.LoadImage', 'nepa_mm.ResizeEdge', 'CenterCrop', 'PackInputs'] and cfg.test_pipeline[1].scale == 256
    printed = ' '.join(capsys.readouterr().out.replace('│', ' ').split())
    assert 'RandAugment and random erasing are left out: they are for RGB of 8 bits' in printed
    assert '4 x uint16 8; mean' in printed and 'the patch embedding of RGB is repeated for them, as timm does' in printed
    (data.parent / 'own.py').unlink()
    cfg = written(monkeypatch, 'pretrain', on=GPU)
    assert cfg.train_dataloader.dataset.pipeline[0] == dict(type='nepa_mm.LoadImage', channels=4)
    assert [step.type for step in cfg.train_pipeline[1:]] == ['nepa_mm.RandomResizedCropFlip', 'nepa_mm.PackPixels']
    assert cfg.model.backbone.in_channels == 4 and cfg.model.data_preprocessor.compile
