"""A folder for projects/ of mmpretrain or mmsegmentation: its configs are ours, and build where the host alone was imported."""
import re
import subprocess
import sys

import pytest
import yaml
from forks import done as ended
from forks import run
from mmengine.config import Config

from tiny import ROOT

BUILD = """
import sys, torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
for path in sys.argv[1:]:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None  # weights are downloaded
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    print(type(model).__name__, model.backbone.embed_dims, model.backbone.causal)
"""


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp('projects')
    for host in ('mmpretrain', 'mmsegmentation'):
        run(place, ROOT / 'tools/misc/make_project.py', host, place / host, '--source', 'a/wheel.whl')
    return place


@pytest.mark.parametrize('host, least', [('mmpretrain', 12), ('mmsegmentation', 2)])
def test_configs_say_what_ours_say_and_the_page_names_them_all(folders, host, least):
    folder = folders / host
    paths, readme = sorted(folder.glob('configs/*.py')), (folder / 'README.md').read_text()
    assert len(paths) >= least and (folder / 'requirements.txt').read_text() == 'a/wheel.whl\n'
    index = yaml.safe_load((folder / 'metafile.yml').read_text())
    assert sorted(model['Config'] for model in index['Models']) == [f'configs/{path.name}' for path in paths]
    assert {model['In Collection'] for model in index['Models']} == {each['Name'] for each in index['Collections']}
    for path in paths:
        theirs, = ROOT.glob(f'configs/*/{path.name}')
        ours = Config.fromfile(path).to_dict()
        assert repr(ours) == repr(Config.fromfile(theirs).to_dict()) and '_base_' not in path.read_text()
        assert f'| [{path.stem}](configs/{path.name}) |' in readme and str(ROOT) not in path.read_text()
    links = re.findall(r'\]\((?!https?:)([^)]*)\)', readme)
    assert all((folder / link).is_file() for link in [*links, *re.findall(r'configs/\S+\.py', readme)])
    assert 'Milestone 1' in readme and f'mim train {host} configs/nepa_vit-base' in readme


def started(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def test_they_build_by_the_host_alone(folders):
    configs = folders / 'mmpretrain/configs'
    done = ended('-c', BUILD, configs / 'nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py',
                 configs / 'nepa_vit-large-p14_8xb128-coslr-50e_in1k.py', folder=folders, imported='hosts')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ['NEPA 768 True', 'ImageClassifier 1024 False']


def test_nothing_is_written_over(tmp_path):
    (tmp_path / 'README.md').write_text('mine')
    done = started(ROOT / 'tools/misc/make_project.py', 'mmpretrain', tmp_path)
    assert done.returncode == 2 and 'it exists and would be written over' in done.stderr
