"""Every command of README, docs and the model zoo: run here on tiny data, or by another test, or marked by what it needs."""
import json
import re
import runpy
import shutil
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from document_commands import Block, Command, blocks_of, inline_commands
from forks import done
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from PIL import Image
from safetensors.torch import save_file

from nepa_mm import NEPA, NEPAViT
from nepa_mm.checkpoints import released_state_dict
from tiny import ROOT, TINY, randomize

PAGES = [ROOT / 'README.md', *sorted(ROOT.glob('docs/*.md')), *sorted(ROOT.glob('configs/*/README.md'))]
BLOCKS = [block for page in PAGES for block in blocks_of(ROOT, page)]
# What other tests run, because it takes data, time or peers of its own. Hosts' tools go by their names.
ELSEWHERE = {
    'tools/analysis_tools/benchmark.py': 'test_benchmark.py',
    'tools/analysis_tools/benchmark_inference.py': 'test_benchmark_inference.py',
    'tools/analysis_tools/benchmark_loader.py': 'test_benchmark_loader.py',
    'tools/analysis_tools/benchmark_slide.py': 'test_benchmark_slide.py',
    'tools/analysis_tools/benchmark_startup.py': 'test_benchmark_startup.py',
    'tools/analysis_tools/compare_curves.py': 'test_benchmark_loader.py',
    'tools/analysis_tools/dry_run.py': 'test_dry_run.py',
    'tools/analysis_tools/measure_large_images.py': 'test_measure_large_images.py',
    'tools/analysis_tools/measure_segmentation.py': 'test_measure_segmentation.py',
    'tools/analysis_tools/run_ablations.py': 'test_run_ablations.py',
    'tools/dataset_converters/pack_images.py': 'test_pack_images.py',
    'tools/misc/verify_dataset.py': 'test_verify_dataset.py',
    'tools/model_converters/vit_timm_to_mm.py': 'test_checkpoints/test_fitting/test_timm_keys.py',
    'demo': 'test_tools.py',  # of make; its recipe is tools/demo/run_demo.py
}
MAKE = {'demo': 'tools/demo/run_demo.py', 'test': '$(PYTEST)', 'test-all': '$(PYTEST)', 'docs': '-m sphinx', 'lint': '-m ruff'}
# What stands for something else in the documents
PLACEHOLDERS = {
    'CHECKPOINT': 'tiny.pth', 'CONFIG': 'tiny.py', 'MODEL': 'tiny.pth', 'INPUT...': 'photos', 'IMAGE...': 'photos'}
FEW = ['train_dataloader.num_workers=0', 'train_dataloader.dataset.indices=8', 'train_dataloader.batch_size=8',
       'auto_scale_lr.base_batch_size=8']
# What ends a command that this environment has not all for
ABSENT = re.compile('needs onnx.*not installed here.*|torch 2.4.* cannot write what it exports as ONNX')
# Options that make a training of the documents short, by a part of its config's name
SHORT = {
    'mini-p8_1xb64-coslr-18e': [*FEW, 'custom_hooks.1.images=1'],
    'mini-p8_1xb32-coslr-10e': [*FEW, 'val_dataloader.num_workers=0'],
    'mini-p8_upernet_1xb8-300i': [
        'train_dataloader.num_workers=0', 'train_dataloader.batch_size=2', 'val_dataloader.num_workers=0',
        'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2',
        'param_scheduler.0.end=1', 'param_scheduler.1.begin=1', 'param_scheduler.1.end=2'],
}
HUB = 'SixAILab/nepa-base-patch14-224'
SIZES = dict(
    model_type='vit_nepa', hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=28,
    patch_size=7, qk_norm=True)
# 12 blocks, as ViT-B has them: the documents look into the sixth and the last
DEEP = dict(arch=dict(embed_dims=16, num_layers=12, num_heads=2, feedforward_channels=32), img_size=70, patch_size=7)


@pytest.fixture
def work(block, stand_ins):
    """For each page a copy of its own."""
    folder = stand_ins.with_name(block.page.replace('/', '_'))
    if not folder.exists():
        shutil.copytree(stand_ins, folder, symlinks=True)
    return folder


