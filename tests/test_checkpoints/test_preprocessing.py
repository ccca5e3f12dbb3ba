"""What is done to an image's pixels survives the way through Hugging Face's folders, or the way ends in one line."""
import json
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmpretrain.models import ClsDataPreprocessor
from PIL import Image

from nepa_mm import NEPA, NEPAViT, get_model
from nepa_mm.checkpoints import preprocessing
from nepa_mm.checkpoints.convert import hf_to_mm, mm_to_hf
from nepa_mm.checkpoints.model_config import model_config, release_images
from nepa_mm.checkpoints.preprocessing import Preprocessing, input_size, preprocessing_of
from nepa_mm.checkpoints.record import config_from_text, config_text
from nepa_mm.checkpoints.release import preprocessor_file
from nepa_mm.checkpoints.release.preprocessor_file import from_file, to_file
from nepa_mm.errors import CheckpointError
from tiny import ROOT, TINY, randomize

LOAD, PACK = dict(type='nepa_mm.LoadImage'), dict(type='PackInputs')
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
EDGE = dict(type='ResizeEdge', scale=40, edge='short', backend='pillow', interpolation='bicubic')
SQUASH = dict(type='mmcv.Resize', scale=(42, 35), backend='pillow')
RELEASE = partial(release_images, dict(arch='base'))
# As all four of the release's folders have it, but for the size
RELEASED = dict(
    crop_size=None, do_center_crop=None, do_convert_rgb=None, do_normalize=True, do_rescale=True, do_resize=True,
    image_mean=[0.5] * 3, image_processor_type='ViTImageProcessorFast', image_std=[0.5] * 3, resample=2,
    rescale_factor=0.00392156862745098, size=dict(height=224, width=224))


def training(pipeline, **preprocessor):
    """The config that a checkpoint carries; its backbone's ``img_size`` is the pretraining's, 28."""
    backbone = dict(type='nepa_mm.NEPAViT', **TINY, causal=False, qk_norm='affine', out_type='avg_featmap')
    head = dict(type='LinearClsHead', num_classes=3, in_channels=16, loss=dict(type='CrossEntropyLoss'))
    return dict(
        default_scope='mmpretrain',
        model=dict(type='ImageClassifier', backbone=backbone, head=head,
                   data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=3, **preprocessor)),
        train_dataloader=dict(dataset=dict(pipeline=[dict(type='RandomResizedCrop', scale=21)])),
        test_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=[LOAD, *pipeline, PACK])))


