"""Images that are not RGB through the commands of a whole project: configs, trainings, inference, pages, export.

1, 4 and 12 channels, of 8 bits, 16 bits and numbers with a point. What comes out is compared with the model's own numbers for
pixels that the test reads by itself.
"""
import json
import re

import numpy as np
import onnxruntime
import pytest
import tifffile
import torch
from drawn_bands import bands
from drawn_data import class_map, image, save
from forks import run, start
from mmengine.config import Config
from PIL import Image

from nepa_mm import get_model
from tiny import ROOT, counts

SIDE = 32  # of images, and of what the models see
TRAIN = ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'default_hooks.logger.interval=1']
VALIDATE = ['val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False']
CASES = dict(one=(1, 'uint8'), four=(4, 'uint16'), twelve=(12, 'float32'))


def tool(folder, name, *words):
    return run(folder, ROOT / 'tools' / name, *words, OMP_NUM_THREADS='1')


def draw(folder, channels, dtype):
    """Images alone, images of two classes, and images with label maps."""
    size = (SIDE, SIDE)
    for i in range(4):
        bands(folder / f'tiles/{i}.tif', channels, dtype, size)
        bands(folder / f'kinds/{"ab"[i % 2]}/{i}.tif', channels, dtype, size)
        bands(folder / f'fields/images/{i}.tif', channels, dtype, size)
        save(folder / f'fields/masks/{i}.png', class_map(i, 3, size))


def normalised(path, config):
    """Pixels [1, C, H, W] of a file, read by tifffile, by the mean and std of a config."""
    pixels = np.atleast_3d(tifffile.imread(path)).astype(np.float32)
    mean, std = (np.float32(config.model.data_preprocessor[name]) for name in ('mean', 'std'))
    return torch.from_numpy(((pixels - mean) / std).transpose(2, 0, 1))[None]


@pytest.fixture(scope='module', params=CASES)
def project(request, tmp_path_factory):
    """A folder with data, and three models that new_config.py and train.py made of it."""
    channels, dtype = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    draw(folder, channels, dtype)
    told = ['--channels', 1] if dtype == 'uint8' else []  # grey photographs are RGB unless told
    common = ['--cpu', '--memory', 8, *told]
    sizes = ['--img-size', SIDE, '--patch-size', 8]
    tool(folder, 'new_config.py', 'pretrain', 'tiles', '-o', 'pretrained.py', '--epochs', 1, *sizes, *common)
    tool(folder, 'train.py', 'pretrained.py', '--cfg-options', *TRAIN)
    on = ['--from', 'work_dirs/pretrained', *common]
    tool(folder, 'new_config.py', 'classification', 'kinds', '-o', 'classes.py', '--epochs', 1, *on)
    tool(folder, 'train.py', 'classes.py', '--cfg-options', *TRAIN, *VALIDATE)
    tool(folder, 'new_config.py', 'segmentation', 'fields', '-o', 'labels.py', '--iters', 2, '--val-interval', 2, *on)
    trained = tool(folder, 'train.py', 'labels.py', '--cfg-options', *TRAIN, *VALIDATE)
    assert re.search(r'mIoU: \d', trained)
    return folder, channels, dtype


@counts
def test_configs_have_the_statistics_and_the_channels(project):
    folder, channels, _ = project
    config = Config.fromfile(folder / 'pretrained.py')
    values = np.concatenate([tifffile.imread(path).reshape(-1, channels) for path in (folder / 'tiles').iterdir()])
    for name, expected in dict(mean=values.mean(0, np.float64), std=values.std(0, np.float64)).items():
        np.testing.assert_allclose(config.model.data_preprocessor[name], expected, rtol=1e-3)
    for name in ('pretrained.py', 'classes.py', 'labels.py'):
        other = Config.fromfile(folder / name)
        assert other.model.backbone.in_channels == channels and other.train_dataloader.dataset.pipeline[0].channels == channels
        assert other.model.data_preprocessor.mean == config.model.data_preprocessor.mean  # of the weights, in those that follow
        assert not other.model.data_preprocessor.get('to_rgb') and not other.model.data_preprocessor.get('bgr_to_rgb')
        assert len((folder / name).read_text().splitlines()) <= 40


@counts
def test_a_classifier_s_scores_are_those_of_its_model(project):
    folder, channels, _ = project
    paths = sorted((folder / 'kinds').rglob('*.tif'))
    tool(folder, 'inference/classify_images.py', 'kinds', 'work_dirs/classes/epoch_1.pth', '--out', 'scores.json', '--show-dir',
         'shown', '--workers', 0)
    model = get_model(str(folder / 'work_dirs/classes/epoch_1.pth'))
    found = {row['path']: row['scores'][0] for row in json.loads((folder / 'scores.json').read_text())}
    for path in paths:
        with torch.no_grad():
            expected = model(normalised(path, Config.fromfile(folder / 'classes.py'))).softmax(1).max()
        assert abs(found[str(path.relative_to(folder))] - expected) < 1e-5
    assert len(list((folder / 'shown').rglob('*.png'))) == 4
    tool(folder, 'deployment/export_onnx.py', 'work_dirs/classes/epoch_1.pth', '--normalize', 'inside', '--output-file', 'm.onnx')
    raw = np.atleast_3d(tifffile.imread(paths[0])).astype(np.float32).transpose(2, 0, 1)[None]
    logits, = onnxruntime.InferenceSession(folder / 'm.onnx').run(None, dict(input=raw))
    with torch.no_grad():
        expected = model(normalised(paths[0], Config.fromfile(folder / 'classes.py'))).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@counts