@pytest.fixture(scope='module')
def stand_ins(tmp_path_factory):
    """A folder like the repository's, with stand-ins for all files that the documents name."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('documents') / 'stand_ins'
    folder.mkdir()
    for name in ('tools', 'configs'):
        (folder / name).symlink_to(ROOT / name)
    (folder / 'photos').mkdir()
    for i, name in enumerate(('dog.jpg', 'cat.jpg', 'photos/0.jpg', 'photos/1.jpg', 'photos/2.jpg')):
        Image.fromarray(np.random.default_rng(i).integers(256, size=(80, 90, 3), dtype='u1')).save(folder / name)
    publish(folder / HUB, NEPA(NEPAViT(**TINY)))
    publish(folder / f'{HUB}-sft', classifier(), is_causal=False, qk_norm_affine=True, add_pooling_layer=True,
            id2label={'0': 'tench', '1': 'goldfish'})
    # Of trainings: the average as state_dict, the raw weights beside it
    for name, sizes in (('work_dirs/…/epoch_100', TINY), ('work_dirs/pretrain/epoch_1600', DEEP), ('epoch_100', DEEP),
                        ('epoch_800', DEEP), ('epoch_1600', DEEP)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        backbone = dict(type='nepa_mm.NEPAViT', **sizes)
        average, raw = (randomize(NEPA(NEPAViT(**sizes)), 0.1).state_dict() for _ in range(2))
        raw = {f'module.{key}': value for key, value in raw.items()}
        torch.save(dict(state_dict=average, ema_state_dict=dict(raw, steps=torch.tensor(1)),
                        meta=dict(cfg=Config(dict(model=dict(type='nepa_mm.NEPA', backbone=backbone))).pretty_text)),
                   folder / f'{name}.pth')
    backbone = dict(type='nepa_mm.NEPAViT', **TINY, causal=False, qk_norm='affine')
    steps = [dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=28), dict(type='PackInputs')]
    config = Config(dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier', backbone=dict(backbone, out_type='avg_featmap'),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=16, loss=dict(type='CrossEntropyLoss'))),
        test_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=steps))))
    config.dump(folder / 'tiny.py')
    torch.save(dict(state_dict=classifier().state_dict(), meta=dict(cfg=config.pretty_text)), folder / 'tiny.pth')
    for name in ('WORK_DIR', 'OTHER_WORK_DIR'):
        log = folder / name / 'start/vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(''.join(json.dumps(dict(lr=0.1, time=0.5, loss=5. - i, iter=i, step=i)) + '\n' for i in range(1, 9)))
    save_segmentor(folder / 'segmentor.pth', dict(backbone, out_type='padded_featmap', out_indices=[2]))
    return folder


def save_segmentor(path: Path, backbone: dict) -> None:
    head = dict(type='FCNHead', in_channels=16, in_index=0, channels=8, num_convs=1, concat_input=False, num_classes=3)
    model = dict(type='nepa_mm.PaddedEncoderDecoder', backbone=backbone, decode_head=head, train_cfg=dict(),
                 test_cfg=dict(mode='whole'), data_preprocessor=dict(type='SegDataPreProcessor'))
    steps = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    config = Config(dict(default_scope='mmseg', model=model,
                         test_dataloader=dict(dataset=dict(type='BaseSegDataset', pipeline=steps))))
    with DefaultScope.overwrite_default_scope('mmseg'):
        weights = randomize(MODELS.build(config.model), 0.1).state_dict()
    torch.save(dict(state_dict=weights, meta=dict(cfg=config.pretty_text)), path)


def classifier() -> ImageClassifier:
    backbone = NEPAViT(**TINY, causal=False, qk_norm='affine', out_type='avg_featmap')
    head = LinearClsHead(2, 16, loss=dict(type='mmpretrain.CrossEntropyLoss'))
    return randomize(ImageClassifier(backbone, head=head, data_preprocessor=ClsDataPreprocessor()), 0.1)


def publish(folder: Path, model: torch.nn.Module, **config) -> None:
    """As the authors' release has it."""
    folder.mkdir(parents=True)
    weights = released_state_dict(randomize(model, 0.1).state_dict())
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / 'model.safetensors')
    (folder / 'config.json').write_text(json.dumps({**SIZES, **config}))