def saved(config, path):
    model = randomize(NEPA(NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap')), 0.2).state_dict()
    torch.save(dict(meta=dict(cfg=config_text(config)),
                    state_dict={**model, 'head.fc.weight': torch.randn(3, 16), 'head.fc.bias': torch.randn(3)}), path)
    return path


def timm(**arguments):
    return dict(type='nepa_mm.TimmTransform', **arguments)


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp('pictures') / 'a.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 61, 3), np.uint8)).save(path)
    return path


def network_input(config, picture):
    """What the network sees of an image."""
    config = Config(config)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        packed = Compose(config.test_dataloader.dataset.pipeline)(dict(img_path=str(picture)))
        preprocessor = dict(config.model.data_preprocessor)
        preprocessor.pop('type')
        return ClsDataPreprocessor(**preprocessor)(dict(inputs=[packed['inputs']], data_samples=None))['inputs'][0]


# The pipeline, the preprocessor, what is in the file, and the size that comes out
WAYS = {
    'edge': ([EDGE, dict(type='CenterCrop', crop_size=35)], dict(IMAGENET, to_rgb=True),
             dict(size=dict(shortest_edge=40), resample=3, crop_size=dict(height=35, width=35), image_mean=[.485, .456, .406],
                  image_std=[.229, .224, .225], do_resize=True, do_center_crop=True), 35),
    'squash': ([dict(SQUASH, scale=(35, 35))], dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
               dict(size=dict(height=35, width=35), resample=2, crop_size=None, image_mean=[.5] * 3, do_center_crop=False), 35),
    'large': ([timm(input_size=35, crop_pct=0.95, crop_mode='squash', interpolation='bicubic', mean=[.5] * 3, std=[.5] * 3)], {},
              dict(size=dict(height=36, width=36), resample=3, crop_size=dict(height=35, width=35), image_std=[.5] * 3), 35),
    "timm's defaults": ([timm(input_size=35)], {},
                        dict(size=dict(shortest_edge=40), resample=2, image_mean=[.485, .456, .406], do_center_crop=True), 35),
    'four fifths': ([timm(input_size=28, crop_pct=0.8)], {}, dict(size=dict(shortest_edge=35)), 28),  # 28 // 0.8 is 34
    'crop alone': ([dict(type='CenterCrop', crop_size=14)], dict(IMAGENET, to_rgb=True),
                   dict(do_resize=False, crop_size=dict(height=14, width=14), do_center_crop=True), 14),
    'as they are': ([], dict(IMAGENET, to_rgb=True),  # of the training's size
                    dict(do_resize=False, do_center_crop=False, size=dict(height=21, width=21)), 21),
    'normalised in the pipeline': ([dict(type='CenterCrop', crop_size=14), dict(type='Normalize', **IMAGENET)], {},
                                   dict(image_mean=[.485, .456, .406], image_std=[.229, .224, .225]), 14),
}


@pytest.mark.parametrize('name', WAYS)
def test_pixels_survive_the_way_there_and_back(name, picture, tmp_path):
    pipeline, preprocessor, expected, size = WAYS[name]
    config = training(pipeline, **preprocessor)
    mm_to_hf(str(saved(config, tmp_path / 'a.pth')), tmp_path / 'hf')
    file = json.loads((tmp_path / 'hf/preprocessor_config.json').read_text())
    assert {key: file[key] for key in expected} == expected
    assert json.loads((tmp_path / 'hf/config.json').read_text())['image_size'] == size
    hf_to_mm(f'{tmp_path}/hf', tmp_path / 'b.pth')
    back = config_from_text(torch.load(tmp_path / 'b.pth', weights_only=True)['meta']['cfg'])
    there = get_model(f'hf:{tmp_path}/hf')
    assert there._config.model.data_preprocessor.to_dict() == back['model']['data_preprocessor']
    assert there._config.model.backbone.img_size == size
    before, after = network_input(config, picture), network_input(back, picture)
    assert before.shape == after.shape and before.std() > 0.2
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    mm_to_hf(str(tmp_path / 'b.pth'), tmp_path / 'again')
    assert json.loads((tmp_path / 'again/preprocessor_config.json').read_text()) == file


@pytest.mark.parametrize('pipeline, preprocessor, message', [
    ([dict(type='ColorJitter')], IMAGENET, r'ColorJitter is more than resizing and a centre crop, .*\| put a prep'),
    ([dict(EDGE, edge='long')], IMAGENET, "ResizeEdge has edge='long'"),
    ([dict(type='Resize', scale=35, keep_ratio=True)], IMAGENET, 'Resize keeps the ratio'),
    ([dict(type='CenterCrop', crop_size=35), EDGE], IMAGENET, 'ResizeEdge comes after a step of its kind'),
    ([timm(input_size=35, crop_mode='border')], {}, "TimmTransform has crop_mode='border', which"),
    ([timm(input_size=35, interpolation='random')], {}, "TimmTransform has interpolation='random', which"),
    ([timm(input_size=35)], IMAGENET, r'\[123.675, .* normalises what TimmTransform in the test pipeline normalised already'),
    ([SQUASH], IMAGENET, r'\(35, 42\) has no place in the released format, which knows squares'),
    ([], dict(IMAGENET, to_rgb=False), 'BGR has no place'),
])
def test_what_the_file_has_no_place_for_is_refused(pipeline, preprocessor, message, tmp_path):
    config = training(pipeline, **{'to_rgb': True, **preprocessor} if preprocessor else {})
    with pytest.raises(CheckpointError, match=message):
        mm_to_hf(str(saved(config, tmp_path / 'a.pth')), tmp_path / 'hf')
    assert not (tmp_path / 'hf/model.safetensors').exists()


def test_a_file_of_yours_is_kept_and_compared(tmp_path):
    path = str(saved(training([EDGE], to_rgb=True, **IMAGENET), tmp_path / 'a.pth'))
    (tmp_path / 'hf').mkdir()
    (tmp_path / 'hf/preprocessor_config.json').write_text(json.dumps(RELEASED))
    with pytest.raises(CheckpointError, match=r'it says do_convert_rgb = None, and the pipeline of the checkpoint True'):
        mm_to_hf(path, tmp_path / 'hf')
    path = str(saved(training([dict(type='ColorJitter')], to_rgb=True, **IMAGENET), tmp_path / 'b.pth'))
    mm_to_hf(path, tmp_path / 'hf')  # the pipeline says what no file can, so the file is yours to answer for
    assert json.loads((tmp_path / 'hf/preprocessor_config.json').read_text()) == RELEASED


def test_a_checkpoint_that_does_not_say_gets_no_file(tmp_path):
    line = mm_to_hf(str(saved(training([]), tmp_path / 'a.pth')), tmp_path / 'hf')
    assert line.endswith('; no preprocessor_config.json, as the checkpoint does not say how its pixels are normalised: add yours')
    assert not (tmp_path / 'hf/preprocessor_config.json').exists()


def test_the_release_s_file_is_read_as_its_script_reads_it():
    """``size`` is the crop there, and how a test image is resized before it is the script's."""
    assert from_file(RELEASED, RELEASE, 224) == Preprocessing([127.5] * 3, [127.5] * 3, 'RGB', 256, 'bicubic', (224, 224))
    large = from_file(RELEASED, partial(release_images, dict(arch='large')), 224)
    assert (large.resize, large.crop) == ((235, 235), (224, 224))
    assert from_file({**RELEASED, 'do_center_crop': False}, RELEASE, 224).resize == (224, 224)
    pretraining = to_file(model_config(TINY) | dict(test_dataloader=None), 28)
    assert {**pretraining, 'do_convert_rgb': None, 'size': RELEASED['size']}.keys() == RELEASED.keys()
    assert pretraining['do_center_crop'] is None and pretraining['size'] == dict(height=28, width=28)


@pytest.mark.parametrize('changes, message', [
    (dict(size=dict(height=96, width=96)), r'images of \(96, 96\) pixels, and config.json has image_size 224 \| .*, size'),
    (dict(size=dict(longest_edge=224)), 'neither height and width nor shortest_edge'),
    (dict(do_center_crop=True), r'None is neither height and width .*'),
    (dict(do_center_crop=False, resample='cubic'), "'cubic' is no filter of Pillow"),
    (dict(image_processor_type='BlipImageProcessor', image_mean=None), "is for 'BlipImageProcessor' and leaves out image_mean"),
    (dict(do_flip_channel_order=True), 'True is not supported .*, do_flip_channel_order'),
    (dict(image_std=[0., 1., 1.]), 'is out of range .*, image_std'),
    (dict(rescale_factor=0), '0 is no positive number'),
])
def test_a_file_that_contradicts_or_says_too_little_is_refused(changes, message):
    with pytest.raises(CheckpointError, match=message):
        from_file({**RELEASED, **changes}, RELEASE, 224)


def test_scales_of_pixels():
    for changes, mean, std in [(dict(do_rescale=False, image_mean=[1, 2, 3], image_std=[4] * 3), [1, 2, 3], [4] * 3),
                               (dict(do_normalize=False), [0] * 3, [255] * 3),
                               (dict(rescale_factor=2 / 255, image_mean=1.), [127.5] * 3, [63.75] * 3)]:
        said = from_file({**RELEASED, **changes}, RELEASE, 224)
        assert said.mean == pytest.approx(mean) and said.std == pytest.approx(std)


def test_a_folder_without_the_file_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(preprocessor_file, 'print_log', lambda message, *_: said.append(message))
    monkeypatch.setattr(preprocessing, 'print_log', lambda message, *_: said.append(message))
    mm_to_hf(str(saved(training([dict(EDGE, backend='cv2')], to_rgb=True, **IMAGENET), tmp_path / 'a.pth')), tmp_path / 'hf')
    assert said.pop().startswith("ResizeEdge has backend='cv2', which does not antialias")
    (tmp_path / 'hf/preprocessor_config.json').unlink()
    get_model(f'hf:{tmp_path}/hf')
    assert len(said) == 1 and said[0].startswith(f'hf:{tmp_path}/hf has no preprocessor_config.json: images are assumed')


@pytest.mark.parametrize('name, expected', [
    ('classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k', (256, 'bicubic', (224, 224))),
    ('classification/nepa_vit-mini-p8_1xb32-coslr-10e_shapes-48px', (54, 'bicubic', (48, 48))),
    ('classification/nepa_vit-mini-p4_1xb64-coslr-5e_cifar10-32px', (None, 'bilinear', None)),
])
def test_our_recipes_say_it(name, expected):
    config = Config.fromfile(ROOT / f'configs/{name}.py')
    said = preprocessing_of(config)
    assert (said.resize, said.interpolation, said.crop) == expected and said.channels == 'RGB'
    assert input_size(config) == (config.model.backbone.get('img_size', 224), ) * 2
