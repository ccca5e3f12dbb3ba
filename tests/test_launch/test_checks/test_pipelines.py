import copy

import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks.pipelines import check_channels, check_decoding, check_timm_pixels
from tiny import ROOT


@pytest.mark.parametrize('following, said', [
    ([dict(type='nepa_mm.PackPixels')], 'PackPixels'), ([dict(type='Resize'), dict(type='RandomResizedCropFlip')], 'Resize'),
    ([], 'nothing')])
def test_images_left_encoded_need_a_transform_that_decodes_its_crop(following, said):
    def config(**load):
        pipeline = [dict(type='nepa_mm.LoadImage', **load), *following]
        return Config(dict(train_dataloader=dict(dataset=dict(dataset=dict(pipeline=pipeline)))))

    check_decoding(config())
    with pytest.raises(ConfigError, match=rf'^False leaves images encoded, which {said} does not take \| '
                                          r'train_dataloader.dataset.dataset.pipeline.0.whole \| set whole=True, or let'):
        check_decoding(config(whole=False))
    following.insert(0, dict(type='nepa_mm.RandomResizedCropFlip', size=8))
    check_decoding(config(whole=False))


def test_label_maps_left_in_their_files_too():
    def config(*steps):
        return Config(dict(train_dataloader=dict(dataset=dict(pipeline=[
            dict(type='nepa_mm.LoadImage', whole=False), dict(type='nepa_mm.LoadSegAnnotations', whole=False), *steps]))))

    check_decoding(config(dict(type='nepa_mm.RandomCrop', crop_size=8)))
    for step in (dict(type='RandomResize', scale=8), dict(type='RandomCrop', crop_size=8)):  # the latter may be mmpretrain's
        cfg = config(step)
        with pytest.raises(ConfigError, match=rf'^False leaves images encoded, which {step["type"]} does not take'):
            check_decoding(cfg)
        cfg.train_dataloader.dataset.pipeline[0].whole = True
        with pytest.raises(ConfigError, match=r'^False leaves label maps encoded, .* \| train_dataloader.*pipeline.1.whole'):
            check_decoding(cfg)


def test_recipes_agree_and_what_would_train_on_other_pixels_is_refused():
    for path in sorted(ROOT.glob('configs/classification/*.py')):
        check_timm_pixels(Config.fromfile(path))
    recipe = Config.fromfile(ROOT / 'configs/classification/mae_vit-base-p16_8xb128-coslr-100e_in1k.py')
    step = r'train_dataloader\.dataset\.pipeline\.1'
    for change, line in (
            (dict(model=dict(data_preprocessor=dict(type='ClsDataPreprocessor'))),
             rf"True leaves normalising to .* has 'ClsDataPreprocessor' \| {step}\.on_device"),
            (dict(model=dict(data_preprocessor=dict(mean=[127.5] * 3))), rf'has mean=\[127.5, .*\| {step}\.on_device'),
            (dict(model=dict(data_preprocessor=dict(timm_std=[0.5] * 3))),
             rf'\[0.5, 0.5, 0.5\] differs from \[0.229, 0.224, 0.225\] of {step}\.std \| model\.data_preprocessor\.timm_std'),
            (dict(train_dataloader=dict(collate_fn=dict(type='default_collate'))),
             r"'default_collate' cannot join erased patches \| train_dataloader\.collate_fn\.type")):
        cfg = copy.deepcopy(recipe)
        cfg.merge_from_dict(change)
        with pytest.raises(ConfigError, match=line):
            check_timm_pixels(cfg)
    cfg = copy.deepcopy(recipe)
    cfg.train_dataloader.dataset.pipeline[2].type = 'PackInputs'
    with pytest.raises(ConfigError, match=rf'no nepa_mm.PackTimm follows, .* \| {step}\.on_device'):
        check_timm_pixels(cfg)
    check_timm_pixels(cfg, ('val', ))
    cfg.train_dataloader.dataset.pipeline[1].on_device = False
    check_timm_pixels(cfg)


@pytest.mark.parametrize('model, message', [
    (dict(backbone=dict(type='nepa_mm.NEPAViT')), r'^3, and train_dataloader.*.0.channels is 4 \| model.backbone.in_channels'),
    (dict(data_preprocessor=dict(mean=[0.] * 3, std=[1.] * 4)), r'^3 numbers, and .* is 4 \| model.data_preprocessor.mean \| '),
    (dict(data_preprocessor=dict(mean=[0.] * 4, std=[1.] * 3)), r'^3 numbers, and .* is 4 \| model.data_preprocessor.std \| '),
    (dict(data_preprocessor=dict(bgr_to_rgb=True)), r'^True swaps channels, and .* \| model.data_preprocessor.bgr_to_rgb \| set'),
])
def test_a_model_takes_the_channels_that_are_loaded(model, message):
    def config(**load):
        fits = dict(backbone=dict(type='nepa_mm.NEPAViT', in_channels=4), data_preprocessor=dict(mean=[0.] * 4, std=[1.] * 4))
        return Config(dict(model=dict(fits, **model), train_dataloader=dict(dataset=dict(
            pipeline=[dict(type='nepa_mm.LoadImage', **load)]))))

    with pytest.raises(ConfigError, match=message):
        check_channels(config(channels=4))
    check_channels(config())