def name_of(command: Command) -> str:
    """A script, or the target of make."""
    return command.script or (command.argv[1] if command.argv[0] == 'make' else command.argv[0])


def elsewhere(command: Command) -> str | None:
    """The test that runs a command."""
    return ELSEWHERE.get(name_of(command))


@pytest.mark.parametrize('block', [block for block in BLOCKS if not block.needs], ids=str)
def test_commands_run(block: Block, work):
    """In order, in one folder, as a reader would; those of a page use what those above have made."""
    for command in block.commands(work):
        if command.argv[0] == 'make' or elsewhere(command):
            continue
        assert command.argv[0] == 'python', f'{command}: this test runs no such thing; mark the block by <!-- needs: ... -->'
        segmentor = dict.fromkeys(('CHECKPOINT', 'MODEL'), 'segmentor.pth')
        names = {**PLACEHOLDERS, **segmentor} if 'segment_images' in command.argv[1] else PLACEHOLDERS
        arguments = [names.get(word, word) for word in command.argv[1:]]
        if command.script == 'tools/demo/draw_shapes.py':
            arguments += ['--train', '10', '--val', '2', '--seg-train', '10', '--seg-val', '3']
        if command.script == 'tools/train.py':
            arguments += ['--cfg-options', *next(options for name, options in SHORT.items() if name in command.argv[2])]
        made_before = files(work)
        ended = done(*arguments, folder=work, env=command.env)
        code, printed = ended.returncode, ended.stdout + ended.stderr
        if code and (absent := ABSENT.search(printed)):
            pytest.skip(absent[0])
        assert code == 0, f'{command}\n{printed[-3000:]}'
        assert 'Traceback' not in printed
        # Something to see: a line, or a file
        assert printed.strip() or files(work) - made_before, command
        for path in work.glob('work_dirs/*/iter_2.pth'):  # where a whole training leaves its last
            shutil.copy(path, path.with_name('iter_300.pth'))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob('*') }


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_right(page: Path, tmp_path):
    """What can be told of all commands without running them: scripts, configs, options and keys are there."""
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    commands = [command for block in blocks_of(ROOT, page) for command in block.commands(tmp_path)]
    for command in [*commands, *inline_commands(ROOT, page)]:
        if command.argv[0] == 'make':
            recipe = re.search(rf'^{command.argv[1]}:.*\n((?:\t.*\n)+)', (ROOT / 'Makefile').read_text(), re.M)
            assert recipe and MAKE[command.argv[1]] in recipe[1], command
        elif command.argv[0] == 'pip':
            for extra in re.findall(r'\.\[(.*)\]', ' '.join(command.argv)):
                assert re.search(rf'^{extra} =$', (ROOT / 'setup.cfg').read_text(), re.M), command
        elif command.script:
            check_script(command, tmp_path)


def check_script(command: Command, folder: Path) -> None:
    """The script is there and takes the arguments, configs are there and have the keys."""
    script, arguments = command.argv[1], command.argv[2:]
    assert (ROOT / script).is_file(), command
    text = (ROOT / script).read_text()
    if script.endswith('.sh'):
        if 'train.py' not in text and 'test.py' not in text:  # it reads its own options
            assert all(f'{word})' in text or f'{word}|' in text for word in arguments if word.startswith('--')), command
            return
        tool = 'tools/train.py' if 'train.py' in text else 'tools/test.py'
        count = len(re.findall(r'^[A-Z_]+=\$\d$', text, re.M))  # CONFIG=$1, ...
        places = dict(re.findall(r'^([A-Z_]+)=\$(\d)$', text, re.M))
        assert len(arguments) >= count, command
        assert 'GPUS' not in places or arguments[int(places['GPUS']) - 1].isdigit(), command
        own = [arguments[int(places[name]) - 1] for name in ('CONFIG', 'CHECKPOINT') if name in places]
        script, arguments = tool, own + arguments[count:]
        if 'dist_run.py' in text:  # the launcher's own
            _, arguments = runpy.run_path(str(ROOT / 'tools/dist_run.py'))['taken_out'](arguments)
    ended = done(script, *arguments, folder=folder, env=command.env, only_parse=True)
    code, printed = ended.returncode, ended.stdout + ended.stderr
    if 'site-packages' in script and re.search(r'^(ModuleNotFound|Import)Error: ', printed, re.M):
        return  # a host's tool that asks for a package which the tests do without
    assert code == 0, f'{command}\n{printed[-2000:]}'
    configs = [word for word in arguments if re.fullmatch(r'configs/.*\.py', word)]
    for path in configs:
        assert (ROOT / path).is_file(), f'{command}: {path}'
    if configs:
        check_keys(Config.fromfile(ROOT / configs[0]), arguments, command)


