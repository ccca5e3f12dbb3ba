"""What is exported gives torch's numbers, for batches and sizes that were not traced."""
import json
import sys
from zipfile import ZipFile

import forks
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead, MultiLabelLinearClsHead
from torch.torch_version import TorchVersion

from nepa_mm import NEPA, NEPAViT
from nepa_mm.deployment import Graph, Source, export_onnx, export_torch, files, load_source
from nepa_mm.errors import CheckpointError, ConfigError
from nepa_mm.models import PaddedEncoderDecoder
from tiny import ROOT, TINY, randomize

PAPER = dict(with_cls_token=False, use_abs_pos_embed=True, act='silu', gated_mlp=True)
PIXELS = dict(mean=[100., 110., 120.], std=[50., 60., 70.], to_rgb=True)
NAMES = ['tench', 'goldfish', 'shark']
writes_onnx = pytest.mark.skipif(torch.__version__ < (2, 5), reason='torch 2.4 cannot write what it exports as ONNX')


def source_of(model, **preprocessor):
    config = Config(dict(model=dict(
        type=type(model).__name__, backbone=dict(img_size=28), data_preprocessor={**PIXELS, **preprocessor})))
    return Source(randomize(model, 0.2).eval(), config, '/home/me/tiny.pth', NAMES)


def opset_of(path):
    return pytest.importorskip('onnx').load(path).opset_import[0].version


def places_in(content):
    """Words of this machine that bytes hold."""
    words = (str(ROOT), str(ROOT.parent), 'site-packages', '/root', '/home', 'File "', '.py"', sys.prefix)
    return [word for word in words if word.encode() in content]


def classifier(**backbone):
    head = LinearClsHead(3, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    return ImageClassifier(NEPAViT(**TINY, **backbone), head=head, data_preprocessor=ClsDataPreprocessor(**PIXELS))


def segmentor(**changes):
    head = dict(num_classes=5, norm_cfg=dict(type='BN'), align_corners=False, **changes)
    sizes = {**TINY, 'arch': {**TINY['arch'], 'num_layers': 4}}
    return PaddedEncoderDecoder(
        dict(type='nepa_mm.NEPAViT', **sizes, causal=False, out_type='padded_featmap', out_indices=[0, 1, 2, 3]),
        neck=dict(type='mmseg.Feature2Pyramid', embed_dim=16, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='BN')),
        decode_head=dict(
            type='mmseg.UPerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3], channels=8, dropout_ratio=0.1,
            loss_decode=dict(type='mmseg.CrossEntropyLoss'), **head),
        test_cfg=dict(mode='slide', crop_size=(30, 33), stride=(20, 20)))


def session(path):
    return pytest.importorskip('onnxruntime').InferenceSession(path, providers=['CPUExecutionProvider'])


@writes_onnx
@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('variant, out_type', [({}, 'avg_featmap'), (PAPER, 'last_token')])
def test_classifier(causal, variant, out_type, tmp_path):
    model = classifier(causal=causal, out_type=out_type, qk_norm='affine', **variant)
    source = source_of(model)
    opset = 21 if causal else None
    exported = export_onnx(source, Graph(source), tmp_path / 'a.onnx', (28, 28), opset=opset)
    assert exported.difference < 1e-5
    run = session(tmp_path / 'a.onnx')
    assert run.get_inputs()[0].shape == ['batch', 3, 28, 28] and run.get_outputs()[0].shape == ['batch', 3]
    assert opset in (None, opset_of(exported.path)) and places_in(exported.path.read_bytes()) == []
    images = torch.randn(7, 3, 28, 28)  # a batch that neither was traced nor checked
    logits, = run.run(['logits'], {'input': images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), model(images), atol=1e-5, rtol=0)
    facts = run.get_modelmeta().custom_metadata_map
    assert json.loads(facts['classes']) == NAMES and json.loads(facts['mean']) == PIXELS['mean']
    assert json.loads(facts['std']) == PIXELS['std'] and json.loads(facts['input_size']) == [28, 28]
    assert (facts['task'], facts['channels'], facts['normalize']) == ('classification', 'RGB', 'outside')
    assert (facts['source'], facts['activation']) == ('tiny.pth', 'softmax')


