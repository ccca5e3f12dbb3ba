"""Curves of one or several trainings: loss, learning rates, gradient norm, throughput, collapse, accuracy."""
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nepa_mm.errors import ConfigError

from .run_log import RunLog

NAMES = {'accuracy/top1': 'top-1 (%)', 'accuracy/top1_origin': 'top-1 (%), raw weights', 'mIoU': 'mIoU (%)',
         'knn/top1': 'kNN top-1 (%)', 'rankme': 'RankMe', 'lidar': 'LiDAR'}


def draw_runs(runs: dict[str, RunLog], smooth: int = 1, metrics: list[str] | None = None,
              in_epochs: bool | None = None) -> Figure:
    """Draw a panel for everything that any of the runs logged.

    Args:
        runs: By their names.
        smooth: Logged points that a curve is the running mean of; the points themselves are left faint.
        metrics: Of validations, a panel each; None takes top-1 accuracies and mIoU.
        in_epochs: Unit of the x axis; None takes epochs if all runs have them.

    Raises:
        ConfigError: For a metric that no run has, or epochs where a run has none.
    """
    without = [name for name, run in runs.items() if run.epoch_steps is None]
    if in_epochs and without:
        raise ConfigError(f'epoch: {without[0]} counts iterations, not epochs', '--x', 'use --x step')
    in_epochs = not without if in_epochs is None else in_epochs
    known = list(dict.fromkeys(key for run in runs.values() for key in run.metrics))
    missing = [key for key in metrics or () if key not in known]
    if missing:
        raise ConfigError(f'no validation of these runs has {missing[0]!r}', '--metrics',
                          f'choose from {known}' if known else 'leave it out: no validation took place')
    metrics = [key for key in NAMES if key in known] or known[:1] if metrics is None else metrics
    panels = [(draw_curve, 'loss'), (draw_layer_lr, 'learning rate'), (draw_curve, 'grad_norm'), (draw_throughput, 'throughput'),
              (draw_curve, 'collapse'), (draw_curve, 'probe_top1'), *((draw_metric, key) for key in metrics)]
    panels = [(draw, key) for draw, key in panels
              if draw is not draw_curve or any(key in run.train for run in runs.values())]
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.3 * rows + 0.25 * len(runs) * (len(runs) > 1)), layout='constrained', dpi=120)
    axes = iter(figure.subplots(rows, columns, squeeze=False).flat)
    colours = {name: colormaps['tab10'](i % 10) if len(runs) <= 10 else colormaps['turbo'](i / len(runs))
               for i, name in enumerate(runs)}
    for (draw, key), axis in zip(panels, axes):
        draw(axis, runs, key, colours, smooth, in_epochs)
        axis.set_xlabel('epoch' if in_epochs else 'step')
        axis.grid(alpha=0.3)
    for axis in axes:  # what is left
        axis.set_axis_off()
    if len(runs) > 1:
        handles = [figure.axes[0].plot([], [], color=colour, label=name)[0] for name, colour in colours.items()]
        figure.legend(handles=handles, loc='outside lower center', ncols=1 if len(runs) > 4 else 2, fontsize=9)
    else:
        figure.suptitle(next(iter(runs)), fontsize=10)
    return figure


def x_of(run: RunLog, steps: np.ndarray, in_epochs: bool) -> np.ndarray:
    return steps / run.epoch_steps if in_epochs else steps


