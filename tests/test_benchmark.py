"""tools/analysis_tools/benchmark.py at the size of a test."""
import json
import os
import runpy
import sys

import pytest
from forks import done, run, start
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from nepa_mm.analysis.cost.device_peaks import peak_of, reached_of
from nepa_mm.analysis.cost.peer_process import PEERS, PeerProcess, peer_settings
from nepa_mm.errors import ConfigError
from tiny import ROOT, counts

SCRIPT = ROOT / 'tools/analysis_tools/benchmark.py'
TOOL = runpy.run_path(str(SCRIPT))
PRETRAIN = ROOT / 'configs/pretrain/nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k.py'
MINI = ROOT / 'configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py'
FEW = ('--batch-size', 2, '--iterations', 2, '--repeats', 2, '--warmup', 1)


@pytest.fixture(autouse=True)
def no_scope_stays():
    yield
    DefaultScope._instance_dict.clear()


@counts
def test_synthetic(tmp_path):
    printed = run(tmp_path, SCRIPT, MINI, '--synthetic', *FEW, '--img-size', 32, '--json', tmp_path / 'out.json')
    figures = json.loads((tmp_path / 'out.json').read_text())
    assert figures['batch_size'] == 2 and figures['img_size'] == 32 and figures['tokens'] == 17
    assert figures['systems'].keys() == {'runner', 'bare'} and figures['processes'] == 1
    rates = figures['systems']['runner']['images_per_s']
    assert len(rates) == 2 and figures['tflops'] * 1e3 / figures['step_gflops_per_image'] in [pytest.approx(r) for r in rates]
    tokens, width = 17, 128
    forward = 4 * (2 * tokens * 12 * width**2 + 4 * tokens**2 * width) + 2 * 16 * 192 * width
    assert figures['forward_gflops_per_image'] == pytest.approx(forward / 1e9)
    assert all(seconds >= 0 for name, seconds in figures['seconds_by_part'].items() if name != 'other')
    assert len(figures['runner_over_bare_time']['pairs']) == 2 and 'Runner / bare loop' in printed
    assert 'Effective batch' not in printed  # the training's own log goes to a file


def test_images_of_a_folder(tmp_path):
    (tmp_path / 'images').mkdir()
    for i in range(3):  # fewer than the turns need
        Image.new('RGB', (40, 40), (i, 0, 0)).save(tmp_path / f'images/{i}.jpg')
    run(tmp_path, SCRIPT, MINI, '--data', tmp_path / 'images', *FEW, '--json', tmp_path / 'out.json', '--cfg-options',
        'train_dataloader.num_workers=0')
    figures = json.loads((tmp_path / 'out.json').read_text())
    assert figures['img_size'] == 48 and len(figures['systems']['runner']['images_per_s']) == 2
    assert figures['loader']['images_per_core_s'] > 0 and figures['waited_for_loader_s'] > 0


def test_the_same_training_with_settings_changed(tmp_path):
    printed = run(tmp_path, SCRIPT, MINI, *FEW, '--img-size', 32, '--json', tmp_path / 'new/out.json', '--change',
                  'model.backbone.arch.num_layers=8')
    figures = json.loads((tmp_path / 'new/out.json').read_text())
    assert figures['systems'].keys() == {'runner', 'bare', 'changed'} and 'changed / bare loop' in printed
    turns = zip(figures['systems']['bare']['images_per_s'], figures['systems']['changed']['images_per_s'])
    assert figures['changed_over_bare_time']['pairs'] == [pytest.approx(bare / changed) for bare, changed in turns]
    assert 'init_weights' not in printed


