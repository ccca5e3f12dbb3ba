"""What the hosts say and import where ``nepa_mm`` was there first."""
import ast
import importlib.util
import os
import subprocess
import sys

import forks
import numpy as np
import pytest

from tiny import ROOT

SAYS_NOTHING = 'import nepa_mm.models, nepa_mm.datasets, nepa_mm.engine, mmseg.datasets, mmpretrain.datasets, mmseg.models\n'
# As mmpretrain's multimodal models meet transformers 5
TRANSFORMERS = '''
def __getattr__(name):
    if name == 'AutoConfig':
        raise TypeError('NoneType takes no arguments')
    raise AttributeError(name)
'''
MULTIMODAL = '''
import mmpretrain.datasets, mmpretrain.models, sys
from mmpretrain.registry import MODELS
from types import ModuleType
from unittest.mock import MagicMock
from nepa_mm.errors import ConfigError

assert mmpretrain.datasets.COCOCaption and not hasattr(mmpretrain.models, 'Blop')
caption = dict(type='BlipCaption')
for ask in (lambda: MODELS.build(caption), lambda: mmpretrain.models.OFA, lambda: MODELS.build(dict(type='OFA'))):
    try:
        ask()
    except ConfigError as error:
        print(error.line)

# A release that they fit
package = 'mmpretrain.models.'
for name in ('utils.huggingface', 'utils.tokenizer'):
    sys.modules[package + name] = MagicMock()
for name in ('blip', 'blip2', 'chinese_clip', 'clip', 'flamingo', 'llava', 'minigpt4', 'ofa', 'otter', 'ram'):
    sys.modules[f'{package}multimodal.{name}'] = module = ModuleType(name)
class BlipCaption:
    pass
def register(name):
    if name != 'BlipCaption':
        raise AttributeError(name)
    blip.BlipCaption = MODELS.register_module()(BlipCaption)
    return BlipCaption
blip = sys.modules[package + 'multimodal.blip']
blip.__all__, blip.__getattr__ = ['BlipCaption'], register  # as it is imported
before = mmpretrain.models.ImageClassifier
assert type(MODELS.build(caption)) is mmpretrain.models.BlipCaption is BlipCaption
assert mmpretrain.models.ImageClassifier is before is MODELS.get('ImageClassifier') and MODELS.get('OFA') is None
'''


def run(code, *path):
    return forks.run(ROOT, '-c', f'import sys; sys.path[:0] = {[str(each) for each in path]}\n{code}', imported='hosts')


def test_the_hosts_say_nothing_and_leave_multimodal_models_until_they_are_asked_for(tmp_path):
    pytest.importorskip('mmseg')
    for name, version, files in (('transformers', '5.24.0', {'__init__': TRANSFORMERS}),
                                 ('pycocotools', '2.0.11', {'__init__': '', 'coco': 'COCO = None'})):
        (tmp_path / name).mkdir()
        for module, text in files.items():
            (tmp_path / name / f'{module}.py').write_text(text)
        metadata = tmp_path / f'{name}-{version}.dist-info/METADATA'
        metadata.parent.mkdir()
        metadata.write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    line = ("mmpretrain's multimodal models cannot be imported: TypeError: NoneType takes no arguments | "
            "transformers, pycocotools | install 'transformers<5', in an environment of their own\n")
    assert run(SAYS_NOTHING + MULTIMODAL, tmp_path) == 3 * line


@pytest.mark.parametrize('first, seen', [('', 'False'), ('import nepa_mm.ops\n', 'True')])
def test_mmdet_is_left_out_as_long_as_mmcv_has_no_operators(first, seen, tmp_path):
    (tmp_path / 'mmdet').mkdir()
    (tmp_path / 'mmdet/__init__.py').write_text('raise ImportError("no operators")')
    find = "import sys\nseen = []\nclass See:\n    def find_spec(self, name, *_):\n        seen.append(name)\n"
    code = f"{find}sys.meta_path.insert(0, See())\n{first}import nepa_mm, mmpretrain.models.utils\nprint('mmdet' in seen)"
    if not first and (spec := importlib.util.find_spec('mmcv._ext')) and not spec.origin.endswith('extension.py'):
        pytest.skip('this mmcv has operators')
    assert run(code, tmp_path).splitlines()[-1] == seen


FORMATTED = '''
import nepa_mm
from mmengine.config import Config
from yapf.yapflib import yapf_api

made, format_tree = [], yapf_api.FormatTree
yapf_api.FormatTree = lambda *args, **options: made.append(1) or format_tree(*args, **options)
print([Config(dict(model=dict(a=[1, 2], b=number))).pretty_text for number in (1, 1, 2, 1)], len(made))
'''


def test_a_config_is_formatted_once_however_often_it_is_asked_for():
    texts = [f"model = dict(\n    a=[\n        1,\n        2,\n    ], b={number})\n" for number in (1, 1, 2, 1)]
    printed = subprocess.run([sys.executable, '-c', FORMATTED], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == f'{texts} 3\n'  # the last is kept alone


def test_names_in_mmseg_s_pictures_stand_where_it_puts_them():
    find = pytest.importorskip('mmseg.visualization').SegLocalVisualizer._get_center_loc
    random = np.random.default_rng(0)
    for height, width, share in ((1, 1, 1), (7, 5, 0.2), (5, 9, 0.5), (40, 30, 0.9), (3, 200, 0.01)):
        mask = (random.random((height, width)) < share).astype(np.uint8)
        mask[-1, -1] = 1
        place = find(None, mask)
        assert place.dtype == int and (place == find.__wrapped__(None, mask)).all()


GUARDED = '''
import importlib.util, sys
import nepa_mm
assert not {'torch', 'mmengine', 'numpy'} & set(sys.modules)
importlib.util.find_spec('mmengine.runner')  # which asks, and imports nothing of it
assert 'nepa_mm.checkpoints' not in sys.modules
import tarfile
from mmengine.fileio.handlers import file_handlers
from mmengine.runner.checkpoint import CheckpointLoader
print(CheckpointLoader._get_checkpoint_loader('a.pth').__module__, type(file_handlers['yaml']).__module__,
      getattr(tarfile.TarFile, 'extraction_filter', None).__module__)
'''


@pytest.mark.parametrize('arguments', [['script.py'], ['script.py', '-m', 'nepa_mm.doctor'], ['-m', 'script', 'nepa_mm.doctor']])
def test_guards_come_with_what_they_guard_whatever_the_arguments(arguments, tmp_path):
    (tmp_path / 'script.py').write_text(GUARDED)
    done = subprocess.run([sys.executable, '-W', 'ignore', *arguments], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.stdout == 'nepa_mm.checkpoints.addresses nepa_mm.hosts.data_files nepa_mm.hosts.archives\n', done.stderr


def test_tools_import_the_package_before_the_hosts_that_it_quietens():
    for path in ROOT.glob('tools/**/*.py'):
        imported = [name.split('.')[0] for node in ast.parse(path.read_text()).body
                    for name in ([node.module] if isinstance(node, ast.ImportFrom) else
                                 [each.name for each in node.names] if isinstance(node, ast.Import) else [])]
        hosts = {'mmcv', 'mmpretrain', 'mmseg'} & set(imported)
        assert not hosts or 'nepa_mm' in imported[:min(map(imported.index, hosts))], path
