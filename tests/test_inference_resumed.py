"""Commands of inference that are killed and started again, or share the images out, end with the bytes of one left alone."""
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import test_inference
import torch
from PIL import Image

from nepa_mm.apis import inference_tools, unfinished
from nepa_mm.apis.inference_tools import write_json, write_npy
from nepa_mm.apis.run_model import Inference
from nepa_mm.apis.unfinished import Rows
from nepa_mm.errors import ConfigError
from tiny import ROOT

models = test_inference.folder
# Of each command: its model, its output and more arguments
COMMANDS = dict(
    extract_features=('pretraining', '--out', 'f.npz'), classify_images=('classifier', '--out', 'c.json', '--topk', '2'),
    retrieve_images=('pretraining', '--out', 'r.json', '--topk', '2', '--prototype', 'IMAGES'),
    segment_images=('segmentor', '--out-dir', 's'))


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Eleven images of one size and a file that is none."""
    folder, random = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    for i in range(11):
        pixels = np.kron(random.integers(0, 256, (3, 3, 3)), np.ones((12, 16, 1)))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f'{i}.png')
    (folder / '4b.png').write_text('no image')
    return folder


def arguments(name, models, images, folder) -> list[str]:
    model, option, out, *more = COMMANDS[name]
    more = [str(images) if each == 'IMAGES' else each for each in more]
    return [str(images), str(models / f'{model}.pth'), option, str(folder / out), *more, '--device', 'cpu', '--batch-size', '2',
            '--workers', '0']


def run(name, *command, die_at=None, **env) -> None:
    """A command in this process; it kills itself at a batch of that number."""
    batches = 0
    columns = Inference.columns

    def count(self, *args):
        nonlocal batches
        batches += 1
        if batches == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return columns(self, *args)

    os.environ.update(env)
    sys.argv = [name, *map(str, command)]
    unfinished.SECONDS = 0  # each batch is kept at once
    Inference.columns = count
    runpy.run_path(str(ROOT / f'tools/inference/{name}.py'), run_name='__main__')


def forked(*commands, **options) -> list[int]:
    """Exit codes of commands in processes of their own at the same time, which need not import anything anew."""
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=run, args=command, kwargs={**options, **env}) for *command, env in commands]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.fixture(scope='module')
def whole(models, images, tmp_path_factory):
    """What each command writes, left alone."""
    folder = tmp_path_factory.mktemp('whole')
    for name in COMMANDS:
        (folder / name).mkdir()
        assert forked((name, *arguments(name, models, images, folder / name), {})) == [3]  # one is no image
    return folder


@pytest.mark.parametrize('name', COMMANDS)
def test_a_command_that_is_killed_goes_on_and_ends_with_the_same_bytes(name, models, images, whole, tmp_path, capfd):
    command = arguments(name, models, images, tmp_path)
    assert forked((name, *command, {}), die_at=4) == [-signal.SIGKILL]
    left = contents(tmp_path)
    assert len(left) > 2 and not set(left) >= set(contents(whole / name)) and any('unfinished' in path for path in left)
    capfd.readouterr()
    begun = time.time_ns()
    assert forked((name, *command, {})) == [3]
    printed = capfd.readouterr()
    assert contents(tmp_path) == contents(whole / name)
    if name != 'retrieve_images':  # which was killed before it searched
        assert 'of 12 images are done already' in printed.err
    assert 'nepa_mm: error: 1 of 12 images failed' in printed.err and '4b.png' in printed.err
    if name == 'segment_images':
        assert (tmp_path / 's/pred/0.png').stat().st_mtime_ns < begun  # it was not done again
    assert forked((name, *command, {})) == [2] and 'it exists and would be written over' in capfd.readouterr().err


@pytest.mark.parametrize('name', COMMANDS)
def test_two_processes_end_with_the_bytes_of_one(name, models, images, whole, tmp_path, capfd):
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = str(server.getsockname()[1])
    both = dict(WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    command = arguments(name, models, images, tmp_path)
    assert forked(*[(name, *command, dict(both, RANK=rank, LOCAL_RANK=rank)) for rank in '01']) == [3, 3]
    assert contents(tmp_path) == contents(whole / name)
    said = [line for line in capfd.readouterr().err.splitlines() if 'images failed' in line]
    assert len(said) == (2 if name == 'retrieve_images' else 1) and all('1 of 12 images failed' in line for line in said)


@pytest.mark.slow
def test_the_launcher_ends_with_the_bytes_of_one_process_and_its_exit_code(models, images, whole, tmp_path):
    name = 'extract_features'
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', ROOT / 'tools/dist_run.py', '--nproc_per_node=2', ROOT / f'tools/inference/{name}.py',
         *arguments(name, models, images, tmp_path)], cwd=ROOT, text=True, capture_output=True, timeout=300,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 3 and contents(tmp_path) == contents(whole / name), done.stderr
    assert done.stderr.splitlines()[-1].startswith('nepa_mm: error: 1 of 12 images failed'), done.stderr


def test_what_was_begun_with_other_images_or_another_model_is_refused(models, images, tmp_path, capfd):
    command = arguments('extract_features', models, images, tmp_path)
    assert forked(('extract_features', *command, {}), die_at=4) == [-signal.SIGKILL]
    for others, said in ((command[1:], 'images'), ([command[0], str(models / 'classifier.pth'), *command[2:]], 'config, weights'),
                         ([*command, '--amp'], 'amp')):
        if said == 'images':
            others = [str(images / '1.png'), *others]
        capfd.readouterr()
        assert forked(('extract_features', *others, {})) == [2]
        assert f'it was begun with other {said} | {tmp_path}/f.npz.unfinished | ' in capfd.readouterr().err


def test_features_as_an_array_that_can_be_mapped_with_their_paths_beside(models, images, whole, tmp_path):
    command = [str(each).replace('.npz', '.npy') for each in arguments('extract_features', models, images, tmp_path)]
    assert forked(('extract_features', *command, {})) == [3]
    expected = np.load(whole / 'extract_features/f.npz')
    np.testing.assert_array_equal(np.load(tmp_path / 'f.npy', mmap_mode='r'), expected['features'])
    assert (tmp_path / 'f.txt').read_text().splitlines() == expected['paths'].tolist()
    assert sorted(os.listdir(tmp_path)) == ['f.npy', 'f.txt']


def test_a_kill_while_an_array_is_written_leaves_what_goes_on(models, images, whole, tmp_path, monkeypatch):
    command = [str(each).replace('.npz', '.npy') for each in arguments('extract_features', models, images, tmp_path)]
    monkeypatch.setattr(inference_tools, 'write_npy', lambda *args: os.kill(os.getpid(), signal.SIGKILL))
    assert forked(('extract_features', *command, {})) == [-9]
    monkeypatch.undo()
    assert forked(('extract_features', *command, {})) == [3]
    np.testing.assert_array_equal(np.load(tmp_path / 'f.npy'), np.load(whole / 'extract_features/f.npz')['features'])


def test_files_are_those_that_numpy_and_json_write_at_once(whole, tmp_path):
    features = np.load(whole / 'extract_features/f.npz')
    np.savez(tmp_path / 'at_once.npz', **features)
    assert (tmp_path / 'at_once.npz').read_bytes() == (whole / 'extract_features/f.npz').read_bytes()
    np.save(tmp_path / 'at_once.npy', features['features'])
    with open(tmp_path / 'in_parts.npy', 'wb') as file:
        write_npy(file, np.float32, (11, 16), iter([features['features'][:4], features['features'][4:]]))
    assert (tmp_path / 'in_parts.npy').read_bytes() == (tmp_path / 'at_once.npy').read_bytes()
    for records in ([], [dict(path='a\nb', labels=[1, 2], scores=[.5])] * 2):
        write_json(tmp_path / f'{len(records)}.json', records)
        assert (tmp_path / f'{len(records)}.json').read_text() == json.dumps(records, indent=1) + '\n'


def test_names_may_be_any_bytes_and_a_list_of_them_is_read_again(models, images, tmp_path):
    (tmp_path / 'odd').mkdir()
    name = os.fsencode(tmp_path / 'odd') + b'/caf\xe9.png'
    with open(name, 'wb') as file:
        file.write((images / '3.png').read_bytes())

    def done(command, inputs, out):
        model = models / ('classifier.pth' if command == 'classify_images' else 'pretraining.pth')
        process = subprocess.run(
            [sys.executable, ROOT / f'tools/inference/{command}.py', inputs, model, '--out', out, '--device', 'cpu'],
            env=dict(os.environ, PYTHONIOENCODING='utf-8:strict'), cwd=tmp_path, capture_output=True)
        assert process.returncode == 0, process.stderr
        return process.stdout

    assert done('classify_images', tmp_path / 'odd', 'a.csv').startswith(name + b': ')
    assert (tmp_path / 'a.csv').read_bytes().splitlines()[1].startswith(name + b',')
    done('extract_features', tmp_path / 'odd', 'f.npy')
    assert (tmp_path / 'f.txt').read_bytes() == name + b'\n'
    done('extract_features', tmp_path / 'f.txt', 'again.npy')
    np.testing.assert_array_equal(np.load(tmp_path / 'again.npy'), np.load(tmp_path / 'f.npy'))


def test_where_no_image_can_be_used_nothing_is_written(models, images, tmp_path, capfd):
    command = ['extract_features', images / '4b.png', *arguments('extract_features', models, images, tmp_path)[1:], {}]
    assert forked(command) == [3] and os.listdir(tmp_path) == []
    assert '1 of 1 images failed' in capfd.readouterr().err
    (tmp_path / 'empty').mkdir()
    assert forked(['extract_features', tmp_path / 'empty', *command[2:]]) == [3] and os.listdir(tmp_path) == ['empty']
    assert 'it holds no image' in capfd.readouterr().err


def test_several_processes_need_a_file(models, images, capfd):
    command = [images, models / 'pretraining.pth', '--prototype', images]
    assert forked(('retrieve_images', *command, dict(WORLD_SIZE='2', RANK='0'))) == [2]
    assert 'several processes put their results together in a file | --out | ' in capfd.readouterr().err


@pytest.mark.parametrize('kept', [True, False])
def test_rows_come_in_the_order_of_the_images_each_once(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, 'BYTES', 100)
    out = tmp_path / 'a' if kept else None
    rows, others = Rows(10, out, {}), Rows(10, out, {})
    for table, indices in ((rows, [7, 8]), (rows, [0, 1]), (others if kept else rows, [1, 2, 9]), (rows, [4])):
        table.add(indices, dict(value=np.array(indices) * 10, pair=np.array([[i, -i] for i in indices])))
        table.write()
    rows.look()
    blocks = list(rows.blocks())
    indices = np.concatenate([block['index'] for block in blocks])
    assert indices.tolist() == rows.indices().tolist() == [0, 1, 2, 4, 7, 8, 9] and len(blocks) > 3
    np.testing.assert_array_equal(np.concatenate([block['value'] for block in blocks]), indices * 10)
    np.testing.assert_array_equal(np.concatenate([block['pair'] for block in blocks]), np.stack([indices, -indices], axis=1))
    if kept:
        with pytest.raises(ConfigError, match='it was begun with other seed'):
            Rows(10, out, dict(seed='1'))
        assert Rows(10, out, {}).done.sum() == 7
        rows.finish()
        assert os.listdir(tmp_path) == []


def test_facts_tell_weights_and_settings_apart():
    class Model(torch.nn.Linear):
        _config = dict(model=1)

    model = Model(3, 2).to(torch.bfloat16)
    facts = unfinished.facts_of(model, ['a', 'b'], topk=3)
    assert facts == unfinished.facts_of(model, ['a', 'b'], topk=3) and facts['topk'] == '3'
    with torch.no_grad():
        model.bias[0] += 1
    model._config = dict(model=2)
    others = unfinished.facts_of(model, ['a', 'c'], topk=4)
    assert all(facts[name] != others[name] for name in ('images', 'weights', 'config', 'topk'))
