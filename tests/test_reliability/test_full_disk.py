"""A disk that is full while a checkpoint is written, and the memory that writing takes."""
import os
import subprocess
import sys

from runs import ENV, assert_resumes, interrupting, losses, train


def test_a_full_disk_leaves_older_checkpoints_as_they_were(copy, whole):
    config, expected = whole('iter')
    before = {path.name: path.read_bytes() for path in copy.glob('*.pth')}
    limit = os.path.getsize(copy / 'iter_12.pth') // 2
    full = f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))'
    message = train(config, copy, '--resume', code=6, before=full)
    line = message.splitlines()[-1]
    assert line.startswith('nepa_mm: error: it cannot be written: it needs ') and f' | {copy}/iter_15.pth | ' in line
    assert 'Traceback' not in message
    needed, free = (int(part.split()[-1].replace(',', '')) for part in (line.split(' bytes')[0], line.split(' are free')[0]))
    assert 0.5 < needed / os.path.getsize(copy / 'iter_12.pth') <= 1 and free > 0
    assert {path.name: path.read_bytes() for path in copy.glob('*.pth')} == before and not list(copy.glob('.*.tmp'))
    assert_resumes(config, copy, expected)


def test_a_disk_that_is_full_while_the_training_goes_on_ends_it(whole, tmp_path):
    # The write fails once a step is taken after it was asked for: before the next step, or the next save, that is said.
    config, expected = whole('iter')
    run = tmp_path / 'run'
    full = f'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({1 << 16}, {1 << 16}))\n'
    began = interrupting('at_step', 6, target='nepa_mm.engine.runner.saving_runner:write_checkpoint')
    message = train(config, run, code=6, before=full + began)
    assert f' | {run}/iter_4.pth | ' in message.splitlines()[-1] and 'Traceback' not in message
    assert 5 <= len(losses(run)) <= 8 and not list(run.glob('*.pth')) and not list(run.glob('.*.tmp'))
    assert not (run / 'last_checkpoint').exists()


def test_saving_takes_little_memory_beside_the_state(tmp_path):
    # mmengine's takes as much again.
    code = '''if True:
        import resource, sys, torch
        from pathlib import Path
        from nepa_mm.checkpoints.storage.durable import check_whole, write_checkpoint
        state = {f'{i}': torch.ones(1 << 20) for i in range(64)}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_checkpoint(dict(state_dict=state, meta={}), Path(sys.argv[1]))
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(more * 1024 / sum(value.nbytes for value in state.values()))
    '''
    command = [sys.executable, '-W', 'ignore', '-c', code, tmp_path / 'x.pth']
    run = subprocess.run(command, env=ENV, text=True, capture_output=True, check=True)
    assert float(run.stdout.splitlines()[-1]) < 0.35  # pieces of 16 MiB in up to 4 threads; of 256 MiB that are saved
