"""What the tools say to bad segmentation data, models and checkpoints: one line with file, value and config key."""
import re
import runpy
import sys
from pathlib import Path

import cv2
import forks
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from test_segmentation_data import NAMES, draw, small

from tiny import ROOT


@pytest.fixture
def camvid(tmp_path):
    """Drawn data, and a small config that trains one step of one image and then tests two."""
    init_default_scope('mmseg')
    draw(tmp_path / 'data', 'camvid')
    cfg = small(NAMES['camvid'], tmp_path / 'data', tmp_path / 'run')
    cfg.train_cfg.update(max_iters=1, val_interval=1)
    cfg.log_level = 'ERROR'
    yield tmp_path, cfg
    DefaultScope._instance_dict.clear()


def command(tool: str, folder: Path, cfg, *arguments) -> list[str]:
    (folder / 'config.py').write_text(''.join(f'{key} = {value!r}\n' for key, value in cfg.to_dict().items()))
    return [f'tools/{tool}.py', str(folder / 'config.py'), *map(str, arguments)]


def said(monkeypatch, capsys, line: list[str]) -> tuple[int, str]:
    """Exit code and last line of a tool, in this process."""
    monkeypatch.setattr(sys, 'argv', line)
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / line[0]), run_name='__main__')
    return exit_.value.code, capsys.readouterr().err.strip().splitlines()[-1]


def checkpoint(folder: Path, cfg, **classes) -> Path:
    model = cfg.model.copy()
    for head, count in classes.items():
        model[head] = dict(model[head], num_classes=count)
    torch.save(dict(state_dict=MODELS.build(model).state_dict(), meta={}, message_hub={}), folder / 'model.pth')
    return folder / 'model.pth'


def write(path: Path, change) -> None:
    """Change a label map."""
    cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


LABELS = dict(
    half=lambda labels: cv2.resize(labels, (60, 45), interpolation=cv2.INTER_NEAREST),
    colours=lambda labels: np.stack([labels] * 3, axis=-1),
    twelve=lambda labels: np.full_like(labels, 12),
    wide=lambda labels: np.full(labels.shape, 256, np.uint16))
SAYS = dict(
    half=r"60x45 pixels, but img_path='{image}' has 120x90 \| {where} \| make the label map as large as its image",
    colours=r'3 channels, and a label map has one, of class numbers \| {where} \| write the index of .* the colour',
    twelve=r'labels \[12\] are neither below model.decode_head.num_classes=11 nor {ignored} \| {where} \| '
           'mend the label map, or set one of the two',
    wide=r'labels \[256\], of which mmseg keeps eight bits \(256 becomes 0\) \| {where} \| number the classes from '
         '0 to 254, and give 255 to what is ignored')


@pytest.mark.parametrize('tool, tta, bad', [
    ('train', False, 'half'), ('train', False, 'twelve'), ('train', False, 'wide'),
    ('test', False, 'colours'), ('test', True, 'twelve')])
def test_a_bad_label_map_is_named_with_its_key(tool, tta, bad, camvid, monkeypatch, capsys):
    folder, cfg = camvid
    split = dict(train='training', test='validation')[tool]
    for path in (folder / 'data/annotations' / split).iterdir():
        write(path, LABELS[bad])
    arguments = [] if tool == 'train' else [checkpoint(folder, cfg)]
    code, line = said(monkeypatch, capsys, command(tool, folder, cfg, *arguments, *['--tta'] * tta))
    file = rf'{folder}/data/annotations/{split}/\w+.png'
    ignored = 'model.decode_head.ignore_index=11' if tool == 'train' else 'test_evaluator.ignore_index=11'
    where = rf"seg_map_path='{file}' \({tool}_dataloader.dataset.data_prefix.seg_map_path\)"
    message = SAYS[bad].format(where=where, image=rf'{folder}/data/images/{split}/\w+.jpg', ignored=ignored)
    assert code == 3
    assert re.fullmatch(f'nepa_mm: error: {message}', line), line


def test_a_loader_s_process_says_the_same(camvid):
    folder, cfg = camvid
    cfg.train_dataloader.update(num_workers=1)
    for path in (folder / 'data/annotations/training').iterdir():
        path.write_bytes(b'no image')
    process = forks.done(*command('train', folder, cfg), timeout=600)
    assert process.returncode == 3 and re.fullmatch(
        r'nepa_mm: error: it cannot be read as a label map \(UnidentifiedImageError: cannot identify image file .*\) \| '
        rf"seg_map_path='{folder}/data/annotations/training/\w+.png' \(train_dataloader.dataset.data_prefix.seg_map_path\) \| "
        'mend the file, or take the image out of the dataset', process.stderr.strip().splitlines()[-1]), process.stderr


