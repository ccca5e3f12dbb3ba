"""Every config loads, builds and says what STYLE asks of its header."""
import re
from pathlib import Path

import pytest
import torch
from mixes import importable
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope, init_default_scope
from torch.utils.data import DataLoader

from nepa_mm.datasets.transforms.load_image import with_own_loader
from nepa_mm.engine.loops.effective_batch import StepLoader, accumulation, warmup_iters
from nepa_mm.launch.config_parts import datasets_of, dicts_in, steps_of, value_at
from nepa_mm.variants import arch_settings
from tiny import ROOT

CONFIGS = sorted(path for path in (ROOT / 'configs').glob('*/*.py') if path.parent.name != '_base_')
REAL = [path for path in CONFIGS if re.search('_[48]xb', path.name)]  # the others are of laptop size


@pytest.fixture
def scope():
    yield init_default_scope
    DefaultScope._instance_dict.clear()


def bases(path: Path) -> list[Path]:
    return [path.parent / base for base in Config._get_base_files(str(path))]


def depth(path: Path) -> int:
    return 1 + max(map(depth, bases(path)), default=-1)


def whole_text(path: Path) -> str:
    """Of a config and of all that it inherits."""
    return ''.join([path.read_text(), *map(whole_text, bases(path))])


def names(paths):
    return [path.stem for path in paths]


@pytest.mark.parametrize('path', CONFIGS, ids=names(CONFIGS))
def test_builds(path, scope):
    cfg = Config.fromfile(path)
    if (cfg.default_scope == 'mmdet' or 'mmdet.' in str(cfg.model)) and not importable('mmdet.models'):
        pytest.skip('mmdet.models cannot be imported')
    scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    arch = re.search('vit-(base|large|huge|giant|tiny|mini|micro)', path.name)[1]
    assert model.backbone.embed_dims == dict(base=768, large=1024, huge=1280, giant=1408, tiny=192, mini=128, micro=64)[arch]
    assert depth(path) <= 2 and '_delete_' not in whole_text(path)


@pytest.mark.parametrize('path', CONFIGS, ids=names(CONFIGS))
def test_header_gives_command_hardware_and_numbers(path):
    header = path.read_text().split('_base_')[0]
    assert str(path.relative_to(ROOT)) in header and 'Hardware:' in header
    if path in REAL:
        known = re.search(r'(paper|release) (\d\d\.\d|fails|none)', header)  # numbers: test_paper_figures.py
        assert known and 'ours not run' in header
    for other in re.findall(r'(?:pretrain|classification|ablation)/[\w.-]+\.py', header):  # configs that a header sends to
        assert (ROOT / 'configs' / other).is_file(), other


@pytest.mark.parametrize('path', CONFIGS, ids=names(CONFIGS))
def test_training_and_tests_read_images_alike(path):
    """By Pillow's pixels, and with errors in one line."""
    cfg = Config.fromfile(path)
    loaders = {key: with_own_loader(cfg[key]) for key in cfg if key.endswith('_dataloader') and cfg[key]}
    steps = [step for key, dataset in datasets_of(loaders, ('train', 'val', 'test'))
             for _, step in steps_of(dataset, key)]
    steps += [step for _, step in dicts_in(with_own_loader(cfg.get('tta_pipeline', [])))]
    loads = [step for step in steps if 'LoadImage' in step.get('type', '')]
    assert loads and {step['type'] for step in loads} == {'nepa_mm.LoadImage'}
    assert {step.get('imdecode_backend', 'pillow') for step in loads} == {'pillow'}


# Iterations, training images, batch and epochs
SEGMENTATION = dict(
    ade20k=(160_000, 20_210, 16, 127),
    voc12aug=(40_000, 10_582, 16, 60),
    cityscapes=(80_000, 2_975, 8, 215),
    camvid=(20_000, 367, 16, 872))