@writes_onnx
@pytest.mark.parametrize('variant', [{}, PAPER])
def test_features_of_any_size(variant, tmp_path):
    model = NEPA(NEPAViT(**TINY, out_type='featmap', out_indices=[1, 2], **variant))
    source = source_of(model)
    exported = export_onnx(source, Graph(source), tmp_path / 'a.onnx', (28, 28), dynamic_shape=True)
    assert exported.difference < 1e-4 and len(exported.metadata['checked_sizes']) == 3
    run = session(tmp_path / 'a.onnx')
    assert run.get_inputs()[0].shape == ['batch', 3, '7*rows', '7*columns']
    for height, width in ((28, 28), (21, 49), (70, 14)):
        images = torch.randn(1, 3, height, width)
        outputs = run.run(['features_0', 'features_1'], {'input': images.numpy()})
        with torch.no_grad():
            expected = model.backbone(images)
        for output, reference in zip(outputs, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(output), reference, atol=1e-4, rtol=0)


@writes_onnx
def test_pixels_are_normalised_inside_as_the_host_does_it(tmp_path):
    model = classifier(causal=False, out_type='avg_featmap')
    source = source_of(model)
    exported = export_onnx(source, Graph(source, normalize=True), tmp_path / 'a.onnx', (28, 28))
    bgr = torch.randint(256, (4, 3, 28, 28), dtype=torch.uint8)  # as mm reads an image
    with torch.no_grad():
        expected = model.test_step(dict(inputs=bgr))
    logits, = session(exported.path).run(None, {'input': bgr.flip(1).numpy()})
    scores = torch.from_numpy(logits).softmax(dim=1)
    torch.testing.assert_close(scores, torch.stack([sample.pred_score for sample in expected]), atol=1e-5, rtol=0)
    assert exported.metadata['normalize'] == 'inside' and 'uint8' in str(exported)


