"""The hosts' inferencers on our models, from Python, and the commands of tools/inference."""
import csv
import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import forks
import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.apis.mmseg_inferencer import MMSegInferencer
from PIL import Image

from nepa_mm import get_model
from nepa_mm.apis import get_retriever
from nepa_mm.apis.get_retriever import retriever_of
from nepa_mm.apis.images import load_image, loader_of, picture_of
from nepa_mm.apis.inference_tools import label_map_paths, picture_paths
from nepa_mm.apis.load_model import load_model
from tiny import ROOT, TINY, randomize

PIPELINE = '''
test_pipeline = [dict(type='nepa_mm.LoadImage'),
                 dict(type='nepa_mm.TimmTransform', input_size=28, is_training=False, interpolation='bicubic', crop_pct=0.875,
                      mean=[0.5] * 3, std=[0.5] * 3),
                 dict(type='PackInputs')]
test_dataloader = dict(dataset=dict(type='CustomDataset', pipeline=test_pipeline))
'''
CLASSIFIER = f'''
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', data_preprocessor=dict(num_classes=3),
    backbone=dict(type='nepa_mm.NEPAViT', arch={TINY['arch']}, img_size=28, patch_size=7, causal=False, out_type='avg_featmap'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=16, loss=dict(type='CrossEntropyLoss')))
''' + PIPELINE
PRETRAINING = f'''
default_scope = 'mmpretrain'
model = dict(
    type='nepa_mm.NEPA', data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(type='nepa_mm.NEPAViT', arch={TINY['arch']}, img_size=28, patch_size=7))
'''
SEGMENTOR = f'''
default_scope = 'mmseg'
model = dict(
    type='nepa_mm.PaddedEncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
    backbone=dict(type='nepa_mm.NEPAViT', arch={TINY['arch']}, img_size=28, patch_size=7, causal=False,
                  out_type='padded_featmap', out_indices=[2]),
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=0, channels=8, num_convs=1, concat_input=False, num_classes=4,
        norm_cfg=dict(type='SyncBN', requires_grad=True)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(60, 40), keep_ratio=True),
                 dict(type='nepa_mm.LoadSegAnnotations'), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(type='BaseSegDataset', pipeline=test_pipeline))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
'''
FACTS = dict(
    classifier=dict(classes=('cat', 'dog', 'eel')), pretraining={},
    segmentor=dict(classes=('sky', 'road', 'car', 'tree'), palette=[[0, 0, 255], [90, 90, 90], [255, 0, 0], [0, 255, 0]]))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A config and a checkpoint of each kind with random weights, and images."""
    folder = tmp_path_factory.mktemp('inference')
    torch.manual_seed(3)
    for name, text in dict(classifier=CLASSIFIER, pretraining=PRETRAINING, segmentor=SEGMENTOR).items():
        (folder / f'{name}.py').write_text(text)
        config = Config.fromfile(folder / f'{name}.py')
        with DefaultScope.overwrite_default_scope(config['default_scope']):
            model = randomize(MODELS.build(config.model))
        meta = dict(cfg=config.pretty_text, dataset_meta=FACTS[name])
        torch.save(dict(meta=meta, state_dict=model.state_dict()), folder / f'{name}.pth')
    (folder / 'images/more').mkdir(parents=True)
    random = np.random.default_rng(0)
    for i, size in enumerate(((40, 60), (40, 60), (33, 70), (50, 50), (28, 28))):
        pixels = np.kron(random.integers(0, 256, (2, 2, 3)), np.ones((size[0] // 2 + 1, size[1] // 2 + 1, 1)))
        Image.fromarray(pixels[:size[0], :size[1]].astype(np.uint8)).save(folder / f'images/{"more/" * (i > 3)}{i}.png')
    return folder


@pytest.fixture
def images(folder):
    return [str(folder / f'images/{i}.png') for i in range(4)]


def frame(path):
    """As a video gives it: BGR."""
    return np.ascontiguousarray(np.asarray(Image.open(path))[..., ::-1])


def test_mmpretrain_s_inferencers_take_our_checkpoints_and_configs(folder, images):
    model = get_model(str(folder / 'classifier.pth'))
    scores = [each['pred_scores'] for each in mmpretrain.ImageClassificationInferencer(model)(images)]
    by_config = mmpretrain.ImageClassificationInferencer(str(folder / 'classifier.py'), pretrained=str(folder / 'classifier.pth'))
    for results in (by_config(images, batch_size=3), by_config([frame(path) for path in images], batch_size=4)):
        np.testing.assert_allclose([each['pred_scores'] for each in results], scores, atol=1e-5)
        assert [each['pred_class'] for each in results] == [('cat', 'dog', 'eel')[int(each.argmax())] for each in scores]
    assert len(mmpretrain.ImageClassificationInferencer(model)(str(folder / 'images'))) == 4
    features = mmpretrain.FeatureExtractor(model)(images, batch_size=2)
    with torch.no_grad():
        logits = model.head.fc(torch.stack([each[0] for each in features]))
    np.testing.assert_allclose(logits.softmax(1).numpy(), scores, atol=1e-5)


def test_a_pretraining_of_ours_has_features_and_finds_images(folder, images):
    address = str(folder / 'pretraining.pth')
    maps = mmpretrain.FeatureExtractor(get_model(address, out_type='featmap'))(images)
    assert maps[0][0].shape == (16, 4, 4)
    vectors = torch.stack([each[0].mean(dim=(1, 2)) for each in maps])
    cosines = torch.cosine_similarity(vectors[:1], vectors)
    matches, = mmpretrain.ImageRetrievalInferencer(get_retriever(address), prototype=images)(images[0], topk=4)
    assert [match['sample']['img_path'] for match in matches] == [images[i] for i in cosines.argsort(descending=True)]
    np.testing.assert_allclose([float(match['match_score']) for match in matches], cosines.sort(descending=True)[0], atol=1e-5)
    assert float(matches[0]['match_score']) == pytest.approx(1, abs=1e-5)


def test_mmseg_s_inferencers_take_our_checkpoints_and_configs(folder, images):
    config, checkpoint = str(folder / 'segmentor.py'), str(folder / 'segmentor.pth')
    model = get_model(checkpoint)
    maps = [inference_model(model, path).pred_sem_seg.data[0].numpy() for path in images]
    assert [each.shape for each in maps] == [(40, 60), (40, 60), (33, 70), (50, 50)] and len(set(maps[0].flat)) > 1
    others = MMSegInferencer(config, weights=checkpoint, device='cpu')(images)['predictions']
    by_init = [inference_model(init_model(config, checkpoint, device='cpu'), frame(path)) for path in images]
    for ours, theirs, third in zip(maps, others, by_init):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ours, third.pred_sem_seg.data[0].numpy())
    # ... which made mmseg the default scope, and mmpretrain's inferencers work still.
    assert mmpretrain.ImageClassificationInferencer(get_model(str(folder / 'classifier.pth')))(images[0])[0]['pred_class']
    assert mmpretrain.ImageRetrievalInferencer(get_retriever(str(folder / 'classifier.pth')), prototype=images)(images[1])


@pytest.mark.parametrize('channels, load', [
    (1, "type='LoadImageFromFile', color_type='grayscale'"), (4, "type='LoadImageFromFile', color_type='unchanged'"),
    (1, "type='nepa_mm.LoadImage', color_type='unchanged'")])
def test_an_image_of_any_channels_is_read_as_in_the_test_of_its_config(channels, load, tmp_path):
    text = SEGMENTOR.replace("dict(type='LoadImageFromFile')", f'dict({load})')
    text = text.replace('img_size=28', f'img_size=28, in_channels={channels}')
    text = text.replace('mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True', 'mean=None, std=None, bgr_to_rgb=False')
    (tmp_path / 'config.py').write_text(text + 'test_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackSegInputs")]\n')
    config = Config.fromfile(tmp_path / 'config.py')
    init_default_scope('mmseg')
    torch.save(dict(state_dict=randomize(MODELS.build(config.model)).state_dict()), tmp_path / 'weights.pth')
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, channels)[:2 if channels == 1 else 3])
    Image.fromarray(pixels.astype(np.uint16 if channels == 1 and 'unchanged' in load else np.uint8)).save(tmp_path / 'a.png')
    model = load_model(str(tmp_path / 'config.py'), str(tmp_path / 'weights.pth'))
    image = load_image(tmp_path / 'a.png', loader_of(model))
    assert image.shape == pixels.shape and picture_of(image).shape == (40, 60, 3) and picture_of(image).dtype == np.uint8
    sample = Compose(config.test_dataloader.dataset.pipeline)(dict(img_path=str(tmp_path / 'a.png')))
    expected = model.test_step(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]))[0].seg_logits.data
    assert torch.equal(inference_model(model, [image])[0].seg_logits.data, expected) and expected.std() > 1e-3


def test_features_of_a_pretraining_on_grey_images(tmp_path):
    load = dict(type='nepa_mm.LoadImage', color_type='grayscale')
    (tmp_path / 'grey.py').write_text(
        PRETRAINING.replace('img_size=28', 'img_size=28, in_channels=1').replace(
            'mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True', 'mean=[127.5], std=[127.5], to_rgb=False')
        + f'train_dataloader = dict(dataset=dict(pipeline=[{load}, dict(type="PackInputs")]))\n')
    config = Config.fromfile(tmp_path / 'grey.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = randomize(MODELS.build(config.model))
    torch.save(dict(meta=dict(cfg=config.pretty_text), state_dict=model.state_dict()), tmp_path / 'grey.pth')
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    model = get_model(str(tmp_path / 'grey.pth'), out_type='featmap')
    image = load_image(tmp_path / 'a.png', loader_of(model))
    np.testing.assert_array_equal(image, Image.fromarray(pixels).convert('L'))
    assert mmpretrain.FeatureExtractor(model)([image])[0][0].shape == (16, 4, 4)


def tool(name, *arguments):
    return forks.done(f'tools/inference/{name}.py', *arguments)


def errors(done):
    return [line for line in done.stderr.splitlines() if line.startswith('nepa_mm: error: ')]


def test_classes_by_command(folder, images, tmp_path):
    broken = folder / 'broken'
    broken.mkdir()
    (broken / 'text.jpg').write_text('no image')
    Image.new('L', (1200, 1)).save(broken / 'line.png')
    done = tool('classify_images', folder / 'images', broken, folder / 'classifier.pth', '--topk', 2, '--batch-size', 3, '--out',
                tmp_path / 'new/c.json', '--show-dir', tmp_path / 'show', '--device', 'cpu')
    assert done.returncode == 3 and 'Traceback' not in done.stderr, done.stderr
    assert [line.split(' ')[0] for line in done.stdout.splitlines() if '/images/' in line] == [
        *(f'{path}:' for path in images), f'{folder}/images/more/4.png:']
    assert len(errors(done)) == 3 and 'broken/text.jpg' in done.stderr and '1200x1 pixels are a line' in done.stderr
    assert errors(done)[-1].startswith('nepa_mm: error: 2 of 7 images failed | ')
    records = json.loads((tmp_path / 'new/c.json').read_text())
    expected = mmpretrain.ImageClassificationInferencer(get_model(str(folder / 'classifier.pth')))(images)
    for record, result in zip(records, expected):
        assert record['classes'][0] == result['pred_class'] and len(record['labels']) == 2
        assert record['scores'][0] == pytest.approx(result['pred_score'], abs=1e-5)
    assert sorted(str(path.relative_to(tmp_path / 'show')) for path in (tmp_path / 'show').rglob('*.png')) == [
        'images/0.png.png', 'images/1.png.png', 'images/2.png.png', 'images/3.png.png', 'images/more/4.png.png']
    done = tool('classify_images', folder / 'images', folder / 'classifier.pth', '--topk', 2, '--out', tmp_path / 'c.csv')
    assert done.returncode == 0, done.stderr
    head, *rows = csv.reader((tmp_path / 'c.csv').read_text().splitlines())
    assert head == ['path', 'label', 'score', 'label2', 'score2'] and len(rows) == len(records)
    for row, record in zip(rows, records):
        assert [row[0], row[1], row[3]] == [record['path'], *record['classes']]
        assert [float(row[2]), float(row[4])] == pytest.approx(record['scores'], rel=1e-4)
    checkpoint = torch.load(folder / 'classifier.pth', weights_only=False)
    checkpoint['meta']['dataset_meta'] = dict(classes=('cat', ))  # of three outputs
    torch.save(checkpoint, tmp_path / 'few.pth')
    done = tool('classify_images', images[0], tmp_path / 'few.pth', '--topk', 3, '--show-dir', tmp_path / 'few')
    assert done.returncode == 0 and {word for word in done.stdout.split() if len(word) < 4} == {'cat', '1', '2'}, done.stderr
    again = tool('classify_images', images[0], folder / 'classifier.pth', '--out', tmp_path / 'new/c.json')
    assert again.returncode == 2 and re.search(r'it exists and would .* \| .*c.json \| ', errors(again)[0])


def test_features_and_retrieval_by_command(folder, images, tmp_path):
    (tmp_path / 'frames.txt').write_text('\n'.join([*images, images[0]]))  # a frame may come twice
    done = tool('extract_features', tmp_path / 'frames.txt', folder / 'pretraining.pth', '--out', tmp_path / 'f.npz')
    assert done.returncode == 0 and 'features of 5 images, 16 numbers each' in done.stdout, done.stderr
    assert (done.stdout + done.stderr).count('backbone tensors loaded') == 1  # the checkpoint is read once
    features = np.load(tmp_path / 'f.npz')
    maps = mmpretrain.FeatureExtractor(get_model(str(folder / 'pretraining.pth'), out_type='featmap'))(images)
    np.testing.assert_allclose(features['features'][:4], [each[0].mean(dim=(1, 2)).numpy() for each in maps], atol=1e-5)
    np.testing.assert_array_equal(features['features'][4], features['features'][0])
    assert features['paths'].tolist() == [*images, images[0]]

    (tmp_path / 'text.jpg').write_text('no image')  # which is left out of the search
    done = tool('retrieve_images', images[2], folder / 'pretraining.pth', '--prototype', tmp_path / 'text.jpg', folder / 'images',
                '--topk', 2, '--show-dir', tmp_path / 'show')
    assert done.returncode == 3 and 'text.jpg' in errors(done)[0] and len(errors(done)) == 2, done.stderr
    cosines = torch.cosine_similarity(torch.tensor(features['features'][2:3]), torch.tensor(features['features'][:4]))
    assert f'{images[2]}: {images[2]} 1.0000, ' in done.stdout and f' {cosines.sort().values[-2]:.4f}' in done.stdout
    assert (tmp_path / 'show/2.png.png').is_file()


def test_segmentation_by_command_from_a_config_and_a_checkpoint(folder, images, tmp_path):
    done = tool('segment_images', folder / 'images', folder / 'segmentor.py', '--checkpoint', folder / 'segmentor.pth',
                '--out-dir', tmp_path, '--device', 'cpu')
    assert done.returncode == 0, done.stderr
    model = get_model(str(folder / 'segmentor.pth'))
    compute = runpy.run_path(str(ROOT / 'tools/analysis_tools/compute_miou.py'))['confusion_matrix']
    matrix = compute(tmp_path / 'pred', tmp_path / 'pred', 4, False, from_zero=True)  # finds them, those in folders as well
    assert np.trace(matrix) == matrix.sum() == sum(np.prod(Image.open(path).size) for path in (folder / 'images').rglob('*.png'))
    for i, path in enumerate(images):
        labels = np.asarray(Image.open(tmp_path / f'pred/{i}.png'))
        np.testing.assert_array_equal(labels, inference_model(model, path).pred_sem_seg.data[0].numpy())
        number = np.bincount(labels.flat).argmax()
        share = 100 * (labels == number).mean()
        assert f'{path}: {FACTS["segmentor"]["classes"][number]} {share:.1f} %' in done.stdout
        assert Image.open(tmp_path / f'vis/{i}.png.png').size == Image.open(path).size


def test_label_maps_go_by_the_names_of_labels_unless_two_would_share_one(tmp_path):
    paths = [tmp_path / name for name in ('a.jpg', 'b/a.png', 'c.v1.jpeg')]
    names = [str(path.relative_to('out')) for path in label_map_paths(Path('out'), [*paths, paths[0]]).values()]
    assert names == ['a.png', 'b/a.png', 'c.v1.png']
    paths.append(tmp_path / 'a.png')
    assert label_map_paths(Path('out'), paths) == picture_paths(Path('out'), paths)
    assert picture_paths(Path('out'), paths)[paths[0]] == Path('out/a.jpg.png')
    links = [tmp_path / 'b/../links/a.jpg', tmp_path / 'links/b.jpg']  # to one file in a store
    links[1].parent.mkdir()
    for link in ('a.jpg', 'b.jpg'):
        (tmp_path / 'links' / link).symlink_to(tmp_path / '0123abcd')
    assert list(label_map_paths(Path('out'), links).values()) == [Path('out/a.png'), Path('out/b.png')]


def test_a_config_file_and_a_checkpoint_are_the_model_that_the_checkpoint_says(folder, images):
    """Of a pretraining as well, whose config has no test pipeline; with its options and the facts that it carries."""
    for name in ('classifier', 'pretraining', 'segmentor'):
        address = str(folder / f'{name}.pth')
        alone, named = get_model(address), load_model(str(folder / f'{name}.py'), address)
        assert type(alone) is type(named) and alone.dataset_meta == named.dataset_meta == FACTS[name] and not named.training
        assert loader_of(alone).imdecode_backend == loader_of(named).imdecode_backend
        for one, other in zip(alone.state_dict().values(), named.state_dict().values(), strict=True):
            assert torch.equal(one, other)
    address, options = str(folder / 'pretraining.pth'), {'model.backbone.causal': False}
    vectors = [mmpretrain.FeatureExtractor(retriever_of(load_model(*arguments)))(images[0])[0] for arguments in (
        (address, ), (str(folder / 'pretraining.py'), address), (address, None, options),
        (str(folder / 'pretraining.py'), address, options))]
    assert torch.equal(vectors[0], vectors[1]) and torch.equal(vectors[2], vectors[3]) and not torch.equal(vectors[0], vectors[2])


def test_a_data_preprocessor_beside_the_model_is_the_model_s_as_in_training(folder, tmp_path):
    text = 'data_preprocessor = dict(mean=[9., 9., 9.], std=[5., 5., 5.])' + CLASSIFIER.replace(
        'data_preprocessor=dict(num_classes=3),', '').replace('[0.5] * 3', '[0.5, 0.5, 0.5]')
    (tmp_path / 'beside.py').write_text(text)
    weights = torch.load(folder / 'classifier.pth', weights_only=False)['state_dict']
    torch.save(dict(meta=dict(cfg=text), state_dict=weights), tmp_path / 'beside.pth')
    for model in (get_model(str(tmp_path / 'beside.pth')),
                  load_model(str(tmp_path / 'beside.py'), str(tmp_path / 'beside.pth'))):
        assert model.data_preprocessor.mean.flatten().tolist() == [9.] * 3


@pytest.mark.parametrize('name, arguments, code, message', [
    ('classify_images', ['{0}/pretraining.pth'], 4, 'pretraining.pth | fine-tune it first'),
    ('classify_images', ['{0}/classifier.py'], 4, 'classifier.py | give them with --checkpoint'),
    ('classify_images', ['{0}/classifier.py', '--checkpoint', '{0}/pretraining.pth'], 4,
     'inference needs every weight, and these would be created: '),
    ('segment_images', ['{0}/segmentor.py', '--checkpoint', '{0}/pretraining.pth'], 4, 'decode_head (8) at random'),
    ('classify_images', ['{0}/classifier.pth', '--topk', '4'], 2, '4 is not in [1, 3]'),
    ('classify_images', ['{0}/classifier.pth', '--device', 'cuda:99'], 2, 'cuda:99 cannot be used here'),
    ('segment_images', ['{0}/classifier.pth'], 4, 'a ImageClassifier, which labels no pixels'),
    ('segment_images', ['{0}/bare.pth'], 4, 'bare.pth, its meta | build it from its config file'),
    ('extract_features', ['{0}/no_test.py', '--checkpoint', '{0}/classifier.pth', '--out', 'x.npz'], 4,
     'no test_dataloader.dataset.pipeline'),
    ('classify_images', ['{0}/classifier.pth', '--checkpoint', '{0}/classifier.pth'], 2, 'it is no config file (.py) | '),
    ('classify_images', ['{0}/classifier.pth', '--cfg-options', 'model.head.num_classes=4'], 2,
     'model.head.num_classes: of a checkpoint alone model.backbone.* can be set | --cfg-options'),
    ('classify_images', ['{0}/nowhere.py', '--checkpoint', '{0}/classifier.pth'], 2, 'there is no such config file | '),
    ('classify_images', ['{0}/classifier.py', '--checkpoint', '{0}/nowhere.pth'], 4, 'there is no such checkpoint | '),
    ('classify_images', ['{0}/classifier.pth', '--batch-size', '0'], 2, '0 is less than 1 | --batch-size'),
    ('classify_images', ['{0}/classifier.pth', '--out', '{0}'], 2, 'it exists and would be written over'),
    ('classify_images', ['{0}/classifier.pth', '--out', '{0}/bare.pth/c.json'], 2, 'it cannot be written (File exists: '),
    ('segment_images', ['{0}/segmentor.pth', '--out-dir', '{0}/bare.pth/new/s'], 2, 'it cannot be written (Not a directory: '),
    ('retrieve_images', ['{0}/nowhere.pth', '--prototype', '{0}/images'], 4, 'nowhere.pth'),
])
def test_bad_input_ends_in_one_line(name, arguments, code, message, folder, images, monkeypatch, capsys):
    """In this process; above, the commands."""
    import runpy
    torch.save(dict(state_dict=torch.load(folder / 'segmentor.pth', weights_only=False)['state_dict']), folder / 'bare.pth')
    (folder / 'no_test.py').write_text(CLASSIFIER.replace(PIPELINE, ''))
    monkeypatch.setattr(sys, 'argv', [name, images[0], *(each.format(folder) for each in arguments)])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / f'tools/inference/{name}.py'), run_name='__main__')
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith('nepa_mm: error: ')]
    assert exit_.value.code == code and len(printed) == 1 and message in printed[0], printed


@pytest.mark.parametrize('head, facts, expected', [
    (dict(num_classes=1, out_channels=1), dict(classes=['road'], palette=[[1] * 3]), (['not road', 'road'], [[0] * 3, [1] * 3])),
    (dict(num_classes=2, out_channels=1), dict(classes=['a', 'b'], palette=[[1] * 3, [2] * 3]), (['a', 'b'], [[1] * 3, [2] * 3])),
    (dict(num_classes=3, out_channels=3), dict(classes=('a', ), palette=[[1] * 3]),
     (['a', '1', '2'], [[1] * 3, [69, 78, 10], [19, 4, 44]])),
])
def test_one_output_has_two_names(head, facts, expected):
    names = runpy.run_path(str(ROOT / 'tools/inference/segment_images.py'))['names_and_colours']
    assert names(SimpleNamespace(dataset_meta=facts, decode_head=SimpleNamespace(**head))) == expected
    found = names(SimpleNamespace(dataset_meta=None, decode_head=SimpleNamespace(**head)))
    assert [len(each) for each in found] == [max(2, head['num_classes'])] * 2