def test_a_segmentor_s_labels_are_those_of_its_model(project):
    folder, channels, _ = project
    for name, options in dict(whole=[], windows=['--windows']).items():
        tool(folder, 'inference/segment_images.py', 'fields/images', 'work_dirs/labels/iter_2.pth', '--out-dir', name, *options,
             '--workers', 0)
    model = get_model(str(folder / 'work_dirs/labels/iter_2.pth'))
    for path in sorted((folder / 'fields/images').iterdir()):
        with torch.no_grad():
            logits = model.encode_decode(normalised(path, Config.fromfile(folder / 'labels.py')), [dict(img_shape=(SIDE, SIDE))])
        labels = np.asarray(Image.open(folder / f'whole/pred/{path.stem}.png'))
        np.testing.assert_array_equal(labels, logits.argmax(1)[0])
        np.testing.assert_array_equal(tifffile.imread(folder / f'windows/pred/{path.stem}.tif'), labels)


@counts
def test_features_neighbours_and_pages(project):
    folder, channels, _ = project
    tool(folder, 'inference/extract_features.py', 'tiles', 'work_dirs/pretrained/epoch_1.pth', '--out', 'features.npy',
         '--workers', 0)
    assert np.load(folder / 'features.npy').shape == (4, 128)
    printed = tool(folder, 'inference/retrieve_images.py', 'tiles/2.tif', 'work_dirs/pretrained/epoch_1.pth', '--prototype',
                   'tiles', '--show-dir', 'found', '--workers', 0)
    assert 'tiles/2.tif: tiles/2.tif 1.0000' in printed and (folder / 'found/2.tif.png').is_file()
    tool(folder, 'visualization/vis_nepa.py', 'tiles/0.tif', 'work_dirs/pretrained/epoch_1.pth', '-o', 'patches.png')
    tool(folder, 'visualization/explore_nepa.py', 'tiles/0.tif', 'work_dirs/pretrained/epoch_1.pth', '-o', 'page.html')
    image(folder / 'photo.png')
    code, said = start(folder, ROOT / 'tools/visualization/vis_nepa.py', 'photo.png', 'work_dirs/pretrained/epoch_1.pth', '-o',
                       'other.png')
    assert code == 3 and re.search(rf"it has 3 channels, not {channels} \| img_path='photo.png' \| ", said)


@counts
def test_a_test_that_would_draw_by_hooks_of_rgb_is_refused(project):
    folder, _, _ = project
    code, said = start(folder, ROOT / 'tools/test.py', 'labels.py', 'work_dirs/labels/iter_2.pth', '--show-dir', 'drawn')
    assert code == 2 and ' | --show-dir | classify_images.py --show-dir and segment_images.py --out-dir ' in said
    assert not (folder / 'drawn').exists()


def with_nan(folder):
    tifffile.imwrite(folder / 'data/9.tif', np.full((4, 40, 50), np.nan, np.float32), photometric='minisblack')


def with_palette(folder):
    Image.new('P', (50, 40)).save(folder / 'data/9.png')


@counts
@pytest.mark.parametrize('add, options, message', [
    (lambda folder: bands(folder / 'data/9.tif', 12), [], 'it has 12 x uint16, and 4 others 4 x uint16: a training takes'),
    (with_nan, [], '8000 of 8000 values are no finite numbers (NaN or infinite)'),
    (with_palette, [], 'it has RGB, and 4 others 4 x uint16'),
    (with_palette, ['--channels', 4], 'numbers of a palette, which are no values of bands'),
])
def test_images_that_do_not_belong_end_the_command_in_a_line(tmp_path, add, options, message):
    for i in range(4):
        bands(tmp_path / f'data/{i}.tif', 4)
    add(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    command = [ROOT / 'tools/new_config.py', 'pretrain', 'data', '-o', 'own.py', '--cpu', '--memory', 8, *options]
    code, said = start(tmp_path, *command)
    line = next(line for line in said.splitlines() if line.startswith('nepa_mm: error'))
    assert code == 3 and line.startswith('nepa_mm: error: 1 of 5 files cannot be loaded: ' + message), said
    assert line.endswith('| mend them, or add --leave-out-broken') and ' | data/9.' in line
    assert sorted(tmp_path.rglob('*')) == before
    run(tmp_path, *command, '--leave-out-broken')
    assert (tmp_path / 'own_train.txt').read_text().split() == [f'{i}.tif' for i in range(4)]
