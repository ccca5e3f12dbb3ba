import configparser
import re
import sys

import pytest

from nepa_mm.doctor import installed
from nepa_mm.doctor.finding import release
from tiny import ROOT

CPU = '--index-url https://download.pytorch.org/whl/cpu'


def test_versions_are_compared_by_their_numbers():
    assert release('2.12.1+cu130') == (2, 12, 1) and release('2.0.0rc4') == (2, 0, 0) and release('0.10') > release('0.9.3')


def test_what_is_asked_is_what_setup_cfg_asks():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    asked = dict(re.findall(r'^(\w+)>=([\d.]+)$', config['options']['install_requires'], re.MULTILINE))
    assert asked == installed.LEAST
    assert config['options']['python_requires'] == '>={}.{}'.format(*installed.PYTHONS[0])
    assert 'Programming Language :: Python :: {}.{}'.format(*installed.PYTHONS[1]) in config['metadata']['classifiers']


@pytest.mark.parametrize('requires, torch, torchvision, status, fix', [
    (['numpy', 'torch (==2.12.1)'], '2.12.1+cu130', '0.27.1+cu130', 'ok', ''),
    (['torch==2.12.1'], '2.12.1', '0.27.1+cu130', 'ok', ''),
    (['torch==2.12.1'], '2.13.0+cpu', '0.27.1+cu130', 'problem', f"'torchvision==0.28.*' {CPU}"),
    (['torch==2.12.1'], '2.12.1+cpu', '0.27.1+cu130', 'problem', f"'torchvision==0.27.*' {CPU}"),
    (['torch'], '2.12.0a0', '0.27.0a0', 'ok', ''),  # built by oneself
])
def test_torchvision_is_of_its_torch(requires, torch, torchvision, status, fix, monkeypatch):
    monkeypatch.setattr(installed, 'required', lambda _: requires)
    found = installed.torchvision_fits(torch, torchvision)
    assert found.status == status and found.fix.endswith(fix) and bool(found.fix) == bool(fix)


def test_bounds_of_hosts_are_read_without_importing_them(tmp_path, monkeypatch):
    for name, text in dict(new_host="mmcv_minimum_version = '2.0.0'\nmmcv_maximum_version = '2.4.0'",
                           old_host="MMCV_MIN, x = 1, 2\nMMCV_MIN = '2.0.0rc4'\nMMCV_MAX = '2.2.0'\nMMENGINE_MIN = '0.5.0'",
                           free_host='').items():
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text(f'{text}\n1 / 0\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert installed.asserted('new_host') == dict(mmcv=dict(min='2.0.0', max='2.4.0'))
    bounds = installed.asserted('old_host')
    assert bounds == dict(mmcv=dict(min='2.0.0rc4', max='2.2.0'), mmengine=dict(min='0.5.0'))
    assert installed.asserted('free_host') == installed.asserted('no_host') == {}
    assert not {'new_host', 'old_host', 'free_host'} & set(sys.modules)
    status = {has: installed.range_fits('old_host', 'mmcv', has, bounds['mmcv']) for has in ('1.7.2', '2.0.0', '2.1.9', '2.2.0')}
    assert [each.status for each in status.values()] == ['problem', 'ok', 'ok', 'problem']
    assert "mmcv>=2.0.0rc4,<2.2.0'" in status['2.2.0'].fix
    assert status['2.2.0'].found == 'mmcv 2.2.0; old_host asserts >=2.0.0rc4,<2.2.0'


@pytest.mark.parametrize('there, command', [
    ({}, "pip install 'onedl-mmcv<2.2.0'"),
    ({'onedl-mmengine': '0.10.12', 'mmsegmentation': '1.2.2'}, "pip install 'onedl-mmcv<2.2.0'"),
    ({'mmengine': '0.10.7'}, "pip install -U openmim && mim install 'mmcv<2.2.0'"),
])
def test_commands_are_of_the_generation_that_is_there(there, command, monkeypatch):
    def version(name):
        if name not in there:
            raise installed.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(installed, 'version', version)
    assert installed.install_command('mmcv', '<2.2.0') == command
    assert installed.install_command('timm') == 'pip install timm'


@pytest.mark.parametrize('transformers, status', [('4.57.6', 'ok'), ('5.0.0', 'warning'), ('5.24.0', 'warning')])
def test_transformers_that_multimodal_models_do_not_fit_are_named_with_pycocotools(transformers, status, monkeypatch):
    there = dict(transformers=transformers, pycocotools='2.0.11')
    monkeypatch.setattr(installed, 'distributions', lambda name: {name: there[name]} if name in there else {})
    found = {each.name: each for each in installed.fits(dict(mmpretrain='1.3.6'))}['transformers for mmpretrain']
    assert found.status == status and f'transformers {transformers}, pycocotools 2.0.11' in found.found
    del there['pycocotools']
    assert 'transformers for mmpretrain' not in {each.name for each in installed.fits(dict(mmpretrain='1.3.6'))}
