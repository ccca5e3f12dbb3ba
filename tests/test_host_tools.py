"""The hosts' own tools, from inside their wheels, on configs and runs of this repository (docs/host_tools.md)."""
import json
import pickle
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import forks
import matplotlib
import numpy as np
import pytest
from PIL import Image

from nepa_mm.doctor.installed import distributions
from tiny import ROOT

run, start = partial(forks.run, imported='hosts'), partial(forks.start, imported='hosts')
SPECS = {host: find_spec(host) for host in ('mmpretrain', 'mmseg')}
HOSTS = {host: Path(spec.origin).parent / '.mim/tools' for host, spec in SPECS.items() if spec}
pytestmark = pytest.mark.skipif(not all(folder.is_dir() for folder in HOSTS.values()) or len(HOSTS) < 2,
                                reason='the hosts are installed without their tools')
continued = pytest.mark.skipif(
    'onedl-mmsegmentation' not in distributions('mmseg'), reason='fails in mmsegmentation 1.2.2 itself')
needs_cam = pytest.mark.skipif(find_spec('pytorch_grad_cam') is None, reason='needs grad-cam')

SEGMENTOR = 'segmented/iter_4.pth'
CLASSES = ['arrow', 'crescent', 'cross', 'disc', 'ring', 'square', 'star', 'triangle']
WIDTH, DEPTH, HEADS, HIDDEN, PATCH = 32, 4, 2, 64, 8
ARCH = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=HIDDEN)
CONFIGS = {
    'pretrain': f'''
_base_ = '{ROOT}/configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py'
model = dict(backbone=dict(arch={ARCH}))
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(data_root='shapes/imagenet'))
auto_scale_lr = dict(base_batch_size=8)
train_cfg = dict(max_epochs=2)
param_scheduler = dict(warmup=1, end=2)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=2))
''',
    'classify': f'''
_base_ = '{ROOT}/configs/classification/nepa_vit-mini-p8_1xb32-coslr-10e_shapes-48px.py'
model = dict(
    backbone=dict(arch={ARCH}, init_cfg=dict(checkpoint='pretrained/epoch_2.pth')), head=dict(in_channels={WIDTH}))
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(data_root='shapes/imagenet'))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root='shapes/imagenet'))
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root='shapes/imagenet'))
auto_scale_lr = dict(base_batch_size=8)
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = dict(warmup=0, end=1)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=1))
''',
    # A data set of mmseg's with as many classes, which begin at 1 too: its tools read classes from METAINFO alone.
    'segment': f'''
_base_ = '{ROOT}/configs/segmentation/nepa_vit-mini-p8_upernet_1xb8-300i_shapes-76x76.py'
model = dict(
    backbone=dict(arch={ARCH}, init_cfg=None), neck=dict(embed_dim={WIDTH}),
    decode_head=dict(in_channels=[{WIDTH}] * 4), auxiliary_head=dict(in_channels={WIDTH}))
data = dict(type='LoveDADataset', data_root='shapes/ADEChallengeData2016', img_suffix='.jpg', metainfo=None)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
train_cfg = dict(max_iters=4, val_interval=4)
param_scheduler = [dict(type='PolyLR', power=1.0, by_epoch=False, end=4)]
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=4))
''',
    'speed': '''
_base_ = 'segment.py'
data = _base_.test_dataloader.dataset
data.pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(76, 76)), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=67, dataset=data))  # the tool takes 200 images
''',
}


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """Drawn data, configs, a pretraining and a fine-tuning that starts from it."""
    folder = tmp_path_factory.mktemp('work')
    run(folder, ROOT / 'tools/demo/draw_shapes.py', 'shapes', '--train', 3, '--val', 2, '--seg-train', 4, '--seg-val', 3)
    for name, text in CONFIGS.items():
        (folder / f'{name}.py').write_text(text)
    run(folder, ROOT / 'tools/train.py', 'pretrain.py', '--work-dir', 'pretrained')
    run(folder, ROOT / 'tools/train.py', 'classify.py', '--work-dir', 'tuned')
    return folder


@pytest.fixture(scope='module')
def segmented(work):
    """The same with a segmentor, and label maps that it predicts."""
    run(work, ROOT / 'tools/train.py', 'segment.py', '--work-dir', 'segmented')
    run(work, ROOT / 'tools/test.py', 'segment.py', SEGMENTOR, '--work-dir', 'tested', '--out', 'maps')
    return work


