"""segment_images.py on TIFF images of which windows are read: the labels of the whole image, in memory that does not grow."""
import forks
import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmseg.apis import inference_model
from PIL import Image

from nepa_mm import get_model
from tiny import TINY, counts, randomize

SEGMENTOR = f'''
default_scope = 'mmseg'
model = dict(
    type='nepa_mm.PaddedEncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[120, 110, 100], std=[50, 60, 70], bgr_to_rgb=True),
    backbone=dict(type='nepa_mm.NEPAViT', arch={TINY['arch']}, img_size=28, patch_size=7, causal=False,
                  out_type='padded_featmap', out_indices=[2]),
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=0, channels=8, num_convs=1, concat_input=False, num_classes=4,
        norm_cfg=dict(type='BN', requires_grad=True)),
    train_cfg=dict(), test_cfg=dict(mode='slide', crop_size=(30, 40), stride=(20, 30), windows_at_once=1))
test_pipeline = [dict(type='nepa_mm.LoadImage'), dict(type='nepa_mm.LoadSegAnnotations'), dict(type='nepa_mm.PackSegInputs')]
test_dataloader = dict(dataset=dict(type='BaseSegDataset', pipeline=test_pipeline))
'''
SMALLER = 'import nepa_mm.apis.large_images as l; l.LARGE = 5000'  # some of the images are large then
NAMES = ('sky', 'road', 'car', 'tree')
SIZES = dict(tiled=(131, 97), strips=(60, 150), small=(20, 33), grey=(70, 70))


