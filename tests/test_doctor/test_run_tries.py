import os
import shutil
import subprocess
import time
from importlib.util import find_spec

import pytest

from nepa_mm.doctor import run_tries as module
from nepa_mm.doctor.finding import Finding
from nepa_mm.doctor.installed import fits
from nepa_mm.doctor.run_tries import finding, hint, run_try
from nepa_mm.doctor.tries import INSTALLED, TRIES, Try
from tiny import ROOT


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """A folder whose packages come before the real ones in the processes of tries."""
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}:{ROOT}')
    return tmp_path


def test_each_try_comes_after_what_it_needs():
    names = list(TRIES)
    assert all(names.index(need) < names.index(name) for name, each in TRIES.items() for need in each.needs)


def test_an_old_mmcv_before_the_installed_one(fakes):
    (fakes / 'mmcv').mkdir()
    (fakes / 'mmcv/__init__.py').write_text("__version__ = '1.7.2'")
    result = run_try(TRIES['mmcv'], set())
    found = finding(TRIES['mmcv'], result)
    assert found.status == 'warning' and f'1.7.2 from {fakes}/mmcv/__init__.py, and by pip ' in found.found
    assert found.fix.startswith('remove the one that you do not want')
    bad = [each for each in fits(dict(mmcv=result['version'], mmpretrain='1.3.6')) if each.status == 'problem']
    assert [each.name for each in bad] == ['mmcv for mmpretrain'] and 'mmcv 1.7.2; mmpretrain asserts >=2.0.0' in bad[0].found


def test_a_folder_of_the_same_name_is_no_package(fakes):
    (fakes / 'mmcv').mkdir()
    found = finding(TRIES['mmcv'], run_try(TRIES['mmcv'], set()))
    assert found.status in ('ok', 'problem')  # the real one, or, where that is an editable one, the folder
    (fakes / 'timm').mkdir()
    (fakes / 'timm/__init__.py').write_text('import nothing_like_this')
    found = finding(TRIES['timm'], run_try(TRIES['timm'], set()))
    assert (found.status, found.fix) == ('problem', 'pip install nothing_like_this')


def test_operators_that_stand_in_are_named(fakes):
    found = finding(TRIES['mmcv operators'], run_try(TRIES['mmcv operators'], set()))
    assert found.status == 'ok'
    if find_spec('mmcv._ext').origin.endswith('extension.py'):
        assert found.found.startswith('not compiled in this mmcv; in configs that import nepa_mm.ops these stand in: nms, ')


def test_what_hangs_ends_with_all_that_it_started(fakes):
    (fakes / 'timm').mkdir()
    mark = f'{60 + os.getpid() / 1e7:.7f}'
    (fakes / 'timm/__init__.py').write_text(f'import subprocess; print("Too many open files", flush=True); '
                                            f'subprocess.run(["sleep", "{mark}"])')
    each = Try('timm', TRIES['timm'].run, INSTALLED, is_needed=True, timeout=5)
    found = finding(each, run_try(each, set()))
    assert found.status == 'problem' and 'no end within 5 seconds' in found.found and found.fix == 'ulimit -n 65536'
    time.sleep(0.2)
    assert subprocess.run(['pgrep', '-f', f'sleep {mark}'], capture_output=True).returncode == 1


STUB = '''
extern "C" int cuInit(unsigned) {{ return {code}; }}
extern "C" int cuDeviceGetCount(int *count) {{ *count = {count}; return 0; }}
extern "C" int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}
'''


@pytest.mark.skipif(not shutil.which('g++'), reason='no compiler for the driver that is made up')
@pytest.mark.parametrize('code, count, version, status, message', [
    (100, 0, 12040, 'absent', 'no NVIDIA GPU or no driver here'),
    (0, 0, 12040, 'absent', 'no NVIDIA GPU or no driver here'),
    (803, 0, 12040, 'problem', 'the NVIDIA driver fails (cuInit gives 803)'),
    (0, 1, 9020, 'problem', 'CUDA 9.2 at most'),
])
def test_a_gpu_that_torch_cannot_use_is_a_problem(code, count, version, status, message, fakes, monkeypatch):
    import torch
    if torch.cuda.is_available() or torch.version.cuda is None:
        pytest.skip('needs a torch for CUDA without a GPU')
    (fakes / 'stub.cpp').write_text(STUB.format(code=code, count=count, version=version))
    subprocess.run(['g++', '-shared', '-fPIC', fakes / 'stub.cpp', '-o', fakes / 'libcuda.so.1'], check=True)
    monkeypatch.setenv('LD_LIBRARY_PATH', str(fakes))
    found = finding(TRIES['GPU'], run_try(TRIES['GPU'], set()))
    assert found.status == status and message in found.found, found
    assert bool(found.fix) == (status == 'problem')


def test_too_little_shared_memory_is_said_before_it_is_full(fakes):
    (fakes / 'sitecustomize.py').write_text(
        'import shutil, types\nshutil.disk_usage = lambda path: types.SimpleNamespace(free=0.0625 * 2**30)')
    found = finding(TRIES['loader workers'], run_try(TRIES['loader workers'], set()))
    assert found.status == 'problem' and '/dev/shm has 0.06 GiB' in found.found and found.fix.startswith('docker run --shm-size')


@pytest.mark.parametrize('error, fix', [
    ('ImportError: libGL.so.1: cannot open shared object file', 'apt install libgl1'),
    ('RuntimeError: operator torchvision::nms does not exist', 'install the torchvision that is built for this torch'),
    ("ModuleNotFoundError: No module named 'pkg_resources'", "pip install 'setuptools<81'"),
    ("ModuleNotFoundError: No module named 'mmcv.image'", 'pip install --force-reinstall --no-deps '),
    ("ModuleNotFoundError: No module named 'not_there.at_all'", 'pip install not_there'),
    ('ValueError: 3', ''),
])
def test_known_errors_have_their_fix(error, fix):
    assert hint(error).startswith(fix) and bool(hint(error)) == bool(fix)


def test_a_try_that_raises_the_unknown_says_how_to_see_it_whole():
    optional, needed = TRIES['datasets'], TRIES['torch and NumPy']
    result = dict(kind='Error', found='ValueError: 3')
    assert finding(optional, result) == Finding(
        'works', 'datasets', 'warning', 'ValueError: 3', "see the whole error: python -m nepa_mm.doctor --try 'datasets'")
    assert finding(needed, result).status == 'problem'
    assert finding(optional, dict(kind='Works', found='slowly', fix='wait')).status == 'warning'
    assert module.reinstall_command('no_such_module') == 'pip install no_such_module'