@pytest.mark.parametrize('bad, code, message', [
    ('classes', 2, r'150 differs from the 11 classes of train_dataloader.dataset .* \| model.decode_head.num_classes \| '
                   r'--cfg-options '
                   'model.decode_head.num_classes=11 model.auxiliary_head.num_classes=11'),
    ('image', 3, r'12x6 pixels as the model gets it are less than one patch, model.backbone.patch_size=8 \| '
                 r"img_path='.*/val0.jpg' \(val_dataloader.dataset.data_prefix.img_path\) \| enlarge it by Resize"),
    ('out_indices', 2, r'\[4, 2, 1, 0.5\] takes 4 maps, but model.backbone.out_indices=\[0, 1, 3\] gives 3 \| '
                       r'model.neck.rescales'),
    ('small', 3, r'12x6 pixels as the model gets it are less than one patch, model.backbone.patch_size=8 \| '
                 r"img_path='.*/train.*.jpg' \(train_dataloader.dataset.data_prefix.img_path\)"),
    ('versions', 2, r'several versions of an image, as TestTimeAug gives, and the model takes one \| '
                    r'val_dataloader.dataset.pipeline'),
    ('suffix', 3, r"'.tif': no file in '.*/images/training' ends so \| train_dataloader.dataset.img_suffix \| "
                  r".* holds, .'train0.jpg'"),
])
def test_a_training_that_cannot_be_meant(bad, code, message, camvid, monkeypatch, capsys):
    folder, cfg = camvid
    if bad == 'classes':
        cfg.model.decode_head.num_classes = cfg.model.auxiliary_head.num_classes = 150
    if bad == 'out_indices':
        cfg.model.backbone.out_indices = [0, 1, 3]
    if bad == 'suffix':
        cfg.train_dataloader.dataset.img_suffix = '.tif'
    if bad == 'small':
        cfg.train_dataloader.dataset.pipeline = [
            *cfg.train_dataloader.dataset.pipeline[:2], dict(type='Resize', scale=(12, 6)), dict(type='PackSegInputs')]
        cfg.model.data_preprocessor.update(size=None, size_divisor=1)
    if bad == 'versions':
        cfg.val_dataloader.dataset.pipeline = cfg.tta_pipeline
    if bad == 'image':
        cfg.val_dataloader.dataset.pipeline[1] = dict(type='Resize', scale=(12, 6))
    ended, line = said(monkeypatch, capsys, command('train', folder, cfg))
    assert ended == code and re.match(f'nepa_mm: error: {message}', line), line


@pytest.mark.parametrize('arguments', [['test', '--tta'], ['train', '--resume']])
def test_a_checkpoint_of_other_classes(arguments, camvid, monkeypatch, capsys):
    folder, cfg = camvid
    path = checkpoint(folder, cfg, decode_head=150, auxiliary_head=19)
    code, line = said(monkeypatch, capsys, command(arguments[0], folder, cfg, *arguments[1:], path))
    created = ', '.join(f'{head}.conv_seg.{kind} at random for 11 classes ({count} there)' for head, count in (
        ('decode_head', 150), ('auxiliary_head', 19)) for kind in ('weight', 'bias'))
    keys = 'model.decode_head.num_classes=11, model.auxiliary_head.num_classes=11'
    assert code == 4 and line.startswith(f'nepa_mm: error: a {"resumed training" if len(arguments[0]) > 4 else "test"} ')
    assert created in line and f' | {path} (load_from, {keys}) | ' in line, line


def test_a_training_makes_heads_for_other_classes_and_says_so(camvid, monkeypatch):
    folder, cfg = camvid
    cfg.log_level, cfg.load_from = 'INFO', str(checkpoint(folder, cfg, decode_head=150))
    monkeypatch.setattr(sys, 'argv', command('train', folder, cfg))
    runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')  # with good data, to its end
    assert (folder / 'run/iter_1.pth').exists()
    log, = (folder / 'run').glob('*/*.log')
    remade = 'decode_head.conv_seg.weight at random for 11 classes (150 there)'
    assert remade in log.read_text()
    warning, = (line for line in log.read_text().splitlines() if 'WARNING' in line and 'at random' in line)
    assert f'{folder}/model.pth: {remade}, ' in warning and warning.endswith(
        ', as it has other classes than model.decode_head.num_classes=11; these weights learn anew'), warning