def drawn(size, bands=3):
    """An image of patches and noise."""
    random = np.random.default_rng(size[0])
    patches = np.kron(random.integers(0, 200, (-(-size[0] // 16), -(-size[1] // 16), bands)), np.ones((16, 16, 1)))
    return (patches[:size[0], :size[1]] + random.integers(0, 56, (*size, bands))).astype(np.uint8).squeeze()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A segmentor with random weights, its config, and TIFF images."""
    folder = tmp_path_factory.mktemp('large')
    (folder / 'segmentor.py').write_text(SEGMENTOR)
    config = Config.fromfile(folder / 'segmentor.py')
    torch.manual_seed(3)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = randomize(MODELS.build(config.model))
    torch.save(dict(meta=dict(cfg=config.pretty_text, dataset_meta=dict(classes=NAMES)), state_dict=model.state_dict()),
               folder / 'segmentor.pth')
    images = folder / 'images'
    images.mkdir()
    for name, size in SIZES.items():
        image = drawn(size, 1 if name == 'grey' else 3)
        tifffile.imwrite(images / f'{name}.tif', image, photometric='minisblack' if name == 'grey' else 'rgb',
                         **dict(rowsperstrip=8) if name == 'strips' else dict(tile=(16, 32), compression='zlib'))
    return folder


def segment(*args):
    return forks.done('tools/inference/segment_images.py', *args, '--device', 'cpu')


def lines(done):
    """What went wrong, line by line."""
    return [line for line in done.stderr.splitlines() if line.startswith('nepa_mm: ')]


def test_labels_are_those_of_the_whole_image(folder, tmp_path):
    done = segment(folder / 'images', folder / 'segmentor.pth', '--out-dir', tmp_path, '--windows')
    assert done.returncode == 0, done.stderr
    model = get_model(str(folder / 'segmentor.pth'))
    for name, size in SIZES.items():
        path = folder / f'images/{name}.tif'
        expected = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
        with tifffile.TiffFile(tmp_path / f'pred/{name}.tif') as file:
            assert file.pages[0].is_tiled and file.pages[0].dtype == np.uint8
            labels = file.asarray()
        assert labels.shape == size and len(np.unique(expected)) > 1
        np.testing.assert_array_equal(labels, expected)
        number = np.bincount(labels.flat).argmax()
        assert f'{path}: {NAMES[number]} {100 * (labels == number).mean():.1f} %' in done.stdout
        assert Image.open(tmp_path / f'vis/{name}.tif.png').size == size[::-1]
    assert not list(tmp_path.rglob('*.tmp')) and not (tmp_path / 'unfinished.json').exists()
    again = segment(folder / 'images', folder / 'segmentor.pth', '--windows')  # which writes nothing
    assert again.stdout == done.stdout



def test_large_images_are_read_by_windows_unasked_and_a_command_goes_on(folder, tmp_path):
    Image.fromarray(drawn((40, 50))).save(tmp_path / 'a.png')
    arguments = [folder / 'images', tmp_path / 'a.png', folder / 'segmentor.pth', '--out-dir', tmp_path / 'out']
    done = forks.done('tools/inference/segment_images.py', *arguments, before=SMALLER + "; l.tiles_of = None  # fails")
    assert done.returncode == 1 and 'NoneType' in done.stderr
    there = sorted(path.name for path in (tmp_path / 'out').rglob('*') if path.is_file())
    assert there == ['a.png', 'a.png.png', 'grey.png', 'grey.tif.png', 'small.png', 'small.tif.png', 'unfinished.json']
    done = forks.done('tools/inference/segment_images.py', *arguments, before=SMALLER)
    assert done.returncode == 0 and lines(done) == ['nepa_mm: 3 of 5 images are done already; it goes on with the others']
    there = sorted(path.name for path in (tmp_path / 'out/pred').rglob('*.*'))
    assert there == ['a.png', 'grey.png', 'small.png', 'strips.tif', 'tiled.tif']
    assert len(done.stdout.splitlines()) == 2


def test_what_is_wrong_with_an_image_costs_a_line_and_nothing_is_left_of_it(folder, tmp_path):
    bad = tmp_path / 'bad'
    bad.mkdir()
    Image.fromarray(drawn((40, 50))).save(bad / 'a.png')
    tifffile.imwrite(bad / 'deep.tif', drawn((40, 50)).astype(np.uint16), photometric='rgb')
    tifffile.imwrite(bad / 'turned.tif', drawn((40, 50)), photometric='rgb', extratags=[(274, 'H', 1, 6, True)])
    tifffile.imwrite(bad / 'strip.tif', np.zeros((8200, 8200), np.uint8), photometric='minisblack', compression='zlib',
                     rowsperstrip=8200)
    tifffile.imwrite(bad / 'cut.tif', drawn((131, 97)), photometric='rgb', tile=(16, 32), compression='zlib', metadata=None)
    with tifffile.TiffFile(bad / 'cut.tif') as file:
        end = file.pages[0].dataoffsets[-1]
    (bad / 'cut.tif').write_bytes((bad / 'cut.tif').read_bytes()[:end + 9])
    (bad / 'text.tif').write_text('no TIFF')
    tifffile.imwrite(bad / 'dot.tif', drawn((5, 5)), photometric='rgb')
    done = segment(bad, bad / 'a.png', folder / 'images/small.tif', folder / 'images/small.tif', folder / 'segmentor.pth',
                   '--out-dir', tmp_path / 'out', '--windows')  # two are named twice
    assert done.returncode == 3 and done.stdout.count('\n') == 1 and 'small.tif: ' in done.stdout
    expected = dict(a='no TIFF, and windows are read of nothing else | ', deep='more than 8 bits a pixel (uint16)',
                    turned='it is to be turned as it is shown (orientation 6), and windows are not',
                    text='cannot be read as a TIFF', dot='5x5 pixels cannot be predicted (ConfigError: patch_size: ',
                    strip='pieces of 8200x8200 pixels, compressed: a window would decode 64 MiB | ',
                    cut='its pixels at row 128, column 96 cannot be decoded')
    said = lines(done)
    assert len(said) == 8 and said[-1].startswith('nepa_mm: error: 7 of 8 images failed')
    for name, what in expected.items():
        assert sum(what in line and f'{name}.' in line and line.count(' | ') == 2 for line in said) == 1, (name, said)
    assert [path.name for path in (tmp_path / 'out/pred').rglob('*') if path.is_file()] == ['small.tif']


@pytest.mark.parametrize('options, said', [
    (['model.test_cfg.mode=whole'], "'whole': windows are read for slide mode | model.test_cfg.mode | set 'slide'"),
    (['model.data_preprocessor.test_cfg.size_divisor=32'],
     "{'size_divisor': 32} pads whole images | model.data_preprocessor.test_cfg"),
    (['test_dataloader.dataset.pipeline.1.type=mmseg.ResizeShortestEdge', 'test_dataloader.dataset.pipeline.1.scale=32',
      'test_dataloader.dataset.pipeline.1.max_size=64'],
     'ResizeShortestEdge makes of the whole image what windows cannot have | test_dataloader.dataset.pipeline | take it out')])
def test_models_whose_windows_are_not_those_of_the_whole_image(folder, tmp_path, options, said):
    arguments = [folder / 'images', folder / 'segmentor.py', '--checkpoint', folder / 'segmentor.pth', '--cfg-options', *options]
    done = segment(*arguments, '--windows', '--out-dir', tmp_path / 'out')
    assert done.returncode == 2 and said in lines(done)[0], done.stderr
    assert not (tmp_path / 'out').exists() or not list((tmp_path / 'out').iterdir())
    before = SMALLER + '; l.Image.MAX_IMAGE_PIXELS = 5000'  # of Pillow, which refuses twice as many
    done = forks.done('tools/inference/segment_images.py', *arguments, before=before)
    assert done.returncode == 3 and len(done.stdout.splitlines()) == 3  # the others are read whole, as ever
    assert [f'too large to be read at once, and {said.split(" | ")[1]}: ' in line for line in lines(done)] == [True, False]


def test_thousands_of_windows_are_warned_of(folder, tmp_path):
    before = 'import nepa_mm.models.dense.windows as w; w.MANY = 18'
    done = forks.done('tools/inference/segment_images.py', folder / 'images/tiled.tif', folder / 'segmentor.pth', '--windows',
                      before=before)
    assert lines(done) == [f'nepa_mm: {folder}/images/tiled.tif: 97x131 pixels are 21 windows | model.test_cfg.crop_size=(30, '
                           '40), stride=(20, 30) | longer steps, or an image that is scaled down, take less time']


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """Images and label maps of two classes."""
    root = tmp_path_factory.mktemp('scenes')
    for i in range(6):
        image = drawn((300 + i, 260))
        labels = (image[..., 0] > 120).astype(np.uint8)
        for name, pixels in dict(images=image, masks=labels).items():
            (root / name).mkdir(exist_ok=True)
            tifffile.imwrite(root / f'{name}/{i}.tif', pixels, photometric='rgb' if pixels.ndim > 2 else 'minisblack',
                             tile=(32, 32), compression='zlib')
    return root


@counts
def test_a_config_for_large_images_trains_and_validates_by_windows(scenes, tmp_path):
    options = ['--cpu', '--img-size', 32, '--patch-size', 8, '--from', 'none', '--arch', 'mini', '-o', tmp_path / 'c.py']
    before = 'import nepa_mm.datasets.tiff_windows as t; t.LARGE = 5000'
    done = forks.done('tools/new_config.py', 'segmentation', scenes, *options, before=before)
    assert done.returncode == 0, done.stderr
    said = ' '.join(done.stdout.split())
    assert 'images are large: crops are read from the files; a validation goes through them in windows' in said
    config = Config.fromfile(tmp_path / 'c.py')
    train, val = (config[f'{split}_dataloader'].dataset for split in ('train', 'val'))
    assert [step.type for step in train.pipeline] == [
        'nepa_mm.LoadImage', 'nepa_mm.LoadSegAnnotations', 'nepa_mm.RandomCrop', 'RandomResize', 'nepa_mm.RandomCrop',
        'RandomFlip', 'nepa_mm.PhotoMetricDistortion', 'nepa_mm.PackSegInputs']
    assert not train.pipeline[0].whole and not train.pipeline[1].whole and train.pipeline[2].crop_size == (64, 64)
    assert val.type == 'nepa_mm.SegPairs' and val.window == 64 and val.pipeline[2].type == 'nepa_mm.CutWindow'
    steps = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'param_scheduler.0.end=1', 'param_scheduler.1.begin=1',
             'param_scheduler.1.end=2', 'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
             'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False']
    done = forks.done('tools/train.py', tmp_path / 'c.py', '--work-dir', tmp_path / 'w', '--cfg-options', *steps)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '[25/25]' in done.stdout + done.stderr  # windows of one image of 300 x 260
    assert 'data:image' in next((tmp_path / 'w').rglob('report.html')).read_text()


@counts
def test_large_images_beside_label_maps_that_are_no_tiffs_are_said(scenes, tmp_path):
    (tmp_path / 'images').symlink_to(scenes / 'images')
    (tmp_path / 'masks').mkdir()
    for path in (scenes / 'masks').iterdir():
        Image.open(path).save(tmp_path / f'masks/{path.stem}.png')
    done = forks.done('tools/new_config.py', 'segmentation', tmp_path, '--cpu', '--img-size', 32, '--patch-size', 8, '--from',
                      'none', '-o', tmp_path / 'c.py', before='import nepa_mm.datasets.tiff_windows as t; t.LARGE = 5000')
    assert done.returncode == 0, done.stderr
    assert 'and is whole in memory for each crop, for 6 files are no TIFF, such as' in ' '.join(done.stdout.split())
    assert 'whole=False' not in (tmp_path / 'c.py').read_text()


@counts
def test_a_pretraining_on_large_images_reads_crops(scenes, tmp_path):
    done = forks.done('tools/new_config.py', 'pretrain', scenes / 'images', '--cpu', '--img-size', 16, '--patch-size', 4, '-o',
                      tmp_path / 'c.py', before='import nepa_mm.datasets.tiff_windows as t; t.LARGE = 5000')
    assert done.returncode == 0, done.stderr
    assert 'images are large: crops, up to 4 times their size in the model, are read' in ' '.join(done.stdout.split())
    load, crop, _ = Config.fromfile(tmp_path / 'c.py').train_dataloader.dataset.pipeline
    most = 64**2 / 302 / 260  # of the pixels of the median image
    assert not load.whole and crop.size == 16 and crop.scale == pytest.approx((0.08 * most, most), rel=0.05)
    done = forks.done('tools/train.py', tmp_path / 'c.py', '--work-dir', tmp_path / 'w', '--cfg-options',
                      'train_cfg.max_epochs=1', 'param_scheduler.warmup=0', 'train_dataloader.num_workers=0',
                      'train_dataloader.persistent_workers=False')
    assert done.returncode == 0, done.stderr[-2000:]
