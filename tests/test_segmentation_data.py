"""Segmentation configs on made-up images in each data set's own folders: training steps, a slide-mode and a multi-scale test."""
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, RUNNERS, DefaultScope, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from nepa_mm.errors import ConfigError, DataError
from tiny import ROOT, randomize

CONFIGS = ROOT / 'configs/segmentation'
NAMES = dict(
    ade20k='nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512',
    voc12aug='nepa_vit-base-p14_upernet_8xb2-amp-40k_voc12aug-512x512',
    cityscapes='nepa_vit-base-p14_upernet_4xb2-amp-80k_cityscapes-512x1024',
    camvid='nepa_vit-base-p14_upernet_8xb2-amp-20k_camvid-512x512')
CLASSES = dict(ade20k=150, voc12aug=21, cityscapes=19, camvid=11)
NO_CLASS = dict(ade20k=0, voc12aug=255, cityscapes=255, camvid=11)  # as it is in the files
# Small model, crops and images; everything else is the config's.
TINY_MODEL = {
    'model.backbone.out_indices': [0, 1, 2, 3], 'model.backbone.patch_size': 8, 'model.backbone.init_cfg': None,
    'model.neck.embed_dim': 16, 'model.neck.norm_cfg': dict(type='BN'),
    'model.decode_head.in_channels': [16] * 4, 'model.decode_head.channels': 8, 'model.decode_head.norm_cfg': dict(type='BN'),
    'model.auxiliary_head.in_channels': 16, 'model.auxiliary_head.channels': 8,
    'model.auxiliary_head.norm_cfg': dict(type='BN'),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    yield
    DefaultScope._instance_dict.clear()


def draw(root: Path, data: str, size: tuple[int, int] = (120, 90)) -> tuple[np.ndarray, np.ndarray]:
    """Write two images (W x H) and label maps for training, and two for validation, where the data set has them.

    Returns the last image and its label map, as they are in the files.
    """
    number = np.random.default_rng(0)
    for split in ('train', 'val'):
        for i in range(2):
            name = f'{split}{i}'
            long = dict(train='training', val='validation')[split]
            image, labels = dict(
                ade20k=(f'images/{long}/{name}.jpg', f'annotations/{long}/{name}.png'),
                camvid=(f'images/{long}/{name}.jpg', f'annotations/{long}/{name}.png'),
                cityscapes=(f'leftImg8bit/{split}/town/{name}_leftImg8bit.png',
                            f'gtFine/{split}/town/{name}_gtFine_labelTrainIds.png'),
                voc12aug=(f'JPEGImages/{name}.jpg', f'SegmentationClass{"Aug" if name == "train1" else ""}/{name}.png'))[data]
            blocks = number.integers(0, CLASSES[data], (3, 4)).astype(np.uint8) + (data == 'ade20k')
            blocks[0, 0] = NO_CLASS[data]
            label_map = cv2.resize(blocks, size, interpolation=cv2.INTER_NEAREST)
            pixels = cv2.resize(number.integers(0, 256, (9, 12, 3), np.uint8), size)
            for file, content in ((image, pixels), (labels, label_map)):
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / file), content)
    if data == 'voc12aug':
        lists = root / 'ImageSets/Segmentation'
        lists.mkdir(parents=True)
        for name, images in dict(train='train0', aug='train1', val='val0\nval1').items():
            (lists / f'{name}.txt').write_text(images + '\n')
    return cv2.imread(str(root / image)), label_map


