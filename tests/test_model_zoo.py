"""Metafiles, READMEs and configs say the same; mmpretrain and a built wheel find the models."""
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import forks
import pytest
import yaml
from mmengine.config import Config
from modelindex.load_model_index import load

from tiny import ROOT, counts

TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/write_model_zoo.py'))
METAFILES = sorted((ROOT / 'configs').glob('*/metafile.yml'))
INDEX = {path: yaml.safe_load(path.read_text()) for path in METAFILES}
MODELS = [model for index in INDEX.values() for model in index['Models']]
KNOWN = {}  # costs of models, which configs of several folders have
MADE_BY_OTHERS = [model for model in MODELS if 'Weights' in model]


def test_every_config_is_in_the_metafile_of_its_folder():
    configs = {str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/*.py') if path.parent.name != '_base_'}
    ours = [model for model in MODELS if model not in MADE_BY_OTHERS]
    assert Counter(model['Config'] for model in ours) == Counter(configs)
    for path, index in INDEX.items():
        assert all((ROOT / model['Config']).parent == path.parent for model in index['Models'])
    for model in ours:
        assert model['Name'] == Path(model['Config']).stem
    for model in MADE_BY_OTHERS:
        assert '3rdparty' in model['Name'] and model['Config'] in configs
        assert model['Weights'].removeprefix('hf:') == model['Converted From']['Weights'].removeprefix('https://huggingface.co/')


def test_the_index_is_valid():
    index = load(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    models, names = list(index.models), {model['Name'] for model in MODELS}  # its own list has one iterator for all
    assert len(models) == len(MODELS) == len({name.lower() for name in names})
    collections = Counter(collection.name for collection in index.collections)
    assert set(collections.values()) == {1} and {model['In Collection'] for model in MODELS} == set(collections)
    for model in models:
        assert not model.check_errors, model.name
        assert set(model.data.get('Downstream') or []) <= names, model.name
    for index in INDEX.values():
        assert all((ROOT / collection['README']).is_file() for collection in index['Collections'])


@counts
@pytest.mark.parametrize('path', METAFILES, ids=lambda path: path.parent.name)
def test_what_is_counted(path):
    """Epochs, batch, parameters and multiply-adds are those of the config that is built."""
    for model in INDEX[path]['Models']:
        facts = TOOL['counted'](Config.fromfile(ROOT / model['Config']), KNOWN)
        assert model['Metadata'] == {'Training Data': model['Metadata']['Training Data'], **facts}, model['Name']
    readme = path.with_name('README.md').read_text()
    assert TOOL['TABLE'].search(readme)[0] == TOOL['table'](INDEX[path]['Models'])


def test_multiply_adds_by_hand():
    """Of ViT-B/14 at 224 pixels, as docs/host_tools.md has them, less its norms."""
    tokens, width, patches = 257, 768, 256
    backbone = patches * 588 * width + 12 * 12 * tokens * width**2 + 12 * 2 * tokens**2 * width
    model, = (model for model in MODELS if model['Name'] == 'nepa_vit-base-p14_8xb128-coslr-100e_in1k')
    assert model['Metadata']['FLOPs'] == backbone + width * 1000
    block = 12 * width**2 + 9 * width + 4 * width + 2 * 64 + 2 * width  # matrices and biases, norms, QK-norm, LayerScale
    rest = 589 * width + width + 2 * 2 * width + 769 * 1000  # patches, [CLS], norm and fc_norm, head
    assert model['Metadata']['Parameters'] == 12 * block + rest


@pytest.mark.parametrize('path', [*METAFILES, ROOT / 'CHANGELOG.md', ROOT / 'CONTRIBUTING.md'], ids=lambda path: path.parent.name)
def test_links_resolve(path):
    page = path if path.suffix == '.md' else path.with_name('README.md')
    for link in re.findall(r'\]\((?!http)([^)#]+)(?:#[^)]*)?\)', page.read_text()):
        assert (page.parent / link).exists(), link


def test_results_say_whose_they_are():
    tables = (ROOT / 'docs/tables.md').read_text()
    for model in MODELS:
        for result in model['Results'] or []:
            for metric, value in result['Metrics'].items():
                header = (ROOT / model['Config']).read_text().split('_base_')[0]
                if metric.endswith(('(paper)', '(release)')):  # and it is theirs: test_paper_figures.py
                    source = re.search(r'\((\w+)\)', metric)[1]
                    assert re.search(rf'{source} \d\d\.\d', header), model['Name']
                    assert f'{value}' in header and f'{value}' in tables, model['Name']
                else:
                    assert f'{value}' in (ROOT / model['Log']).read_text() and 'paper' not in metric, model['Name']


HUB = """
import json, sys
{imports}
from mmpretrain.apis.model import ModelHub
known = len(ModelHub._models_dict)
names = mmpretrain.list_models()
host = {{name for name in names if ModelHub._models_dict[name].filepath.startswith(mmpretrain.__path__[0])}}
ours = sorted(set(names) - host)
model = mmpretrain.get_model('NEPA_vit-mini-p4_1xb64-coslr-5e_cifar10-32px', head=dict(num_classes=7))
print(json.dumps(dict(known=known, host=len(host), ours=ours, twice=mmpretrain.list_models() == names,
                      found=mmpretrain.list_models('nepa_vit-base*-paper', task='Image Classification'),
                      config=model._config.filename, classes=model.head.num_classes)))
"""


def run(code, folder, where):
    """The last line that a program printed, which has mmengine imported and finds ``nepa_mm`` in a folder."""
    code = f'import sys; sys.path.insert(0, {str(where)!r})\n{code}'
    return json.loads(forks.run(folder, '-c', code, imported='hosts').strip().splitlines()[-1])


@pytest.mark.parametrize('imports', ['import nepa_mm, mmpretrain', 'import mmpretrain, nepa_mm'])
def test_mmpretrain_finds_the_models(imports, tmp_path):
    seen = run(HUB.format(imports=imports), tmp_path, ROOT)
    # Nothing is read before somebody asks, and everything of the host's is still there.
    host = load(str(Path(find_spec('mmpretrain').origin).parent / '.mim/model-index.yml'))
    assert seen['known'] == 0 and seen['host'] == len(host.models) and seen['twice']
    folders = ('pretrain', 'classification', 'ablation')
    assert seen['ours'] == sorted(model['Name'] for model in MODELS if Path(model['Config']).parent.name in folders)
    assert set(seen['found']) == {model['Name'] for model in MODELS if re.match('nepa_vit-base.*8xb128.*-paper', model['Name'])}
    assert seen['config'].endswith('.mim/configs/classification/nepa_vit-mini-p4_1xb64-coslr-5e_cifar10-32px.py')
    assert seen['classes'] == 7


def test_importing_nepa_mm_imports_no_mmpretrain(tmp_path):
    code = 'import json, sys, nepa_mm; print(json.dumps([name for name in ("mmpretrain", "modelindex") if name in sys.modules]))'
    assert run(code, tmp_path, ROOT) == []


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A folder that the wheel, built from a copy of the repository, is installed into."""
    if find_spec('setuptools') is None or int(version('setuptools').split('.')[0]) < 77:
        pytest.skip('needs setuptools >= 77 to build with')
    folder = tmp_path_factory.mktemp('wheel')
    for name in ('nepa_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, folder / 'repository' / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, folder / 'repository')
    pip = [sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check']
    for command in (['wheel', '--no-build-isolation', '--no-deps', '-w', folder, folder / 'repository'],
                    ['install', '--no-deps', '--no-index', '--target', folder / 'site', '--find-links', folder, 'nepa_mm']):
        done = subprocess.run([*pip, *command], cwd=folder, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / 'repository')
    return folder / 'site'


def test_the_wheel_has_configs_and_tools(site):
    mim = site / 'nepa_mm/.mim'
    for folder in ('configs', 'tools'):
        shipped = {path.relative_to(mim) for path in (mim / folder).rglob('*') if path.is_file() and path.suffix != '.pyc'}
        here = {path.relative_to(ROOT) for path in (ROOT / folder).rglob('*') if path.is_file() and path.suffix != '.pyc'}
        assert shipped == here and not any(path.is_symlink() for path in mim.rglob('*'))
    assert (mim / 'model-index.yml').read_bytes() == (ROOT / 'model-index.yml').read_bytes()
    assert sum(path.stat().st_size for path in site.rglob('*') if path.is_file() and path.suffix != '.pyc') < 3e6  # no data


def test_the_wheel_is_found_by_mmpretrain_and_trains(site, tmp_path):
    seen = run(HUB.format(imports='import nepa_mm, mmpretrain'), tmp_path, site)
    assert seen['config'].startswith(str(site)) and len(seen['ours']) > 40
    draw = [site / 'nepa_mm/.mim/tools/demo/draw_shapes.py', 'data/shapes', '--train', '2', '--val', '1', '--seg-train', '1',
            '--seg-val', '1']
    # What `mim train mmpretrain CONFIG` runs: the host's own tool
    tool = Path(find_spec('mmpretrain').origin).parent / '.mim/tools/train.py'
    if not tool.is_file():
        pytest.skip('mmpretrain is installed without its tools')
    config = site / 'nepa_mm/.mim/configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py'
    train = [tool, config, '--work-dir', 'out', '--cfg-options', 'train_cfg.max_epochs=1', 'param_scheduler.end=2',
             'param_scheduler.warmup=1', 'train_dataloader.batch_size=8', 'auto_scale_lr.base_batch_size=8',
             'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'default_hooks.checkpoint.interval=1']
    for command in (draw, train):
        done = subprocess.run([sys.executable, '-W', 'ignore', *command], cwd=tmp_path, text=True, capture_output=True,
                              env={**os.environ, 'PYTHONPATH': str(site)})
        assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'out/epoch_1.pth').is_file()
