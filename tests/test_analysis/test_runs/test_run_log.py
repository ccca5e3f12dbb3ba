import json

import numpy as np
import pytest

from nepa_mm.analysis.runs.run_log import read_run
from nepa_mm.errors import DataError


def write(start, records, rates=(), text=''):
    (start / 'vis_data').mkdir(parents=True)
    (start / 'vis_data/scalars.json').write_text(''.join(json.dumps(record) + '\n' for record in records))
    if rates:
        (start / 'vis_data/layer_lr.json').write_text(''.join(json.dumps(record) + '\n' for record in rates))
    (start / f'{start.name}.log').write_text(text)


def step(number, epoch=None, loss=0.):
    record = dict(lr=0.1, time=0.5, data_time=0.1, loss=loss, iter=number, step=number)
    return {**record, 'epoch': epoch} if epoch else record


def test_a_resumed_run_is_one_curve(tmp_path):
    write(tmp_path / '20260101_000000',
          [step(4, 1, 1.), {'accuracy/top1': 10., 'time': 1., 'data_time': 0.1, 'step': 1}, step(9, 2, 2.), step(14, 3, 3.),
           {'accuracy/top1': 30., 'step': 3}],
          [dict(step=4, lr={'head': 0.1, '0': 0.2}), dict(step=9, lr={'head': 0.3, '0': 0.4})],
          'Effective batch 64 = 2 processes x 32 images x 1 accumulated; lr 0.1; 15 iterations, 0 of them warm-up; 5 an epoch, w')
    write(tmp_path / '20260102_000000', [step(9, 2, 20.), {'accuracy/top1': 20., 'step': 2}, step(14, 3, float('nan'))],
          [dict(step=9, lr={'head': 0.5, '0': 0.6})])
    run = read_run(tmp_path)
    assert run.batch == 64 and run.epoch_steps == 5
    steps, losses = run.train['loss']
    np.testing.assert_array_equal(steps, [4, 9, 14])
    np.testing.assert_array_equal(losses, [1., 20., np.nan])
    assert {key: (steps.tolist(), values.tolist()) for key, (steps, values) in run.metrics.items()} == {
        'accuracy/top1': ([5, 10], [10., 20.])}
    assert list(run.layer_lr) == ['head', '0'] and run.layer_lr['0'][1].tolist() == [0.2, 0.6]


def test_a_run_of_iterations_has_no_epochs_and_a_start_is_a_run_too(tmp_path):
    write(tmp_path / 'start', [step(50), {'mIoU': 20., 'step': 50}, step(100)])
    for folder in (tmp_path, tmp_path / 'start'):
        run = read_run(folder)
        assert run.epoch_steps is None and run.batch is None and run.metrics['mIoU'][0].tolist() == [50]


def test_validations_of_iterations_that_are_logged_by_epoch_lie_where_they_took_place(tmp_path):
    write(tmp_path / '20260101_000000', [step(50), {'mIoU': 20., 'step': 0}, step(100)])  # as mmengine does unless told
    write(tmp_path / '20260102_000000', [step(150), step(200), {'mIoU': 30., 'step': 0}])
    run = read_run(tmp_path)
    assert run.train['loss'][0].tolist() == [50, 100, 150, 200]
    assert [values.tolist() for values in run.metrics['mIoU']] == [[50, 200], [20., 30.]]


def test_validations_of_epochs_that_are_logged_by_iteration_lie_there(tmp_path):
    write(tmp_path / 'start', [step(10, 1), {'accuracy/top1': 10., 'step': 10}, step(20, 2), {'accuracy/top1': 20., 'step': 20}],
          text="default_hooks = dict(logger=dict(interval=10, log_metric_by_epoch=False, type='LoggerHook'))")
    run = read_run(tmp_path)
    assert run.epoch_steps == 10 and run.metrics['accuracy/top1'][0].tolist() == [10, 20]


def test_a_start_without_a_step_takes_nothing_away(tmp_path):
    write(tmp_path / '20260101_000000', [step(50), {'mIoU': 20., 'step': 50}, step(100)])
    write(tmp_path / '20260102_000000', [{'mIoU': 30., 'step': 0}])  # of a validation alone
    write(tmp_path / '20260103_000000', [])
    run = read_run(tmp_path)
    assert run.train['loss'][0].tolist() == [50, 100] and run.metrics['mIoU'][1].tolist() == [20.]


def test_without_a_text_log_the_epoch_is_found_from_its_steps(tmp_path):
    write(tmp_path / 'start', [step(epoch * 37 - 7, epoch) for epoch in range(1, 19)])  # logged at the 30th of 37
    assert read_run(tmp_path).epoch_steps == 37


def test_a_line_cut_short_is_left_out_and_another_broken_one_is_named(tmp_path):
    write(tmp_path / 'start', [step(1), step(2)])
    path = tmp_path / 'start/vis_data/scalars.json'
    whole = path.read_text()
    for cut in ('{"lr": 0.1, "lo', '12', '{}'):
        path.write_text(whole + cut)
        assert read_run(tmp_path).train['loss'][0].tolist() == [1, 2]
    path.write_text('{"lr": 0.1, "lo\n' + whole)
    with pytest.raises(DataError, match=r'no record of a log: \'{"lr": 0.1, "lo\'.* \| .*scalars.json, line 1'):
        read_run(tmp_path)


def test_what_is_no_training_is_refused(tmp_path):
    with pytest.raises(DataError, match=r'there is no such folder \| .*nowhere'):
        read_run(tmp_path / 'nowhere')
    with pytest.raises(DataError, match='holds no TIME/vis_data/scalars.json'):
        read_run(tmp_path)
    write(tmp_path / 'start', [{'accuracy/top1': 1., 'step': 0}])
    with pytest.raises(DataError, match='no logged step of a training'):
        read_run(tmp_path)