def shrink(step: dict) -> None:
    """Sizes in a pipeline, by 8."""
    for key in ('scale', 'crop_size'):
        if key in step:
            step[key] = tuple(side // 8 for side in step[key])
    for steps in step.get('transforms', []):
        for inner in steps:
            shrink(inner)


def small(name: str, root: Path, work_dir: Path) -> Config:
    """The config with a tiny model, an eighth of its sizes, and data under ``root``."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict(TINY_MODEL)
    model = cfg.model
    model.backbone.arch = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
    model.data_preprocessor.size = model.backbone.img_size = tuple(side // 8 for side in cfg.crop_size)
    model.test_cfg.update({key: tuple(side // 8 for side in model.test_cfg[key]) for key in ('crop_size', 'stride')})
    loaders = cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader
    for dataset in (part for loader in loaders for part in loader.dataset.get('datasets', [loader.dataset])):
        dataset.data_root = str(root)
        for step in dataset.pipeline:
            shrink(step)
    for loader in loaders:
        loader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.param_scheduler[0].end = cfg.param_scheduler[1].begin = 1
    cfg.auto_scale_lr.base_batch_size = cfg.train_dataloader.batch_size
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir = str(work_dir)
    return cfg


@pytest.mark.parametrize('data', NAMES)
def test_the_classes_of_the_data_are_those_of_the_heads(data, tmp_path):
    _, on_disk = draw(tmp_path, data)
    cfg = small(NAMES[data], tmp_path, tmp_path)
    heads = cfg.model.decode_head, cfg.model.auxiliary_head
    ignored = cfg.model.data_preprocessor.seg_pad_val
    assert {head.get('ignore_index', 255) for head in heads} == {ignored} == {cfg.val_evaluator.get('ignore_index', 255)}
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) == 2 and len(dataset.metainfo['palette']) == CLASSES[data]
        assert {head.num_classes for head in heads} == {len(dataset.metainfo['classes'])} == {CLASSES[data]}
        for sample in dataset:
            labels = sample['data_samples'].gt_sem_seg.data
            assert labels.dtype == torch.uint8
            assert set(labels.unique().tolist()) <= {*range(CLASSES[data]), ignored}
    # The last one of validation: the image is resized, the labels keep the size of the file and its classes
    assert sample['inputs'].shape[1:] != labels.shape[1:] == on_disk.shape and labels[0, 0, 0] == ignored
    known = labels[0] != ignored
    assert torch.equal(labels[0][known].long(), torch.from_numpy(on_disk).long()[known] - int(data == 'ade20k'))


HEADS = {  # the config's settings for a backbone of width 16
    'linear': {'decode_head.in_channels': 16, 'decode_head.channels': 16},
    'fcn': {'decode_head.in_channels': 16, 'decode_head.channels': 8},
    'segformer': {'decode_head.in_channels': [16] * 4, 'decode_head.channels': 8},
    'simple-pyramid-upernet': {
        'neck.embed_dims': 16, 'neck.out_channels': 8, 'decode_head.in_channels': [8] * 4, 'decode_head.channels': 8,
        'auxiliary_head.in_channels': 8, 'auxiliary_head.channels': 8},
}


@pytest.mark.parametrize('head', HEADS)
def test_other_heads_train_what_they_should_and_give_logits_of_the_image(head):
    cfg = Config.fromfile(CONFIGS / f'{NAMES["ade20k"].replace("upernet", head)}.py')
    cfg.merge_from_dict({f'model.{key}': value for key, value in HEADS[head].items()})
    backbone = cfg.model.backbone
    backbone.update(arch=dict(embed_dims=16, num_layers=12, num_heads=2, feedforward_channels=32), init_cfg=None)
    cfg.model.data_preprocessor.size = (64, 70)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: value.clone() for name, value in model.named_parameters()}
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(150, (1, 64, 70)))) for _ in range(2)]
    images = [torch.randint(256, (3, 64, 70), dtype=torch.uint8) for _ in range(2)]
    losses = model.train_step(dict(inputs=images, data_samples=samples), optim_wrapper)
    assert losses['loss'].isfinite()
    changed = {name.split('.')[0] for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {name.split('.')[0] for name in before} - ({'backbone'} if head == 'linear' else set())
    assert model.eval()(torch.zeros(1, 3, 64, 70), None).shape[:2] == (1, 150)
    model.test_cfg.update(crop_size=(42, 42), stride=(28, 28))
    assert model.inference(torch.zeros(1, 3, 64, 70), [dict(img_shape=(64, 70), ori_shape=(64, 70))]).shape == (1, 150, 64, 70)


@pytest.mark.parametrize('data', NAMES)
def test_two_training_steps_and_a_slide_mode_evaluation(data, tmp_path):
    draw(tmp_path / 'data', data)
    cfg = small(NAMES[data], tmp_path / 'data', tmp_path / 'run')
    runner = Runner.from_cfg(cfg)
    windows = []
    runner.model.backbone.register_forward_pre_hook(lambda module, inputs: windows.append(tuple(inputs[0].shape)))
    runner.train()
    crop = tuple(cfg.model.test_cfg.crop_size)
    assert windows[:2] == [(cfg.train_dataloader.batch_size, 3, *crop)] * 2
    assert {shape[1:] for shape in windows[2:]} == {(3, *crop)} and max(shape[0] for shape in windows[2:]) in (2, 3, 4)
    assert sum(shape[0] for shape in windows[2:]) > 2  # several of each image
    scalars = runner.message_hub.log_scalars
    assert np.isfinite(scalars['train/loss'].current()) and 0 <= scalars['val/mIoU'].current() <= 100


def test_a_resumed_training_ends_with_the_same_bits(tmp_path):
    draw(tmp_path / 'data', 'camvid')
    weights = []
    for begin in (None, str(tmp_path / 'None/iter_1.pth')):
        cfg = small(NAMES['camvid'], tmp_path / 'data', tmp_path / Path(str(begin)).stem)
        cfg.train_cfg.val_interval = 10
        cfg.default_hooks.checkpoint.interval = 1
        cfg.update(load_from=begin, resume=begin is not None)
        runner = RUNNERS.build(cfg)  # of the config's own runner_type
        runner.train()
        assert runner.iter == 2
        weights.append(runner.model.state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def probabilities(model, image: np.ndarray, ratio: float, mirrored: bool) -> torch.Tensor:
    """Of an image [H, W, 3] at one size, mirrored or not: class probabilities [150, H, W], window by window."""
    height, width = image.shape[:2]
    factor = min(int(256 * ratio) / max(height, width), int(64 * ratio) / min(height, width))
    size = int(height * factor + 0.5), int(width * factor + 0.5)
    x = torch.from_numpy(cv2.resize(image, size[::-1])).permute(2, 0, 1)[None].float()  # [1, 3, h, w]
    x = (x.flip(1) - 127.5) / 127.5  # to RGB
    x = x.flip(3) if mirrored else x
    total, count = torch.zeros(1, 150, *size), torch.zeros(size)
    # Windows of 64 every 42 pixels; one that would cross the border is moved back, and a small image is a window by itself.
    for top in sorted({max(min(top, size[0] - 64), 0) for top in range(0, size[0], 42)}):
        for left in sorted({max(min(left, size[1] - 64), 0) for left in range(0, size[1], 42)}):
            rows, columns = slice(top, top + 64), slice(left, left + 64)
            window = x[..., rows, columns]
            logits = model.decode_head(model.neck(model.backbone(window)))
            height_here, width_here = window.shape[-2:]
            patch = model.backbone.patch_size
            patches = [-(-side // patch) * patch for side in (height_here, width_here)]  # logits cover whole patches
            logits = F.interpolate(logits, patches, mode='bilinear', align_corners=False)[..., :height_here, :width_here]
            total[..., rows, columns] += logits
            count[rows, columns] += 1
    logits = total / count
    logits = logits.flip(3) if mirrored else logits
    return F.interpolate(logits, (height, width), mode='bilinear', align_corners=False).softmax(1)[0]


@pytest.mark.parametrize('size', [(120, 90), (40, 200)])  # the second is narrower than a window up to ratio 1
@torch.no_grad()
def test_a_multi_scale_config_means_over_sizes_and_mirror_images(size, tmp_path, monkeypatch):
    image, _ = draw(tmp_path / 'data', 'ade20k', size)
    cfg = small(NAMES['ade20k'] + '-ms', tmp_path / 'data', tmp_path / 'run')
    model = randomize(MODELS.build(cfg.model)).eval()
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'model.pth')
    cfg.dump(tmp_path / 'config.py')
    expected = sum(probabilities(model, image, ratio, mirrored)
                   for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75) for mirrored in (False, True)) / 12
    single = probabilities(model, image, 1., False).argmax(0)
    assert (single != expected.argmax(0)).float().mean() > 0.05  # so that the test can tell
    for name, options in dict(plain=[], tta=['--tta']).items() if size[0] == 120 else [('plain', [])]:
        run_tool(monkeypatch, 'tools/test.py', tmp_path / 'config.py', tmp_path / 'model.pth', '--out', tmp_path / name, *options)
        written = cv2.imread(str(tmp_path / name / 'val1.png'), cv2.IMREAD_UNCHANGED).astype(int) - 1  # 0 is no class
        assert (written == expected.argmax(0).numpy()).mean() > 0.999


@pytest.mark.parametrize('name, options', [
    (NAMES['ade20k'], ['--num-classes=150', '--reduce-zero-label']),
    (NAMES['ade20k'] + '-ms', ['--num-classes=150', '--reduce-zero-label']),
    (NAMES['camvid'], ['--num-classes=11']),
])
def test_miou_is_that_of_an_independent_confusion_matrix(name, options, tmp_path, monkeypatch, capsys):
    data = name.split('_')[-1].split('-')[0]
    draw(tmp_path / 'data', data)
    cfg = small(name, tmp_path / 'data', tmp_path / 'run')
    model = randomize(MODELS.build(cfg.model))
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'model.pth')
    cfg.dump(tmp_path / 'config.py')
    maps = tmp_path / 'maps'
    run_tool(monkeypatch, 'tools/test.py', tmp_path / 'config.py', tmp_path / 'model.pth', '--out', maps)
    logged = json.loads(next((tmp_path / 'run').glob('*/*.json')).read_text())
    capsys.readouterr()
    run_tool(monkeypatch, 'tools/analysis_tools/compute_miou.py', maps, tmp_path / 'data/annotations/validation', *options,
             '--matrix', tmp_path / 'new/matrix.npy')
    computed = json.loads(capsys.readouterr().out)
    matrix = np.load(tmp_path / 'new/matrix.npy')
    assert computed['aAcc'] == round(100 * np.trace(matrix) / matrix.sum(), 2)
    assert 0 < computed['mIoU'] < 100 and computed == pytest.approx({key: logged[key] for key in computed}, abs=1e-4)
    with pytest.raises(ConfigError, match=r'would be written over \| .*matrix\.npy'):
        run_tool(monkeypatch, 'tools/analysis_tools/compute_miou.py', maps, tmp_path / 'data/annotations/validation', *options,
                 '--matrix', tmp_path / 'new/matrix.npy')


@pytest.mark.parametrize('predicted, label, options, message', [
    ([[0, 1]], [[1, 2]], dict(zero_is_none=True), r'^it predicts \[0\], which are no classes with --num-classes 2 --reduce.* \| '
                                                  r'.*a.png'),
    ([[0, 2]], [[0, 1]], {}, r'^it predicts \[2\], which are no classes with --num-classes 2 \| .*a.png'),
    ([[0, 1, 1]], [[0, 1]], {}, r'^\(3, 1\) pixels \(width, height\), .*a.png has \(2, 1\)'),
    ([[0, 1]], None, {}, 'no label map .* for it'),
])
def test_predictions_that_do_not_fit_their_labels(predicted, label, options, message, tmp_path):
    count = runpy.run_path(str(ROOT / 'tools/analysis_tools/compute_miou.py'))['confusion_matrix']
    for folder, content in dict(maps=predicted, labels=label).items():
        (tmp_path / folder).mkdir()
        if content is not None:
            cv2.imwrite(str(tmp_path / folder / 'a.png'), np.array(content, np.uint8))
    with pytest.raises(DataError, match=message):
        count(tmp_path / 'maps', tmp_path / 'labels', 2, **{'zero_is_none': False, **options})


@pytest.mark.parametrize('options, expected', [
    (dict(zero_is_none=False), [[1, 1], [0, 1]]),
    (dict(zero_is_none=False, ignore_index=0), [[0, 0], [0, 1]]),
    (dict(zero_is_none=True, from_zero=True), [[0, 1], [0, 0]]),  # labels 1, 1, 2, 256
    (dict(zero_is_none=True, from_zero=True, ignore_index=0), [[0, 0], [0, 0]]),
])
def test_labels_that_do_not_count_and_maps_that_count_from_zero(options, expected, tmp_path):
    count = runpy.run_path(str(ROOT / 'tools/analysis_tools/compute_miou.py'))['confusion_matrix']
    for folder, content in dict(maps=[[0, 1, 1, 0]], labels=[[0, 0, 1, 255]]).items():
        (tmp_path / folder / 'below').mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / 'below/a.png'), np.array(content, np.uint8))
    assert count(tmp_path / 'maps', tmp_path / 'labels', 2, **options).tolist() == expected


def test_label_maps_of_any_kind_and_size_are_counted_alike(tmp_path):
    count = runpy.run_path(str(ROOT / 'tools/analysis_tools/compute_miou.py'))['confusion_matrix']
    count.__globals__.update(PART=100, is_large=lambda path: path.name == 'large.tif')  # a row at a time
    maps, labels = np.random.default_rng(0).integers(0, 4, (2, 2, 70, 60), np.uint8)
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (labels, maps), 1)
    for folder in ('maps', 'labels'):
        (tmp_path / folder).mkdir()
    for folder, images in dict(maps=maps, labels=labels).items():
        tifffile.imwrite(tmp_path / folder / 'large.tif', images[0], tile=(16, 16), compression='zlib', bigtiff=True)
    cv2.imwrite(str(tmp_path / 'maps/b.png'), maps[1])
    tifffile.imwrite(tmp_path / 'labels/b.tiff', labels[1].astype(np.uint16))
    assert count(tmp_path / 'maps', tmp_path / 'labels', 4, False).tolist() == expected.tolist()
    cv2.imwrite(str(tmp_path / 'labels/b.bmp'), labels[1])
    with pytest.raises(DataError, match=r'^2 label maps .*b.\* for it \| .*b.png'):
        count(tmp_path / 'maps', tmp_path / 'labels', 4, False)
    (tmp_path / 'labels/b.png').write_bytes(b'nothing')
    with pytest.raises(DataError, match=r'it cannot be read as a label map'):
        count(tmp_path / 'maps', tmp_path / 'labels', 4, False)


def run_tool(monkeypatch, tool: str, *arguments) -> None:
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
    functions = runpy.run_path(str(ROOT / tool))
    functions['main'](functions['parse_args']())
