import numpy as np
import pytest

from nepa_mm.analysis.runs.run_curves import draw_runs, running_mean
from nepa_mm.analysis.runs.run_log import RunLog
from nepa_mm.errors import ConfigError


def run(epoch_steps=10, batch=64, scale=1., layers=True, metric='accuracy/top1'):
    steps = np.arange(10, 60, 10)
    train = {key: (steps, scale * np.arange(1., 6.)) for key in ('loss', 'lr', 'base_lr', 'grad_norm')} | {
        'time': (steps, np.full(5, 0.5))}
    rates = {key: (steps, rate * np.ones(5)) for key, rate in {'head': 0.3, '0': 0.2, '1': 0.1, '2': 0.05}.items()}
    return RunLog(train, {metric: (np.array([20, 40]), np.array([30., 50.]))}, rates if layers else {}, batch, epoch_steps)


def panels(figure):
    return {axis.get_title(): axis for axis in figure.axes if axis.get_title()}


def line(axis, index=0):
    return tuple(axis.lines[index].get_xydata().T.tolist())


def test_every_panel_shows_the_logged_numbers():
    found = panels(draw_runs({'one': run()}))
    assert list(found) == ['loss', 'learning rate per layer', 'gradient norm', 'images/s', 'top-1 (%)']
    assert line(found['loss']) == ([1., 2., 3., 4., 5.], [1., 2., 3., 4., 5.]) and found['loss'].get_xlabel() == 'epoch'
    assert [text.get_text() for text in found['learning rate per layer'].get_legend().get_texts()] == [
        'head', 'depth 0', 'depth 1', 'depth 2']
    assert [line(found['learning rate per layer'], i)[1][0] for i in range(4)] == [0.3, 0.2, 0.1, 0.05]
    assert line(found['images/s'])[1] == [128.] * 5  # 64 in half a second
    assert line(found['top-1 (%)']) == ([2., 4.], [30., 50.]) and found['top-1 (%)'].texts[0].get_text() == '50'


def test_several_runs_share_panels_and_the_unit_that_all_have():
    figure = draw_runs({'epochs': run(), 'iterations': run(None, None, 2., False, 'mIoU')})
    found = panels(figure)
    assert list(found) == ['loss', 'learning rate per layer', 'gradient norm', 'steps/s', 'top-1 (%)', 'mIoU (%)']
    assert line(found['loss'], 1) == ([10., 20., 30., 40., 50.], [2., 4., 6., 8., 10.]) and found['loss'].get_xlabel() == 'step'
    assert line(found['steps/s'])[1] == [2.] * 5
    first, deepest, base, first_group = found['learning rate per layer'].lines
    assert (first.get_ydata()[0], deepest.get_ydata()[0]) == (0.3, 0.05) and deepest.get_linestyle() == '--'
    assert base.get_color() == first_group.get_color() != first.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['epochs', 'iterations']
    with pytest.raises(ConfigError, match=r'epoch: iterations counts iterations.* \| --x'):
        draw_runs({'epochs': run(), 'iterations': run(None)}, in_epochs=True)


def test_smoothing_is_a_running_mean_over_the_faint_curve():
    axis = panels(draw_runs({'one': run()}, smooth=3))['loss']
    assert axis.lines[0].get_alpha() == 0.25 and line(axis, 0)[1] == [1., 2., 3., 4., 5.]
    assert line(axis, 1)[1] == [1.5, 2., 3., 4., 4.5]
    values = np.random.default_rng(0).normal(size=50)
    for count in (1, 2, 5, 80):
        expected = [values[max(0, i - (count - 1) // 2):i - (count - 1) // 2 + count].mean() for i in range(50)]
        np.testing.assert_allclose(running_mean(values, count), expected)
    np.testing.assert_allclose(running_mean(np.array([1., np.nan, 3.]), 3), [1., 2., 3.])


def test_a_metric_that_no_run_has_is_refused():
    assert list(panels(draw_runs({'one': run(metric='mAcc')})))[-1] == 'mAcc'
    with pytest.raises(ConfigError, match=r"no validation .* 'mIoU' \| --metrics \| choose from \['accuracy/top1'\]"):
        draw_runs({'one': run()}, metrics=['mIoU'])