def running_mean(values: np.ndarray, count: int) -> np.ndarray:
    """Mean of each value with its neighbours, ``count`` in all where there are as many; what is no number does not count."""
    def sums(numbers: np.ndarray) -> np.ndarray:
        return np.convolve(numbers, np.ones(count))[count // 2:][:len(numbers)]

    known = np.isfinite(values)
    with np.errstate(invalid='ignore'):
        return sums(np.where(known, values, 0.)) / sums(known)


def draw_smoothed(axis: Axes, x: np.ndarray, y: np.ndarray, colour, smooth: int) -> None:
    """A curve; with smoothing, its running mean over the faint curve."""
    if smooth > 1:
        axis.plot(x, y, color=colour, alpha=0.25, linewidth=0.8)
        y = running_mean(y, smooth)
    axis.plot(x, y, color=colour, linewidth=1.4, marker='.' if len(x) == 1 else None)


def draw_curve(axis: Axes, runs: dict, key: str, colours: dict, smooth: int, in_epochs: bool) -> None:
    for name, run in runs.items():
        if key in run.train:
            steps, values = run.train[key]
            draw_smoothed(axis, x_of(run, steps, in_epochs), values, colours[name], smooth)
    titles = dict(grad_norm='gradient norm', collapse='collapse (1: all images look alike)', probe_top1='online probe, top-1 (%)')
    axis.set_title(titles.get(key, key), fontsize=10)
    if key == 'collapse':
        axis.set_ylim(min(0., axis.get_ylim()[0]), 1.02)


def draw_throughput(axis: Axes, runs: dict, key: str, colours: dict, smooth: int, in_epochs: bool) -> None:
    """Images a second where all runs say how many a step has, else steps a second."""
    in_images = all(run.batch for run in runs.values())
    for name, run in runs.items():
        if 'time' in run.train:
            steps, seconds = run.train['time']
            rate = (run.batch if in_images else 1) / np.where(seconds > 0, seconds, np.nan)
            draw_smoothed(axis, x_of(run, steps, in_epochs), rate, colours[name], smooth)
    axis.set_ylim(bottom=0)
    axis.set_title('images/s' if in_images else 'steps/s', fontsize=10)


def draw_layer_lr(axis: Axes, runs: dict, key: str, colours: dict, smooth: int, in_epochs: bool) -> None:
    """One run: a line for each layer. Several: the head's or last block's, and the deepest layer's dashed."""
    axis.set_title('learning rate' + ' per layer' * any(run.layer_lr for run in runs.values()), fontsize=10)
    for name, run in runs.items():
        rates = run.layer_lr or {key: run.train[key] for key in ('base_lr', 'lr') if key in run.train}
        depths = [key for key in rates if key.isdecimal()]
        if len(runs) > 1 and len(rates) > 1:
            rates = {key: rates[key] for key in (next(iter(rates)), list(rates)[-1])}
        for i, (layer, (steps, values)) in enumerate(rates.items()):
            one = dict(color=colours[name], linestyle='--' if i else '-')
            if len(runs) == 1:
                deep = int(layer) / max(int(depths[-1]), 1) if layer.isdecimal() else 0
                one = dict(color=colormaps['viridis'](0.92 * deep) if layer.isdecimal() else 'red' if layer == 'head' else None,
                           label=dict(head='head', lr='first group', base_lr='base').get(layer, f'depth {layer}'))
            axis.plot(x_of(run, steps, in_epochs), values, linewidth=1.2, **one)
    if len(runs) == 1:
        handles, labels = axis.get_legend_handles_labels()
        some = sorted({0, 1, len(labels) // 2, len(labels) - 1}) if len(labels) > 6 else range(len(labels))
        axis.legend([handles[i] for i in some], [labels[i] for i in some], fontsize=7)
    axis.ticklabel_format(axis='y', style='sci', scilimits=(-2, 2))


def draw_metric(axis: Axes, runs: dict, key: str, colours: dict, smooth: int, in_epochs: bool) -> None:
    """A metric of validations, with the last value written beside it."""
    for name, run in runs.items():
        if key in run.metrics:
            steps, values = run.metrics[key]
            x = x_of(run, steps, in_epochs)
            axis.plot(x, values, 'o-', markersize=3.5, linewidth=1.2, color=colours[name])
            axis.annotate(f'{values[-1]:.4g}', (x[-1], values[-1]), textcoords='offset points', xytext=(-4, 5), ha='right',
                          fontsize=7, color=colours[name])
    axis.margins(y=0.12)
    axis.set_title(NAMES.get(key, key), fontsize=10)
