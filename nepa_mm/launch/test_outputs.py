"""What the command line of ``tools/test.py`` makes of the runner that was built."""
import argparse
from collections import Counter
from pathlib import Path

import mmengine
import torch
from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.evaluator import DumpResults
from mmengine.registry import METRICS
from mmengine.runner import Runner
from torch.utils.data import Dataset

from nepa_mm.errors import ConfigError

from .test_settings import predictions


def write_predictions(runner: Runner, cfg: Config, args: argparse.Namespace) -> None:
    """Let the test write what is asked for, if it can be told apart."""
    kind = predictions(cfg, args)
    if args.show_dir or kind == 'maps':
        require_names(runner.test_loop.dataloader.dataset, '--out' if kind == 'maps' else '--show-dir')
    if kind == 'scores':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    if kind == 'instances':  # masks as RLE
        runner.test_evaluator.metrics.append(METRICS.build(dict(type='mmdet.DumpDetResults', out_file_path=args.out)))


def require_names(dataset: Dataset, option: str) -> None:
    """ConfigError if two images have one name, by which the hosts write: the last would be left of several."""
    if not hasattr(dataset, 'get_data_info'):
        return
    paths = [Path(str(dataset.get_data_info(index).get('img_path', index))) for index in range(len(dataset))]
    names = [path.stem if option == '--out' else path.name for path in paths]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        same = [str(path) for path, its in zip(paths, names) if its == name][:2]
        raise ConfigError(f'{len(paths)} images have {len(set(names))} names, and what is written for {same[1]} would replace '
                          f'that for {same[0]}', option, 'classify_images.py --show-dir and segment_images.py --out-dir in '
                          'tools/inference/ keep the folders of images')


@master_only
def write_metrics(metrics: dict, out: str) -> None:
    """Write what a test measured to a .json or .pkl file; to .json tensors go as lists, such as a confusion matrix."""
    kind = Path(out).suffix.lower().removeprefix('.')
    if kind == 'json':
        metrics = {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in metrics.items()}
    mmengine.dump(metrics, out, file_format=kind)