def steps_an_epoch(cfg, images: int) -> int:
    """Optimizer steps on 8 GPUs, by the loader and the loop that the config names."""
    base = cfg.auto_scale_lr.base_batch_size
    loader = cfg.train_dataloader
    count = accumulation(base, 8, loader.batch_size)
    assert count == cfg.optim_wrapper.get('accumulative_counts', 1)
    share = DataLoader(range(-(-images // 8)), loader.batch_size, drop_last=loader.drop_last)
    return len(StepLoader(share, count, cfg.train_cfg.get('take_rest', False)))


@pytest.mark.parametrize('path', REAL, ids=names(REAL))
def test_arithmetic(path):
    """Name, batch, rate, warm-up and total iterations agree, with the real lengths of ImageNet-1k and ADE20K."""
    cfg = Config.fromfile(path)
    gpus, batch = map(int, re.search(r'_(\d)xb(\d+)', path.name).groups())
    accumulated, base = cfg.optim_wrapper.get('accumulative_counts', 1), cfg.auto_scale_lr.base_batch_size
    assert cfg.train_dataloader.batch_size == batch and gpus * batch * accumulated == base
    for numbers in re.findall(r'# 8 GPUs x (\d+) images(?: x (\d+) accumulated)? = (\d+)', whole_text(path)):
        assert [int(number or 1) for number in numbers] == [batch, accumulated, base]
    if path.parent.name == 'segmentation':
        iterations, images, batch, epochs = SEGMENTATION[re.search(r'_([a-z]+\d*[a-z]*)-\d+x\d+', path.name)[1]]
        assert f'-{iterations // 1000}k_' in path.name and base == batch
        assert cfg.train_cfg.type == 'nepa_mm.AccumulatingIterLoop' and cfg.train_cfg.max_iters == iterations
        assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == iterations // 10
        warmup, poly = cfg.param_scheduler
        assert (warmup.end, poly.begin, poly.end) == (1500, 1500, iterations)
        assert round(iterations * base / images) == epochs
        return
    epochs = int(re.search(r'-(\d+)e_', path.name)[1])
    if path.parent.name == 'detection':
        *_, steps = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
        assert cfg.train_cfg.max_iters == steps.end == epochs * 118_000 // base
        assert len(steps.milestones) == 2 and all(0.87 < at / steps.end < 0.97 for at in steps.milestones)
        return
    assert cfg.default_hooks.checkpoint.get('save_best') == ('accuracy/top1' if '8xb128' in path.name else None)
    simmim = path.name.startswith('simmim')
    assert base == (2048 if simmim else 4096 if '8xb512' in path.name or '8xb256' in path.name else 1024)
    assert cfg.train_cfg.type == 'nepa_mm.AccumulatingEpochLoop' and cfg.train_cfg.max_epochs == epochs
    steps = steps_an_epoch(cfg, 1_281_167)
    assert steps == {4096: 312 if batch == 512 else 313, 2048: 625, 1024: 1251}[base]  # 625 batches of 256 are 312.5 steps
    if simmim:  # its rate falls in a step, and mmengine's schedulers turn epochs into steps
        assert [part.end for part in cfg.param_scheduler] == [10, epochs] and cfg.custom_hooks == []
        return
    optimizer = torch.optim.SGD([dict(params=[torch.nn.Parameter(torch.zeros(1))], layer_decay_rate=1.)], lr=1.)
    schedule = PARAM_SCHEDULERS.build(cfg.param_scheduler, default_args=dict(optimizer=optimizer, epoch_length=steps))
    assert schedule.end == epochs * steps and warmup_iters([schedule], steps) == cfg.param_scheduler.warmup * steps
    hooks = [dict(type='EMAHook', ema_type='nepa_mm.ForeachEMA', momentum=pytest.approx(1e-4), priority='ABOVE_NORMAL')]
    if base == 1024 or path.stem.endswith('-knn'):
        hooks[0]['evaluate_on_origin'] = True
    assert cfg.custom_hooks == ([] if path.parent.name == 'pretrain' and not path.name.startswith('nepa_') else hooks)


@pytest.mark.parametrize('name, accumulated, epochs', [
    ('nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k', 1, 1600),
    ('nepa_vit-large-p14_8xb256-amp-coslr-800e_in1k', 2, 800),
])
def test_pretraining_recipe(name, accumulated, epochs):
    for variant in ('', '-paper'):
        cfg = Config.fromfile(ROOT / f'configs/pretrain/{name}{variant}.py')
        assert cfg.optim_wrapper.get('accumulative_counts', 1) == accumulated
        assert cfg.optim_wrapper.optimizer == dict(
            type='AdamW', lr=pytest.approx(3e-4 * 4096 / 256), betas=(0.9, 0.95), weight_decay=0.05, fused=True)
        assert cfg.optim_wrapper.clip_grad == dict(max_norm=1.0) and cfg.optim_wrapper.type == 'nepa_mm.Bf16OptimWrapper'
        schedule = cfg.param_scheduler
        assert (schedule.decay, schedule.warmup, schedule.end) == (1., 40 if variant else 0.025 * epochs, epochs)
        backbone = cfg.model.backbone
        assert backbone.get('gated_mlp', False) == backbone.get('use_abs_pos_embed', False) == bool(variant)
        assert backbone.get('with_cls_token', True) != bool(variant) and backbone.get('causal', True)
        assert backbone.get('qk_norm', 'plain') == ('affine' if 'large' in name else 'plain')  # as released


@pytest.mark.parametrize('name, base_lr, epochs, warmup, decay, drop_path, crop_pct', [
    ('nepa_vit-base-p14_8xb128-coslr-100e_in1k', 1.5e-3, 100, 20, 0.65, 0.1, 0.875),
    ('nepa_vit-large-p14_8xb128-coslr-50e_in1k', 1e-3, 50, 15, 0.75, 0.2, 0.95),
    ('nepa_vit-large-p14_8xb128-coslr-100e_in1k', 1e-3, 100, 30, 0.75, 0.2, 0.95),
    ('nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper', 1e-3, 100, 5, 0.35, 0.1, 0.875),
    ('nepa_vit-large-p14_8xb128-coslr-50e_in1k-paper', 1e-3, 50, 5, 0.6, 0.2, 0.95),
])
def test_fine_tuning_recipe(name, base_lr, epochs, warmup, decay, drop_path, crop_pct):
    cfg = Config.fromfile(ROOT / f'configs/classification/{name}.py')
    paper = name.endswith('paper')
    schedule, optim = cfg.param_scheduler, cfg.optim_wrapper
    assert optim.optimizer == dict(
        type='AdamW', lr=pytest.approx(base_lr * 1024 / 256), betas=(0.9, 0.999), weight_decay=0.05, fused=True)
    assert optim.paramwise_cfg == dict(head_lr=1e-3) and optim.type == 'nepa_mm.Bf16OptimWrapper'
    assert optim.clip_grad == dict(max_norm=1.0) and cfg.model.head.loss == dict(type='CrossEntropyLoss', use_soft=True)
    assert cfg.model.data_preprocessor == dict(type='nepa_mm.TimmDataPreprocessor', to_onehot=True, num_classes=1000)
    assert (schedule.decay, schedule.warmup, schedule.end) == (decay, warmup, epochs)
    assert schedule.get('layerwise_warmup', False) != paper
    assert (schedule.get('decay_end'), schedule.get('decay_anneal')) == ((1.0, 'linear') if paper else (None, None))
    backbone = cfg.model.backbone
    assert (backbone.drop_path_rate, backbone.frozen_stages, backbone.causal) == (drop_path, 0, False)
    assert (backbone.qk_norm, backbone.out_type) == ('affine', 'last_token' if paper else 'avg_featmap')
    train, test = (loader.dataset.pipeline[1] for loader in (cfg.train_dataloader, cfg.test_dataloader))
    assert (train.auto_augment, train.interpolation, train.re_prob) == ('rand-m9-mstd0.5-inc1', 'bicubic', 0.25)
    assert (test.crop_pct, test.is_training) == (crop_pct, False) and cfg.val_dataloader == cfg.test_dataloader
    assert test.get('crop_mode') == ('squash' if 'large' in name else None)
    assert cfg.model.head.init_cfg == dict(type='Constant', layer='Linear', val=0., bias=0.)
    mixup, = cfg.model.train_cfg.augments
    assert (mixup.mixup_alpha, mixup.cutmix_alpha, mixup.label_smoothing) == (0.8, 1.0, 0.1)
    pretrained = Path(backbone.init_cfg.checkpoint).parent.name
    assert (ROOT / f'configs/pretrain/{pretrained}.py').exists() and pretrained.endswith('paper') == paper
    assert Path(backbone.init_cfg.checkpoint).stem == 'epoch_' + re.search(r'-(\d+)e_', pretrained)[1]


# What each ablation changes, and in which part of the config
ABLATIONS = {
    '1600e_in1k-paper-no-shift': ('model.head', dict(shift=False)),
    '1600e_in1k-paper-no-causal': ('model.backbone', dict(causal=False)),
    '1600e_in1k-paper-no-stopgrad': ('model.head', dict(stop_grad=False)),
    '1600e_in1k-paper-mask40': ('model', dict(mask_ratio=0.4)),
    '1600e_in1k-paper-mask60': ('model', dict(mask_ratio=0.6)),
    '1600e_in1k-paper-plain': ('model.backbone', dict(
        layer_scale_init_value=None, rope=None, qk_norm=None, act='gelu', gated_mlp=False)),
    '1600e_in1k-paper-ls': ('model.backbone', dict(rope=None, qk_norm=None, act='gelu', gated_mlp=False)),
    '1600e_in1k-paper-ls-rope': ('model.backbone', dict(qk_norm=None, act='gelu', gated_mlp=False)),
    '1600e_in1k-paper-gelu': ('model.backbone', dict(act='gelu', gated_mlp=False)),
    '1600e_in1k-paper-ls-rope-gated': ('model.backbone', dict(qk_norm=None)),
    '100e_in1k-paper-unfrozen': ('model.backbone', dict(frozen_stages=-1)),
    '100e_in1k-paper-causal': ('model.backbone', dict(causal=True)),
    '100e_in1k-paper-fixed-decay': ('param_scheduler', dict(decay=0.65, decay_end=None)),
}


@pytest.mark.parametrize('name', ABLATIONS)
def test_an_ablation_changes_one_thing(name):
    path, = (path for path in CONFIGS if path.stem.endswith(name) and 'base' in path.stem)
    ablated = Config.fromfile(path)
    base = Config.fromfile(path.parent / re.search("_base_ = '(.*)'", path.read_text())[1])
    assert base.filename.endswith('-paper.py')
    part, changes = ABLATIONS[name]
    assert all(value_at(base, part).get(key, 'unset') != value for key, value in changes.items())
    value_at(base, part).update(changes)
    assert base.to_dict() == ablated.to_dict()


def test_the_steps_of_table_1b_fine_tune_what_they_pretrain():
    for step in ('plain', 'ls', 'ls-rope', 'ls-rope-gated', 'gelu'):
        paths = [path for path in CONFIGS if path.stem.endswith(f'-paper-{step}')]
        tuned, pretrained = (Config.fromfile(path) for path in sorted(paths))
        assert Path(tuned.model.backbone.init_cfg.checkpoint).parent.name == Path(pretrained.filename).stem
        for key in ('rope', 'act', 'gated_mlp', 'layer_scale_init_value'):
            assert tuned.model.backbone.get(key, '') == pretrained.model.backbone.get(key, '')


@pytest.mark.parametrize('name, plain, change', [
    ('1600e_in1k-paper-plain-mask40', '1600e_in1k-paper-plain', {'model.mask_ratio': 0.4}),
    ('1600e_in1k-paper-plain-mask60', '1600e_in1k-paper-plain', {'model.mask_ratio': 0.6}),
    ('100e_in1k-paper-ls-unfrozen', '100e_in1k-paper-ls', {'model.backbone.frozen_stages': -1}),
])
def test_tables_1c_and_1d_ablate_a_model_of_table_1b(name, plain, change):
    ablated, base = (Config.fromfile(path) for end in (name, plain) for path in CONFIGS if path.stem.endswith(end))
    base.merge_from_dict(change)
    assert base.to_dict() == ablated.to_dict()


def test_the_rows_of_table_7_differ_in_one_part_and_fine_tune_what_they_pretrain():
    parts = {'': {}, '-ls': dict(layer_scale_init_value=1e-5), '-rope': dict(rope=dict(theta=100., rescale=2.)),
             '-qk-norm': dict(qk_norm='affine')}
    for suffix, part in parts.items():
        pretrained, tuned = (Config.fromfile(ROOT / f'configs/{name}_in1k{suffix}.py') for name in (
            'pretrain/mae_nepa-vit-large-p16_8xb256-amp-coslr-1600e', 'classification/mae_nepa-vit-large-p16_8xb128-coslr-50e'))
        assert Path(tuned.model.backbone.init_cfg.checkpoint).parent.name == Path(pretrained.filename).stem
        for backbone in (pretrained.model.backbone, tuned.model.backbone):
            plain = dict(rope=None, qk_norm=None, layer_scale_init_value=None)
            assert {key: backbone.get(key, dict(theta=100., rescale=2.)) for key in plain} == plain | part
            assert backbone.use_abs_pos_embed and (backbone.arch, backbone.patch_size) == ('large', 16)


def shapes(cfg) -> dict[str, torch.Size]:
    """Of the weights of a config's backbone, cut down to its first block."""
    arch = dict(arch_settings(cfg.model.backbone.arch), num_layers=1)
    with torch.device('meta'):
        backbone = MODELS.build(dict(cfg.model.backbone, arch=arch, out_indices=-1, frozen_stages=-1, init_cfg=None))
    return {name: value.shape for name, value in backbone.state_dict().items()}


def test_what_starts_from_a_pretraining_here_finds_its_weights(scope):
    """But for fc_norm and, of base alone, the weights of QK-norm; the position embedding and patches of 16 are resized."""
    scope('mmpretrain')
    stems, pretrained, checked = {path.stem: path for path in CONFIGS}, {}, 0
    for path in REAL:
        cfg = Config.fromfile(path)
        start = Path((cfg.model.backbone.get('init_cfg') or {}).get('checkpoint', '')).parent.name
        if start not in stems:
            continue
        if start not in pretrained:
            pretrained[start] = shapes(Config.fromfile(stems[start]))
        tuned = shapes(cfg)
        new = {re.sub(r'.*\.(?=[qk]_norm)', '', name) for name in tuned.keys() - pretrained[start].keys()}
        created = {'fc_norm.weight', 'fc_norm.bias'} | (set() if 'large' in path.name else {'q_norm.weight', 'k_norm.weight'})
        assert new <= created and pretrained[start].keys() <= tuned.keys(), path.name
        changed = {name for name in pretrained[start] if pretrained[start][name] != tuned[name]}
        allowed = {'pos_embed'} if path.parent.name == 'segmentation' else set()
        assert changed <= (allowed | {'patch_embed.weight'} if 'base-p16' in path.name else allowed), path.name
        checked += 1
    assert checked > 40


@pytest.mark.parametrize('arch, layers', [('base', 12), ('large', 24)])
def test_linear_probing_trains_the_head_alone(arch, layers, scope):
    for last in ('', '-last'):
        path, = (ROOT / 'configs/classification').glob(f'nepa_vit-{arch}-*-linear{last}.py')
        cfg = Config.fromfile(path)
        scope('mmpretrain')
        assert cfg.model.backbone.causal and cfg.model.backbone.out_type == ('last_token' if last else 'avg_featmap')
        cfg.model.backbone.init_cfg = None
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name.split('.')[0] for name in trained} == {'head'}


@pytest.mark.parametrize('path', [path for path in CONFIGS if path.parent.name == 'segmentation'], ids=lambda path: path.stem)
def test_a_segmentation_config_says_its_crop_once(path):
    cfg = Config.fromfile(path)
    preprocessor = cfg.model.data_preprocessor
    assert cfg.get('data_preprocessor', preprocessor) == preprocessor  # which mmseg's visualization_cam reads
    assert cfg.crop_size == preprocessor.size == cfg.model.test_cfg.crop_size


@pytest.mark.parametrize('arch', ['base', 'large'])
def test_segmentation_recipe(arch):
    cfg = Config.fromfile(ROOT / f'configs/segmentation/nepa_vit-{arch}-p14_upernet_8xb2-amp-160k_ade20k-512x512.py')
    assert cfg.optim_wrapper.type == 'nepa_mm.Bf16OptimWrapper' and cfg.optim_wrapper.optimizer.lr == 1e-4
    assert cfg.optim_wrapper.paramwise_cfg == dict(layer_decay_rate=0.65)
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
    assert cfg.model.backbone.causal is False and cfg.model.decode_head.num_classes == 150


@pytest.mark.parametrize('data', ['voc12aug', 'cityscapes', 'camvid'])
def test_other_data_change_what_the_data_ask_for(data):
    """Beside the data set: classes, the label that is none, crop, batch and length; nothing of the model or the optimizer."""
    ade = Config.fromfile(ROOT / 'configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py')
    path, = (ROOT / 'configs/segmentation').glob(f'nepa_vit-base-*_{data}-*.py')
    cfg = Config.fromfile(path)
    changed = dict(
        voc12aug={'decode_head.num_classes': 21, 'auxiliary_head.num_classes': 21},
        cityscapes={
            'decode_head.num_classes': 19, 'auxiliary_head.num_classes': 19, 'data_preprocessor.size': (512, 1024),
            'backbone.img_size': (512, 1024), 'test_cfg.crop_size': (512, 1024), 'test_cfg.stride': (341, 682)},
        camvid={
            'decode_head.num_classes': 11, 'auxiliary_head.num_classes': 11, 'data_preprocessor.seg_pad_val': 11,
            'decode_head.ignore_index': 11, 'auxiliary_head.ignore_index': 11})[data]
    ade.merge_from_dict({f'model.{key}': value for key, value in changed.items()})
    assert cfg.model.to_dict() == ade.model.to_dict() and cfg.optim_wrapper == ade.optim_wrapper
    for key in ('tta_model', 'env_cfg', 'custom_hooks', 'randomness'):
        assert cfg.get(key) == ade.get(key)
    height, width = cfg.crop_size
    assert path.stem.endswith(f'{height}x{width}') and cfg.model.data_preprocessor.size == cfg.crop_size


@pytest.mark.parametrize('arch', ['base', 'large'])
def test_a_multi_scale_config_changes_the_test_alone(arch):
    name = f'configs/segmentation/nepa_vit-{arch}-p14_upernet_8xb2-amp-160k_ade20k-512x512'
    single, multi = (Config.fromfile(ROOT / f'{name}{suffix}.py') for suffix in ('', '-ms'))
    single.test_dataloader.dataset.pipeline = single.tta_pipeline
    assert single.to_dict() == multi.to_dict()
    sizes, flips, *_ = multi.test_dataloader.dataset.pipeline[-1].transforms
    resize = multi.val_dataloader.dataset.pipeline[1]
    assert [size.scale for size in sizes] == [
        tuple(int(side * ratio) for side in resize.scale) for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)]
    assert [flip.prob for flip in flips] == [0., 1.]


def test_links_of_the_pages_resolve():
    for page in (ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')):
        for link in re.findall(r'\]\((?!http)([^)#]+)(?:#[^)]*)?\)', page.read_text()):
            assert (page.parent / link).exists(), f'{page.name}: {link}'
    for path in CONFIGS:
        for page in re.findall(r'docs/[\w./]+\.md', path.read_text()):
            assert (ROOT / page).is_file(), f'{path.name}: {page}'


def test_runtimes_differ_in_what_their_tasks_do():
    """Those that count iterations are alike, but for the scope, what looks at labels and draws, and the interval of saving."""
    ours, theirs = (Config.fromfile(ROOT / f'configs/_base_/{task}_runtime.py').to_dict()
                    for task in ('segmentation', 'detection'))
    hooks, others = ours.pop('default_hooks'), theirs.pop('default_hooks')
    assert hooks.keys() - others.keys() == {'check_seg_inputs', 'check_datasets', 'report'} and not others.keys() - hooks.keys()
    assert {name for name in others if others[name] != hooks[name]} == {'checkpoint', 'visualization'}
    assert ours.keys() - theirs.keys() == {'tta_model'} and theirs.keys() - ours.keys() == {'custom_imports'}
    assert {name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name]} == {'default_scope', 'visualizer'}
