"""Memory and work of a training step of segmentation, with and without checkpointing of the backbone's activations.

    python tools/analysis_tools/measure_segmentation.py CONFIG [CONFIG ...] --batch-size 2

On a GPU the peak memory and the time of an iteration are measured. Elsewhere both are counted, on tensors without content: the
largest sum of all tensors alive at a time in two iterations (in the second the optimizer has its state), and the floating-point
operations of one, forward, backward and recomputed. Not counted: the CUDA context, cuDNN's workspaces, what the allocator loses,
and the second copy of the gradients that several GPUs exchange. The table is in Markdown.
"""
import argparse
import sys
import time
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from unittest import mock

import nepa_mm  # noqa: F401, before the hosts: see host_imports.py

# isort: split
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from nepa_mm.analysis.cost.counted_step import peak_memory, size, without_content, work
from nepa_mm.analysis.runs.json_file import JsonFile
from nepa_mm.errors import ConfigError, one_line_errors
from nepa_mm.launch.read_config import read_config

HEADER = ['config', 'images', 'checkpointing', 'parameters, M', 'peak memory, GiB']


def training_step(cfg: Config, batch_size: int) -> tuple[Callable, torch.nn.Module, torch.optim.Optimizer]:
    """A function that takes one training step of the config's model on made-up images; and its model and optimizer."""
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    if torch.cuda.is_available():
        model.cuda()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    height, width = cfg.model.data_preprocessor.size
    images = [torch.zeros(3, height, width, dtype=torch.uint8) for _ in range(batch_size)]
    labels = [PixelData(data=torch.zeros(1, height, width, dtype=torch.long)) for _ in range(batch_size)]
    samples = [SegDataSample(gt_sem_seg=label, metainfo=dict(img_shape=(height, width))) for label in labels]
    return lambda: model.train_step(dict(inputs=images, data_samples=samples), optim_wrapper), model, optim_wrapper.optimizer


def counted(cfg: Config, batch_size: int) -> tuple[int, int, int]:
    """Parameters, bytes of peak memory and floating-point operations of a step, without computing anything."""
    # The head's accuracy, a number for the log, has a shape that depends on the labels.
    accuracy = mock.patch('mmseg.models.decode_heads.decode_head.accuracy', lambda *args, **kwargs: torch.zeros(1))
    with without_content(), accuracy:
        step, model, optimizer = training_step(cfg, batch_size)
        parameters = size(model)
        peak = peak_memory(step, model, optimizer)['Total']
        return parameters, peak, work(step, recomputed=True)


def measured(cfg: Config, batch_size: int, iterations: int) -> tuple[int, int, float]:
    """Parameters, bytes of peak memory and seconds of a step on the GPU."""
    step, model, _ = training_step(cfg, batch_size)
    for _ in range(5):  # cuDNN chooses its algorithms
        step()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(iterations):
        step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - begin) / iterations
    return size(model), torch.cuda.max_memory_allocated(), seconds


def checkpointing_choices(cfg: Config) -> list[bool | None]:
    """Off and on, or None where the backbone has no such switch."""
    with_cp = signature(MODELS.get(cfg.model.backbone.type)).parameters.get('with_cp')
    return [None] if with_cp is None else [False, True]


def segmentation_config(path: str) -> Config:
    """The config of a segmentation.

    Raises:
        ConfigError: For a file that is not there, or another task.
    """
    cfg = read_config(path)
    if 'decode_head' not in cfg.model or 'crop_size' not in cfg:
        raise ConfigError('it has no model.decode_head or no crop_size', path, 'give a segmentation config')
    return cfg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', metavar='CONFIG', nargs='+', help='config file')
    parser.add_argument('--batch-size', type=int, default=2, help='images in a step')
    parser.add_argument('--iterations', type=int, default=20, help='steps that are timed on a GPU')
    parser.add_argument('--json', type=JsonFile, metavar='FILE', help='file to write the figures to as well')
    args = parser.parse_args()
    if args.batch_size < 2:
        parser.error(f'--batch-size {args.batch_size}: pooling to 1 x 1 and batch norm need 2 images at least')
    on_gpu, rows = torch.cuda.is_available(), []
    print(f'{torch.cuda.get_device_name()}, measured' if on_gpu else 'Counted', f'with PyTorch {torch.__version__}\n')
    header = [*HEADER, 'ms an iteration' if on_gpu else 'TFLOPs an iteration']
    print(f'| {" | ".join(header)} |\n| --- {"| ---: " * (len(header) - 1)}|')
    for path in args.configs:
        cfg = segmentation_config(path)
        init_default_scope(cfg.default_scope)
        for with_cp in checkpointing_choices(cfg):
            cfg.model.backbone.update(init_cfg=None, **({} if with_cp is None else dict(with_cp=with_cp)))
            figures = measured(cfg, args.batch_size, args.iterations) if on_gpu else counted(cfg, args.batch_size)
            parameters, peak, cost = figures
            recomputes = {None: 'none', False: 'no', True: 'yes'}[with_cp]
            cells = [Path(path).stem, str(args.batch_size), recomputes, f'{parameters / 1e6:.1f}', f'{peak / 2**30:.1f}',
                     f'{1000 * cost:.0f}' if on_gpu else f'{cost / 1e12:.1f}']
            print(f'| {" | ".join(cells)} |', flush=True)
            rows.append(dict(config=Path(path).name, batch_size=args.batch_size, with_cp=with_cp, parameters=parameters,
                             peak_bytes=peak, **{'seconds' if on_gpu else 'operations': cost}))
            torch.cuda.empty_cache()
    if args.json is not None:
        device = torch.cuda.get_device_name() if on_gpu else 'none: counted'
        command = ' '.join(['measure_segmentation.py', *sys.argv[1:]])
        args.json.write(dict(command=command, device=device, torch=torch.__version__, rows=rows))


if __name__ == '__main__':
    with one_line_errors():
        main()