@writes_onnx
def test_segmentor_pads_inside(tmp_path):
    """30 x 33 pixels are 5 x 5 patches of 7, so logits are stretched over 35 x 35 and cut."""
    model = segmentor()
    source = source_of(model, size=(30, 33))
    exported = export_onnx(source, Graph(source), tmp_path / 'a.onnx', (30, 33))
    assert exported.difference < 1e-4
    images = torch.randn(5, 3, 30, 33)
    with torch.no_grad():
        expected = model.encode_decode(images, [dict(img_shape=(30, 33))] * 5)
    logits, = session(exported.path).run(['seg_logits'], {'input': images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-4, rtol=0)
    assert expected.shape == (5, 5, 30, 33)


def test_an_old_torch_is_refused(tmp_path, monkeypatch):
    source = source_of(classifier(causal=False, out_type='avg_featmap'))
    monkeypatch.setattr(torch, '__version__', TorchVersion('2.4.1'))
    with pytest.raises(ConfigError, match=r'^torch 2.4.1 cannot write what it exports as ONNX \| torch \| '
                                          r'use a later one, or export'):
        export_onnx(source, Graph(source), tmp_path / 'a.onnx', (28, 28))


def test_torch_export(tmp_path):
    model = segmentor()
    source = source_of(model, size=(30, 33))
    graph = Graph(source, argmax=True)
    exported = export_torch(source, graph, tmp_path / 'a.pt2', (30, 33))
    assert exported.difference == 0
    with ZipFile(exported.path) as archive:
        assert not [(name, places_in(archive.read(name))) for name in archive.namelist() if places_in(archive.read(name))]
    ends = [(limits.lower, limits.upper) for limits in torch.export.load(exported.path).range_constraints.values()]
    assert ends == [(1, 256)]  # what runtimes that plan memory ahead have to know
    facts = {'metadata.json': ''}
    program = torch.export.load(tmp_path / 'a.pt2', extra_files=facts)
    assert json.loads(facts['metadata.json'])['outputs'] == ['seg_map']
    images = torch.randn(5, 3, 30, 33)
    with torch.no_grad():
        expected = model.encode_decode(images, [dict(img_shape=(30, 33))]).argmax(dim=1)
        assert torch.equal(program.module()(images)[0], expected)


@writes_onnx
def test_operators_that_cannot_be_had_are_refused(tmp_path):
    """PyTorch would log it, write version 18 and go on."""
    source = source_of(NEPA(NEPAViT(**{**TINY, 'arch': {**TINY['arch'], 'num_layers': 1}})))
    with pytest.raises(ConfigError, match=r'^17: PyTorch .* wrote version 18 instead \| --opset-version \| .* 18 to 25'):
        export_onnx(source, Graph(source), tmp_path / 'a.onnx', (28, 28), opset=17)
    assert list(tmp_path.iterdir()) == []


def test_one_image_at_once_and_one_channel_with_a_threshold(tmp_path):
    model = segmentor(out_channels=1, threshold=0.7)
    source = source_of(model, size=(30, 33))
    with pytest.raises(ConfigError, match='it needs two classes'):
        Graph(source, argmax=True)
    exported = export_torch(source, Graph(source, max_batch=1), tmp_path / 'a.pt2', (30, 33))
    assert (exported.metadata['activation'], exported.metadata['threshold']) == ('sigmoid', 0.7)
    assert exported.metadata['input'].startswith('[1, 3, 30, 33]') and exported.metadata['checked_batches'] == [1]
    assert torch.export.load(exported.path).module()(torch.zeros(1, 3, 30, 33))[0].shape == (1, 1, 30, 33)


def test_scores_of_several_labels_have_a_threshold():
    head = MultiLabelLinearClsHead(3, 16, thr=0.4)
    model = ImageClassifier(NEPAViT(**TINY, out_type='avg_featmap'), head=head, data_preprocessor=ClsDataPreprocessor(**PIXELS))
    assert Graph(source_of(model)).decision == dict(activation='sigmoid', threshold=0.4)


@pytest.mark.parametrize('pipeline, preprocessor, size, expected', [
    ([dict(type='nepa_mm.TimmTransform', input_size=64, is_training=False)], {}, (64, 64),
     dict(mean=[123.675, 116.28, 103.53], resample=2, size=dict(shortest_edge=73), crop_size=dict(height=64, width=64))),
    ([dict(type='ResizeEdge', scale=110, backend='pillow'), dict(type='CenterCrop', crop_size=96)], PIXELS, (96, 96),
     dict(mean=PIXELS['mean'], size=dict(shortest_edge=110), crop_size=dict(height=96, width=96))),
    ([dict(type='ColorJitter')], PIXELS, (28, 28), None),
])
def test_the_pipeline_says_how_images_are_prepared(pipeline, preprocessor, size, expected):
    """The size is the pipeline's, not the backbone's ``img_size``, which is that of its pretraining."""
    model = dict(type='ImageClassifier', backbone=dict(img_size=28), data_preprocessor=preprocessor)
    config = Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    source = Source(randomize(classifier(causal=False, out_type='avg_featmap'), 0.2), config, 'tiny', NAMES)
    assert source.image_size == size and source.channels == 'RGB'
    facts = files.metadata(source, Graph(source), size, False)
    if expected is None:
        assert 'preprocessor_config' not in facts
    else:
        np.testing.assert_allclose(facts['mean'], expected.pop('mean'))
        assert {key: facts['preprocessor_config'][key] for key in expected} == expected
    assert 'preprocessor_config' not in files.metadata(source, Graph(source), (35, 35), False)  # of another --shape


def test_what_differs_is_not_written(tmp_path, monkeypatch):
    source = source_of(classifier(causal=False, out_type='avg_featmap'))
    graph = Graph(source)
    load = files.torch.export.load

    def another(file):
        program = load(file)
        program.state_dict['model.head.fc.bias'].data += 2e-4
        return program
    monkeypatch.setattr(files.torch.export, 'load', another)
    with pytest.raises(CheckpointError, match=r'it is not written: .* differ from those of torch by 2.0e-04, more than 1e-04 '
                                              r'.*a.pt2'):
        export_torch(source, graph, tmp_path / 'a.pt2', (28, 28))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'b.pt2').write_text('mine')
    with pytest.raises(ConfigError, match='it exists and would be written over .*b.pt2'):
        export_torch(source, graph, tmp_path / 'b.pt2', (28, 28))
    assert (tmp_path / 'b.pt2').read_text() == 'mine'


def test_where_the_pipeline_normalises():
    """Our classification recipes leave it to timm, which counts pixels from 0 to 1."""
    config = Config.fromfile(ROOT / 'configs/classification/mae_vit-base-p16_8xb128-coslr-100e_in1k.py')
    source = Source(None, config, 'tiny', None)
    mean, std = source.mean_std
    np.testing.assert_allclose(mean, [123.675, 116.28, 103.53])
    np.testing.assert_allclose(std, [58.395, 57.12, 57.375])
    assert source.channels == 'RGB' and source.image_size == (224, 224)
    config = Config.fromfile(ROOT / 'configs/segmentation/nepa_vit-base-p14_upernet_4xb2-amp-80k_cityscapes-512x1024.py')
    source = Source(None, config, 'tiny', None)
    assert source.image_size == (512, 1024) and source.mean_std == ([127.5] * 3, [127.5] * 3) and source.channels == 'RGB'