def check_keys(config: Config, arguments: list[str], command: Command) -> None:
    """Keys of --cfg-options and --change are in the config, or are arguments of what they are set of."""
    wants = False
    for word in arguments:
        if word.startswith('--'):
            wants = word in ('--cfg-options', '--change')
        elif wants and '=' in word:
            key = word.split('=', 1)[0]
            value, parts = config, key.split('.')
            for i, part in enumerate(parts):
                if not (int(part) < len(value) if isinstance(value, list) else part in value):
                    assert '.'.join(parts[i:]) in ADDED, f'{command}: {key}: the config has no {part}'
                    break
                value = value[int(part)] if isinstance(value, list) else value[part]


# Arguments that documents set and configs leave at their defaults: of mmengine's loops and hooks, of datasets, of windows
ADDED = {'val_interval', 'max_keep_ckpts', 'metainfo.classes', 'mean', 'std', 'windows_at_once'}


def test_other_tests_run_what_is_left_to_them():
    left = {name_of(command) for block in BLOCKS if not block.needs for command in block.commands(ROOT / 'tests')
            if elsewhere(command)}
    assert left == set(ELSEWHERE)  # none is listed in vain
    for name, test in ELSEWHERE.items():
        assert Path(MAKE.get(name, name)).stem in (ROOT / 'tests' / test).read_text(), f'{test} does not run {name}'


def test_every_tool_stands_once_on_its_page():
    page = (ROOT / 'docs/tools.md').read_text()
    named = Counter(re.findall(r'(?:python|bash) (-m nepa_mm\.\w+|tools/[\w/]+\.\w+)', page))
    own = {'install_chromium.sh', 'draw_figures.py', 'dist_run.py'}  # make, the demo and dist_*.sh call them
    tools = [path for path in (ROOT / 'tools').rglob('*') if path.suffix in ('.py', '.sh') and path.parent.name != 'peers']
    users = {str(path.relative_to(ROOT)) for path in tools if path.name not in own}
    assert named == dict.fromkeys({*users, '-m nepa_mm.doctor'}, 1)
    # Each has its line above it.
    lines = page.splitlines()
    for line, above in zip(lines[1:], lines):
        assert not re.match(r'(GPUS=\d+ )?(python|bash) ', line) or above.startswith('# '), line


@pytest.mark.skipif(find_spec('sphinx') is None, reason='needs Sphinx (make docs, or pip install -e .[docs])')
def test_the_site_is_built_without_warnings(tmp_path):
    from sphinx.cmd.build import main
    assert main(['-q', '-W', '--keep-going', '-c', str(ROOT / 'docs'), str(ROOT), str(tmp_path / 'site')]) == 0
    assert 'url=README.html' in (tmp_path / 'site/index.html').read_text()
    assert 'nepa_mm.models.NEPAViT' in (tmp_path / 'site/docs/api.html').read_text()


def test_every_page_is_in_the_sidebar():
    listed = {page for pages in runpy.run_path(str(ROOT / 'docs/conf.py'))['PAGES'].values() for page in pages}
    there = {path.stem for path in (ROOT / 'docs').glob('*.md')} | {
        f'../{path.relative_to(ROOT).with_suffix("")}' for path in PAGES if path.name == 'README.md' and path.parent != ROOT}
    assert not there - listed
