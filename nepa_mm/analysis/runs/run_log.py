"""What a training logged, over all its starts, read back as curves."""
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nepa_mm.errors import DataError
from nepa_mm.launch.training_process import read_lines
from nepa_mm.launch.work_dir import LAYER_LR

SCALARS = 'vis_data/scalars.json'  # in the folder of a start: mmengine's
NO_METRICS = {'epoch', 'iter', 'step', 'time', 'data_time'}


@dataclass
class RunLog:
    """Curves of a run: steps [N] and values [N] by name, as they were logged."""
    train: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # loss, lr, grad_norm, time, ...
    metrics: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # of validations
    layer_lr: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # by depth; 'head' first
    batch: int | None = None  # images of a step
    epoch_steps: int | None = None  # None for a run that counts iterations


def read_run(folder: Path) -> RunLog:
    """Read a work dir. Where a run was resumed, the later start counts for the steps that both took.

    Raises:
        DataError: If there is no such folder, no log in it, or no training in the log.
    """
    if not folder.is_dir():
        raise DataError('there is no such folder', str(folder), 'give the work dir of a training, e.g. work_dirs/CONFIG')
    starts = sorted(path.parents[1] for path in (*folder.glob(f'*/{SCALARS}'), *folder.glob(SCALARS)))  # named by their time
    if not starts:
        raise DataError(f'it holds no TIME/{SCALARS}', str(folder), 'give the work dir of a training that has logged something')
    text = '\n'.join(path.read_text(errors='replace') for start in starts for path in sorted(start.glob('*.log')))
    run = RunLog(batch=last_number(r'Effective batch (\d+) = ', text))
    train, metrics, layer_lr = [], [], []
    for start in starts:
        records = read_lines(start / SCALARS)
        steps = [record for record in records if 'iter' in record and 'lr' in record]
        if not steps:
            continue  # ended before its first log, or only validated: what was trained before still counts
        if any('epoch' in record for record in steps) and run.epoch_steps is None:
            run.epoch_steps = last_number(r'; (\d+) an epoch, ', text) or max(  # the fewest; exact after some epochs
                -(-record['step'] // record['epoch']) for record in steps if record.get('epoch'))
        unit = 1 if 'log_metric_by_epoch=False' in text else run.epoch_steps or 1
        checks, last = [], steps[0]['step']
        for record in records:
            if 'lr' in record:
                last = record['step']
            else:  # of a loop of iterations that logs by epoch, mmengine says 0
                checks.append({**record, 'step': record['step'] * unit or last})
        first = min(record['step'] for record in (*steps, *checks))
        rates = read_lines(start / LAYER_LR) if (start / LAYER_LR).is_file() else []
        train, metrics, layer_lr = ([old for old in olds if old['step'] < first] + news
                                    for olds, news in ((train, steps), (metrics, checks), (layer_lr, rates)))
    if not train:
        raise DataError('it holds no logged step of a training', str(folder),
                        'give the work dir of a training; is it that of a test?')
    run.train = curves(train)
    run.metrics = curves({key: value for key, value in record.items() if key == 'step' or key not in NO_METRICS}
                         for record in metrics)
    run.layer_lr = curves(dict(record['lr'], step=record['step']) for record in layer_lr)
    return run


def curves(records: Iterable[dict]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for record in records:
        for key, value in record.items():
            if key != 'step' and isinstance(value, (int, float)):
                steps, values = found.setdefault(key, ([], []))
                steps.append(record['step'])
                values.append(value)
    return {key: (np.array(steps), np.array(values, dtype=float)) for key, (steps, values) in found.items()}


def last_number(pattern: str, text: str) -> int | None:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else None