def test_bad_arguments():
    with pytest.raises(ConfigError, match=r'no such config file \| no.py'):
        load_source('no.py', 'a.pth')
    with pytest.raises(CheckpointError, match=r'a config file has no weights \| configs/a.py \| give them with --checkpoint'):
        load_source('configs/a.py')
    with pytest.raises(ConfigError, match=r'no config file \(.py\) \| a.pth'):
        load_source('a.pth', 'b.pth')
    with pytest.raises(ConfigError, match='model.head.num_classes: of a checkpoint alone'):
        load_source('a.pth', options={'model.head.num_classes': 3})
    with pytest.raises(CheckpointError, match='no.pth'):
        load_source('no.pth')
    source = source_of(NEPA(NEPAViT(**TINY)))
    with pytest.raises(ConfigError, match=r'for segmentors, and the task here is features \| --argmax'):
        Graph(source, argmax=True)
    source.config.model.data_preprocessor = dict()
    with pytest.raises(ConfigError, match=r'the config has neither .* \| --normalize inside'):
        Graph(source, normalize=True)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A checkpoint that says what it is of, as trainings write it, and its config file."""
    folder = tmp_path_factory.mktemp('saved')
    backbone = dict(type='nepa_mm.NEPAViT', **TINY, causal=False, out_type='avg_featmap')
    text = f"""default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', data_preprocessor={PIXELS}, backbone={backbone},
    head=dict(type='LinearClsHead', num_classes=3, in_channels=16, loss=dict(type='CrossEntropyLoss')))
"""
    (folder / 'tiny.py').write_text(text)
    model = randomize(classifier(causal=False, out_type='avg_featmap'), 0.2)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=text, dataset_meta=dict(classes=NAMES))), folder / 'tiny.pth')
    return folder


def tool(folder, name, *args):
    return forks.done(ROOT / f'tools/deployment/{name}.py', *args, folder=folder)


@writes_onnx
def test_command_with_a_config_and_with_a_checkpoint_alone(saved):
    pytest.importorskip('onnxruntime')
    done = tool(saved, 'export_onnx', 'tiny.py', 'tiny.pth', '--output-file', 'a.onnx', '--dynamic-shape')
    assert done.returncode == 0, done.stderr
    assert 'a.onnx: ' in done.stdout and '[batch, 3, 7 * rows, 7 * columns] RGB, float32' in done.stdout
    assert 'batches of 1, 2 and 28 x 28, 42 x 35, 21 x 14 pixels: largest difference' in done.stdout
    done = tool(saved, 'export_torch', 'tiny.py', '--checkpoint', 'tiny.pth', '--features', 'featmap', '--shape', '35', '21',
                '--output-file', 'a.pt2')
    assert done.returncode == 0, done.stderr
    features, = torch.export.load(saved / 'a.pt2').module()(torch.zeros(1, 3, 35, 21))
    assert features.shape == (1, 16, 5, 3)
    run, images = session(saved / 'a.onnx'), torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        expected = load_source(str(saved / 'tiny.pth')).model(images)
    np.testing.assert_allclose(run.run(None, {'input': images.numpy()})[0], expected.numpy(), atol=1e-5)
    assert json.loads(run.get_modelmeta().custom_metadata_map['classes']) == NAMES


@pytest.mark.parametrize('args, message', [
    (['tiny.py', 'tiny.pth', '--dynamic-shape', '--shape', '30'], '--shape | give multiples of 7 pixels'),
    (['tiny.pth', '--features', 'map'], "out_type: 'map' is unknown"),
    (['tiny.pth', '--output-file', 'tiny.py/a.pt2'], 'it cannot be written (File exists: '),
])
def test_command_refuses_in_one_line(args, message, saved):
    done = tool(saved, 'export_torch', *args)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode in (2, 4) and last.startswith('nepa_mm: error: ') and message in last
    assert 'Traceback' not in done.stderr and not (saved / 'model.pt2').exists()
