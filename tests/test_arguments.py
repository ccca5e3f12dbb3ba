"""What is wrong on a command line or in a config is said before anything is imported that takes seconds."""
import argparse
import subprocess
import sys

import pytest

from nepa_mm.arguments import Options
from tiny import ROOT

# tools/dist_run.py is torch's own launcher, which dist_*.sh call
TOOLS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'tools').rglob('*.py')
               if path.parent.name != 'peers' and path.name != 'dist_run.py')
SLOW = {'torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'timm', 'matplotlib', 'datasets', 'pandas', 'scipy'}
# Runs a tool, and says what it has imported, and how it ended
RUN = '''
import os, runpy, sys
tool, sys.argv = sys.argv[1], sys.argv[1:]
sys.path[0] = os.path.dirname(tool)  # as Python does
try:
    runpy.run_path(tool, run_name='__main__')
except SystemExit as end:
    print('ended', end.code, *sorted(name for name in sys.modules if '.' not in name))
'''
CONFIG = 'configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py'


def run(*arguments) -> tuple[int, set[str], str, str]:
    """Exit code, imported packages and the two outputs of a tool."""
    done = subprocess.run([sys.executable, '-c', RUN, *map(str, arguments)], cwd=ROOT, text=True, capture_output=True)
    *said, last = done.stdout.splitlines()
    _, code, *imported = last.split()
    return int(code), set(imported), '\n'.join(said), done.stderr


@pytest.mark.parametrize('tool', TOOLS)
def test_help_and_usage_import_nothing_slow(tool):
    code, imported, said, _ = run(tool, '--help')
    assert code == 0 and said.startswith('usage: ') and not imported & SLOW
    code, imported, _, said = run(tool, '--no-such-option')
    assert code == 2 and said.startswith('usage: ') and not imported & SLOW


@pytest.mark.parametrize('tool, arguments, code, said', [
    ('train.py', ('gone.py', ), 2, 'there is no such config file | gone.py | give the path of a config'),
    ('test.py', ('gone.py', 'a.pth'), 2, 'there is no such config file | gone.py | give the path of a config'),
    ('analysis_tools/dry_run.py', (CONFIG, '--gpus', '0'), 2, '0 is less than 1 | --gpus'),
    ('analysis_tools/measure_reliability.py', (CONFIG, '--repeats', '0'), 2, '0 is less than 1 | --repeats | give 1 or more'),
    ('analysis_tools/plot_run.py', ('a', '--out', 'a.txt'), 2, 'it is of no format known here | a.txt | end it in .png'),
    ('analysis_tools/compute_miou.py', ('docs', 'docs', '--num-classes=2', '--matrix', 'a'), 2, '| a | end it in .npy'),
    ('inference/classify_images.py', ('gone.jpg', 'a.pth'), 3, 'there is no such file | gone.jpg | give an image, a folder'),
    ('inference/extract_features.py', ('docs', 'a.pth', '--out', 'a.csv'), 2, 'a.csv | end it in .npz'),
    ('inference/segment_images.py', ('README.md', 'a.pth', '--opacity', '2'), 2, '2.0 is not in (0, 1] | --opacity'),
    ('inference/retrieve_images.py', ('README.md', 'a.pth', '--prototype', 'README.md', '--topk', '2'), 2, '2 is not in [1, 1]'),
    ('visualization/vis_nepa.py', ('README.md', 'a.pth', '--layers', 'x'), 2, 'x is none of what can be chosen | --layers'),
    ('visualization/explore_nepa.py', ('README.md', '-o', 'a.html'), 2, 'no checkpoint is among README.md | arguments'),
    ('deployment/export_onnx.py', ('a.pth', '--output-file', 'a.pt2'), 2, 'a.pt2 | end it in .onnx'),
    ('misc/verify_dataset.py', ('docs', '--workers', '0'), 2, '0 is less than 1 | --workers'),
    ('train.py', (CONFIG, '--resume', '--overwrite'), 2, '--resume goes on with a run, and --overwrite moves it aside')])
def test_so_do_values_that_cannot_be(tool, arguments, code, said):
    ended, imported, _, printed = run(f'tools/{tool}', *arguments)
    assert ended == code and said in printed.splitlines()[-1] and not imported & SLOW


@pytest.mark.parametrize('content, options, code, said', [
    ('model = (', (), 2, 'it cannot be read: SyntaxError: '),
    ('_base_ = "nowhere.py"', (), 2, 'it cannot be read: FileNotFoundError: '),
    ('train_datalaoder = dict()', (), 2, "nothing reads 'train_datalaoder' | train_datalaoder | did you mean 'train_dataload"),
    ('', ('randomness.sede=1', ), 2, "nothing reads 'sede' | randomness.sede | did you mean 'seed'?"),
    ('', ('modle.backbone.arch=base', ), 2, "nothing reads 'modle'"),
    ('', ('train_dataloader.batch_size=0', ), 2, 'train_dataloader.batch_size'),
    ('', ('load_from=gone.pth', ), 4, "'gone.pth': there is no such checkpoint | load_from"),
    ('', ('train_dataloader.dataset.data_root=gone', ), 3, "'gone' does not exist | train_dataloader.dataset.data_root")])
def test_errors_of_a_config_import_no_torch(content, options, code, said, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(content if '_base_' in content else f'_base_ = {str(ROOT / CONFIG)!r}\n{content}\n')
    options = ('--cfg-options', *options) if options else ()
    ended, imported, _, printed = run('tools/train.py', config, '--work-dir', tmp_path / 'run', *options)
    assert ended == code and said in printed.splitlines()[-1] and not imported & SLOW - {'mmengine'}, printed


def test_options_that_do_not_fit_are_named(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=Options)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(['--cfg-options', 'key'])
    assert end.value.code == 2 and capsys.readouterr().err.endswith('--cfg-options takes KEY=VALUE, lists as KEY="[a,b]"\n')
    with pytest.raises(SystemExit) as end:
        parser.parse_args(['--cfg-options', "init_cfg={'type': 'Pretrained', 'checkpoint': 'a.pth'}"])
    assert end.value.code == 2 and 'init_cfg: a dict is given by its parts, init_cfg.NAME=VALUE' in capsys.readouterr().err


@pytest.mark.parametrize('option, value', [
    ('/a/My Drive/b', '/a/My Drive/b'), ('[traffic light, car]', ['traffic light', 'car']), ('( 1 , 2.5 )', (1, 2.5)),
    ('"a  b",c d', ['a  b', 'c d']), (' 3', 3), (' True ', True), ('[(a b,1),(c,2)]', [('a b', 1), ('c', 2)])])
def test_spaces_inside_a_text_of_an_option_stay(option, value):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=Options)
    assert parser.parse_args(['--cfg-options', f'a.b={option}', 'c=1']).cfg_options == {'a.b': value, 'c': 1}
