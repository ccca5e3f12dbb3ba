"""Detectors of mmdet through the tools, on drawn instances in COCO's layout, with the operators that stand in for mmcv's."""
import json
import re

import mmengine
import numpy as np
import pytest
import torch
from drawn_data import detected
from forks import run
from mixes import importable
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import METRICS, MODELS, DefaultScope, init_default_scope
from PIL import Image

from nepa_mm.checkpoints.storage.files import read_checkpoint
from tiny import ROOT

pytestmark = pytest.mark.skipif(not importable('mmdet.datasets'), reason='no mmdet, or one that does not fit')
CONFIGS = sorted((ROOT / 'configs/detection').glob('*.py'))
SMALL = [path for path in CONFIGS if '_1xb8-' in path.name]
TINY = ['model.backbone.arch.embed_dims=32', 'model.backbone.arch.num_layers=1', 'model.backbone.arch.feedforward_channels=32',
        'model.neck.embed_dims=32', 'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
        'default_hooks.logger.interval=1', 'default_hooks.checkpoint.interval=2', 'train_cfg.max_iters=4',
        'train_cfg.val_interval=4']


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('drawn') / 'coco'
    run(ROOT, ROOT / 'tools/demo/draw_coco.py', folder, '--train', 5, '--val', 3, imported='mmdet')
    return folder


@pytest.fixture
def scope():
    yield init_default_scope('mmdet')
    DefaultScope._instance_dict.clear()


def options(data):
    return [*TINY, *(f'{split}_dataloader.dataset.data_root={data}/' for split in ('train', 'val', 'test')),
            *(f'{split}_evaluator.ann_file={data}/annotations/instances_val2017.json' for split in ('val', 'test'))]


def test_the_drawn_instances_are_what_is_seen_of_the_shapes(drawn):
    """Boxes and areas are those of the masks; no two instances of an image share a pixel; colours are those of the categories."""
    import pycocotools.mask as rle
    data = json.loads((drawn / 'annotations/instances_train2017.json').read_text())
    names = {each['id']: each['name'] for each in data['categories']}
    assert len(data['images']) == 5 and list(names.values()) == ['red', 'yellow', 'green', 'cyan', 'blue', 'magenta']
    for image in data['images']:
        pixels = np.asarray(Image.open(drawn / 'train2017' / image['file_name'])).astype(float)
        instances = [each for each in data['annotations'] if each['image_id'] == image['id']]
        masks = [rle.decode(each['segmentation']) for each in instances]
        assert 2 <= len(masks) <= 4 and sum(masks).max() == 1 and pixels.shape == (*masks[0].shape, 3)
        for mask, each in zip(masks, instances):
            rows, columns = np.nonzero(mask)
            x, y, width, height = each['bbox']
            assert each['area'] == len(rows)
            assert (x, y, x + width - 1, y + height - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
            red, green, blue = pixels[mask == 1].mean(0)
            if names[each['category_id']] in ('red', 'green', 'blue'):
                channels = dict(red=red, green=green, blue=blue)
                assert max(channels, key=channels.get) == names[each['category_id']]


@pytest.mark.parametrize('config', SMALL, ids=lambda path: path.stem)
def test_a_training_resumes_with_the_same_bits_and_its_checkpoint_tests_alike(config, drawn, tmp_path):
    tool, settings = ROOT / 'tools/train.py', ['--cfg-options', *options(drawn)]
    printed = run(tmp_path, tool, config, '--work-dir', 'whole', *settings, imported='mmdet')
    assert printed.count('nepa_mm.ops stands in for nms, ') == 1
    run(tmp_path, tool, config, '--work-dir', 'resumed', '--resume', tmp_path / 'whole/iter_2.pth', *settings, imported='mmdet')
    whole, resumed = (read_checkpoint(tmp_path / name / 'iter_4.pth')['state_dict'] for name in ('whole', 'resumed'))
    half = read_checkpoint(tmp_path / 'whole/iter_2.pth')['state_dict']
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], half[name]) for name in whole)
    said = run(tmp_path, ROOT / 'tools/test.py', config, 'whole/iter_4.pth', '--work-dir', 'test', '--out', 'found.pkl',
               '--show-dir', 'drawn', *settings, imported='mmdet')
    validated, tested = (re.search(r'coco/bbox_mAP: (\S+) .*coco/segm_mAP: (\S+) ', text) for text in (printed, said))
    assert validated.groups() == tested.groups()
    assert {path.name for path in (tmp_path / 'drawn').iterdir()} == {'00000.jpg', '00001.jpg', '00002.jpg'}
    found = mmengine.load(tmp_path / 'found.pkl')
    assert [each['img_id'] for each in found] == [0, 1, 2]
    for each in found:
        instances = each['pred_instances']
        assert len(instances['scores']) == len(instances['bboxes']) == len(instances['masks']) <= 100


def test_the_truth_has_a_precision_of_one_and_half_of_it_less(drawn, scope):
    from mmdet.datasets import CocoDataset
    cfg = Config.fromfile(SMALL[0])
    dataset = CocoDataset(**{key: value for key, value in cfg.val_dataloader.dataset.items() if key not in ('type', 'pipeline')}
                          | dict(data_root=f'{drawn}/', pipeline=cfg.val_dataloader.dataset.pipeline))
    for share, expected in (1., 1.), (0.5, None):
        metric = METRICS.build(dict(cfg.val_evaluator, ann_file=f'{drawn}/annotations/instances_val2017.json'))
        metric.dataset_meta = dataset.metainfo
        for i in range(len(dataset)):
            sample = dataset[i]['data_samples']
            truth = sample.gt_instances
            kept = max(1, int(share * len(truth)))
            found = dict(bboxes=truth.bboxes.tensor[:kept], labels=truth.labels[:kept], scores=torch.ones(kept),
                         masks=torch.from_numpy(truth.masks.masks[:kept]).bool())
            metric.process({}, [dict(sample.to_dict(), pred_instances=found)])
        scores = metric.evaluate(len(dataset))
        for kind in ('bbox', 'segm'):
            precision = scores[f'coco/{kind}_mAP']
            assert precision == 1 if expected else 0 < precision < 1


@pytest.mark.parametrize('config', [path for path in CONFIGS if path not in SMALL], ids=lambda path: path.stem)
def test_a_full_size_model_takes_a_step(config, scope):
    """Of ViT-B with all its heads, on images of 64 pixels: of 1024 they would take minutes and more memory than a laptop has."""
    cfg = Config.fromfile(config)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).train()
    last = model.backbone.layers[-1].attn.proj.weight
    before = last.detach().clone()
    batch = dict(inputs=[torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)], data_samples=[detected(64)])
    log = model.train_step(batch, OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-2)))
    assert torch.isfinite(log['loss']) and not torch.equal(last, before)