def vit_flops(side: int, qk_affine: bool, pooled: bool) -> tuple[int, int]:
    """Multiply-adds of the backbone without and with attention's two products, by hand; mmengine counts a norm as 4 or 5 each."""
    patches = (-(-side // PATCH))**2
    tokens = patches + 1  # [CLS]
    norms = tokens * WIDTH * (5 + 5 + 2 * (5 if qk_affine else 4))  # ln1, ln2, queries, keys
    linear = tokens * (4 * WIDTH**2 + 2 * WIDTH * HIDDEN)  # qkv, proj, MLP
    rest = patches * 3 * PATCH**2 * WIDTH + 5 * tokens * WIDTH + (5 * WIDTH if pooled else 0)  # patches, final norm, fc_norm
    without = rest + DEPTH * (norms + linear)
    return without, without + DEPTH * 2 * tokens**2 * WIDTH


def printed_flops(text: str) -> float:
    number, unit = re.search(r'^Flops: ([\d.]+)([KMGT])$', text, re.MULTILINE).groups()
    return float(number) * dict(K=1e3, M=1e6, G=1e9, T=1e12)[unit]


@pytest.mark.parametrize('name, fused', [('classify', 1), ('pretrain', 0)])
def test_get_flops_of_a_backbone(name, fused, work):
    tool = HOSTS['mmpretrain'] / 'analysis_tools/get_flops.py'
    text = run(work, tool, f'{name}.py', '--shape', 64, TIMM_FUSED_ATTN=str(fused))
    fine_tuned = name == 'classify'
    expected = vit_flops(64, qk_affine=fine_tuned, pooled=fine_tuned)[0 if fused else 1]
    assert printed_flops(text) == pytest.approx(expected, abs=500)  # three decimals of a million
    assert ('Unsupported operator aten::scaled_dot_product_attention encountered 4 time(s)' in text) == bool(fused)


@continued
def test_get_flops_of_a_segmentor(work):
    tool = HOSTS['mmseg'] / 'analysis_tools/get_flops.py'
    fused, whole = (printed_flops(run(work, tool, 'segment.py', '--shape', 76, 76, TIMM_FUSED_ATTN=flag)) for flag in '10')
    without, with_attention = vit_flops(76, qk_affine=True, pooled=False)
    assert whole - fused == pytest.approx(with_attention - without, abs=1.1e5)  # three decimals of a thousand million
    assert whole > 10 * with_attention  # the heads cost most here


@pytest.mark.skipif(matplotlib.__version_info__ >= (3, 11), reason='draws by a private function of matplotlib < 3.11')
def test_browse_dataset_shows_what_timm_makes_of_an_image(work):
    recipe = ROOT / 'configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py'
    run(work, HOSTS['mmpretrain'] / 'visualization/browse_dataset.py', recipe, '-o', 'seen', '--not-show', '-n', 3, '-c', 'RGB',
        '--cfg-options', 'train_dataloader.dataset.data_root=shapes/imagenet',
        f'train_dataloader.dataset.metainfo.classes={",".join(CLASSES)}')
    pictures = [np.array(Image.open(path)) for path in sorted((work / 'seen').glob('*.jpg'))]
    assert len(pictures) == 3 and min(picture.shape[0] for picture in pictures) > 800  # 224 pixels enlarged, with a title
    assert max(picture[200:].std() for picture in pictures) > 20


def test_browse_dataset_shows_images(work):
    run(work, HOSTS['mmpretrain'] / 'visualization/browse_dataset.py', 'pretrain.py', '-o', 'images', '--not-show', '-n', 2,
        '-m', 'original')
    pictures = sorted((work / 'images').glob('*.jpg'))
    assert len(pictures) == 2
    for path in pictures:
        original = Image.open(work / 'shapes/imagenet/train/arrow' / path.name)
        # JPEG twice, and the label's text at the top
        difference = np.abs(np.array(original, float)[24:] - np.array(Image.open(path), float)[24:])
        assert difference.mean() < 6


@continued
def test_browse_dataset_shows_labels(work):
    run(work, HOSTS['mmseg'] / 'analysis_tools/browse_dataset.py', 'segment.py', '--output-dir', 'seen_labels', '--not-show')
    pictures = [np.array(Image.open(path)) for path in (work / 'seen_labels').glob('*.jpg')]
    assert [picture.shape for picture in pictures] == [(76, 76, 3)] * 4 and min(picture.std() for picture in pictures) > 10


def test_analyze_logs_draws_what_pretraining_logs(work):
    log, = (work / 'pretrained').glob('*/vis_data/scalars.json')
    tool = HOSTS['mmpretrain'] / 'analysis_tools/analyze_logs.py'
    keys = ['loss', 'cosine', 'collapse', 'lr', 'grad_norm']
    text = run(work, tool, 'plot_curve', log, '--keys', *keys, '--out', 'curve.png')
    assert re.findall('metric is (.*)', text) == keys
    assert Image.open(work / 'curve.png').size == (1200, 700)
    times = [record['time'] for record in map(json.loads, log.read_text().splitlines())]
    text = run(work, tool, 'cal_train_time', log, '--include-outliers')
    assert float(re.search('average iter time: ([0-9.]+)', text)[1]) == pytest.approx(np.mean(times), abs=1e-4)


@pytest.mark.skipif(find_spec('seaborn') is None, reason='needs seaborn')
def test_mmseg_analyze_logs_draws_what_segmentation_logs(segmented):
    log, = (segmented / 'segmented').glob('*/vis_data/scalars.json')
    keys = ['loss', 'decode.acc_seg', 'aux.loss_ce', 'mIoU']
    tool = HOSTS['mmseg'] / 'analysis_tools/analyze_logs.py'
    text = run(segmented, tool, log, '--keys', *keys, '--legend', *keys, '--out', 'segmentation.png')
    assert re.findall('metric is (.*)', text) == keys
    assert np.array(Image.open(segmented / 'segmentation.png')).std() > 10


def test_confusion_matrix_of_a_classifier(work):
    tool = HOSTS['mmpretrain'] / 'analysis_tools/confusion_matrix.py'
    run(work, tool, 'classify.py', 'tuned/epoch_1.pth', '--out', 'matrix.pkl', '--show-path', 'matrix.png')
    matrix = pickle.loads((work / 'matrix.pkl').read_bytes())
    assert matrix.sum(1).tolist() == [2] * 8  # two images of each class
    log, = (work / 'tuned').glob('*/vis_data/scalars.json')
    top1 = [json.loads(line).get('accuracy/top1') for line in log.read_text().splitlines()][-1]
    assert matrix.diagonal().sum() / 16 == pytest.approx(top1 / 100)
    assert min(Image.open(work / 'matrix.png').size) > 300


@continued
def test_confusion_matrix_of_a_segmentor(segmented):
    # The tool draws its matrix and keeps no number: its own function is asked on the way.
    (segmented / 'confusion_matrix.py').write_text(f"""
import json
import runpy
tool = runpy.run_path({str(HOSTS['mmseg'] / 'analysis_tools/confusion_matrix.py')!r})['main'].__globals__
count = tool['calculate_confusion_matrix']
def count_and_keep(*args):
    matrix = count(*args)
    json.dump(matrix.tolist(), open('matrix.json', 'w'))
    return matrix
tool['calculate_confusion_matrix'] = count_and_keep
tool['main']()
""")
    run(segmented, segmented / 'confusion_matrix.py', 'segment.py', 'maps', 'drawn')
    assert min(Image.open(segmented / 'drawn/confusion_matrix.png').size) > 300
    matrix = np.array(json.loads((segmented / 'matrix.json').read_text()))
    labels, predictions = (
        np.concatenate([np.array(Image.open(path)).ravel() for path in sorted((segmented / folder).glob('*.png'))])
        for folder in ('shapes/ADEChallengeData2016/annotations/validation', 'maps'))
    assert len(labels) == 3 * 112 * 144
    for i in range(7):
        assert matrix[i].sum() == (labels == i + 1).sum()  # 0 is no class
        assert matrix[:, i].sum() == ((predictions == i + 1) & (labels > 0)).sum()


def test_benchmark_measures_a_segmentor(segmented):
    text = run(segmented, HOSTS['mmseg'] / 'analysis_tools/benchmark.py', 'speed.py', SEGMENTOR, '--work-dir', 'speed')
    record, = map(json.loads, map(Path.read_text, (segmented / 'speed').glob('fps_*.json')))
    assert 0 < record['average_fps'] < 1e5 and f'Overall fps: {record["average_fps"]:.2f} img / s' in text
    assert 'Done image [200/ 200]' in text and f'{SEGMENTOR}: 69 of 69 backbone tensors loaded' in text


@needs_cam
def test_vis_cam_of_a_classifier(work):
    image = sorted((work / 'shapes/imagenet/val/star').glob('*.jpg'))[0]
    run(work, HOSTS['mmpretrain'] / 'visualization/vis_cam.py', image, 'classify.py', 'tuned/epoch_1.pth', '--vit-like',
        '--target-layers', 'backbone.layers.3.ln1', '--save-path', 'cam.png')
    picture = np.array(Image.open(work / 'cam.png'))
    assert picture.shape == (64, 64, 3)
    assert np.abs(picture.astype(float) - np.array(Image.open(image).resize((64, 64)), float)).mean() > 10  # a map lies over it


@needs_cam
def test_visualization_cam_of_a_segmentor(segmented):
    image = sorted((segmented / 'shapes/ADEChallengeData2016/images/validation').glob('*.jpg'))[0]
    code, text = start(
        segmented, HOSTS['mmseg'] / 'analysis_tools/visualization_cam.py', image, 'segment.py', SEGMENTOR, '--device', 'cpu',
        '--target-layers', 'decode_head.fpn_bottleneck', '--category-index', 0, '--cam-file', 'cam_seg.png')
    if "unexpected keyword argument 'use_cuda'" in text:
        pytest.skip('needs grad-cam < 1.5')
    assert code == 0, text[-3000:]
    assert Image.open(segmented / 'cam_seg.png').size == Image.open(image).size