def test_two_processes(tmp_path):
    ended = done(SCRIPT, MINI, '--scaling', 'processes', '--points', 2, *FEW, '--img-size', 32, '--json', tmp_path / 'out.json',
                 folder=tmp_path, env=dict(PYTHONPATH=str(ROOT)), fork_children=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert [row['size'] for row in rows] == [2] and 'images/s ~ processes^' in ended.stdout


@pytest.mark.parametrize('arguments, message', [
    (('no.py', ), 'there is no such config file | no.py'),
    ((MINI, '--data', 'nowhere'), "'nowhere' is no folder | --data"),
    ((MINI, '--iterations', 0), '0 is less than 1 | --iterations'),
    ((MINI, '--vs', 'hf-reference', *FEW), "hf-reference needs a checkout of the authors' code"),
    ((MINI, '--data', '.', '--img-size', 32), '32 is for --synthetic | --img-size'),
    ((MINI, '--data', 'empty'), "'empty' holds no file | --data"),
    ((MINI, '--scaling', 'batch', '--points', 2, 0), '0 is less than 1 | --points'),
])
def test_errors_are_one_line(tmp_path, arguments, message):
    (tmp_path / 'empty').mkdir()
    code, printed = start(tmp_path, SCRIPT, *arguments)
    assert code == 2 and f'nepa_mm: error: {message}' in printed and 'Traceback' not in printed


def test_a_peer_that_is_not_there_says_what_to_install(tmp_path):
    settings = peer_settings(Config.fromfile(PRETRAIN), 2, 28, str(tmp_path), 'wall')
    assert settings['amp'] and settings['ema'] and settings['max_norm'] == 1. and settings['adamw']['betas'] == (0.9, 0.95)
    assert settings['released_config']['hidden_size'] == 768 and settings['released_config']['image_size'] == 28
    assert settings['ema_momentum'] == pytest.approx(1e-4)
    with pytest.raises(ConfigError, match='^hf-reference stopped: cannot import .*--peer-path .*--peer-python'):
        PeerProcess('hf-reference', sys.executable, settings)
    with pytest.raises(ConfigError, match=r"'no-python' cannot be run.* \| --peer-python"):
        PeerProcess('hf-reference', 'no-python', settings)
    paper = Config.fromfile(PRETRAIN.with_name(f'{PRETRAIN.stem}-paper.py'))
    with pytest.raises(ConfigError, match='--vs needs the released variant'):
        peer_settings(paper, 2, 28, None, 'wall')


def test_a_peer_answers_with_seconds(tmp_path, monkeypatch):
    script = tmp_path / 'peer.py'
    script.write_text(f'import sys\nsys.path.insert(0, {str(PEERS)!r})\n'
                      "from worker import Worker\nit = Worker()\nprint('noise')\nit.serve(lambda: None, name='nothing')\n")
    monkeypatch.setitem(sys.modules['nepa_mm.analysis.cost.peer_process'].SCRIPTS, 'nothing', os.fspath(script))
    peer = PeerProcess('nothing', sys.executable, dict(clock='wall', amp=False))
    assert peer.about['name'] == 'nothing' and 0 <= peer(3) < 1 and peer.memory > 1e6
    peer.close()
    assert peer.process.returncode == 0


def test_exponent_and_options():
    assert TOOL['exponent']([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    assert TOOL['without_scaling'](['a.py', '--scaling', 'batch', '--points', '1', '2', '--repeats', '3', '--json', 'x']) == [
        'a.py', '--repeats', '3']
    assert TOOL['without_scaling'](['--scal', 'batch', 'a.py', '--po', '1', '2', '--js', 'x']) == ['a.py']


def test_a_loader_of_pixels_alone_has_a_rate(tmp_path):
    for i in range(3):
        Image.new('RGB', (40, 40), (i, 0, 0)).save(tmp_path / f'{i}.jpg')
    cfg = Config.fromfile(PRETRAIN)
    cfg.train_dataloader.update(batch_size=2, num_workers=2)
    cfg.train_dataloader.dataset.update(data_root=str(tmp_path), data_prefix='')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        rate = TOOL['loader_rate'](cfg, seconds=0.)
    assert rate['images_per_core_s'] > 0 and rate['num_workers'] == 2


def test_peaks():
    assert peak_of('NVIDIA H100 80GB HBM3')[0] == peak_of('NVIDIA H200')[0] == 989 and peak_of('NVIDIA H100 PCIe')[0] == 756
    assert peak_of('NVIDIA A100-SXM4-80GB')[0] == 312 and peak_of('some other') is None
    assert peak_of('NVIDIA GH200 480GB') == (989, 96) and peak_of('NVIDIA L40S') == (362, 48)
    assert not any(map(peak_of, ('NVIDIA L40', 'NVIDIA RTX A4000')))  # no L4, no A40
    assert reached_of('NVIDIA H200') == 790 and reached_of('NVIDIA A100') is None
