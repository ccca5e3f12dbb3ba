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
from inspect import signature
from pathlib import Path

from nepa_mm.analysis.figures import add_json, markdown
from nepa_mm.arguments import require_least
from nepa_mm.errors import ConfigError, run_command


def segmentation_config(path: str) -> 'Config':
    """The config of a segmentation; ConfigError for another task."""
    from nepa_mm.launch.read_config import read_config  # 0.2 s, which --help does without
    cfg = read_config(path)
    if 'decode_head' not in cfg.model or 'crop_size' not in cfg:
        raise ConfigError('it has no model.decode_head or no crop_size', path, 'give a segmentation config')
    return cfg


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', metavar='CONFIG', nargs='+', help='config file')
    parser.add_argument('--batch-size', type=int, default=2, help='images in a step')
    parser.add_argument('--iterations', type=int, default=20, help='steps that are timed on a GPU')
    add_json(parser)
    args = parser.parse_args()
    if args.batch_size < 2:
        parser.error(f'--batch-size {args.batch_size}: pooling to 1 x 1 and batch norm need 2 images at least')
    require_least(args, 1, 'iterations')
    args.cfgs = [segmentation_config(path) for path in args.configs]
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from nepa_mm.analysis.cost.counted_step import peak_memory, size, work
from nepa_mm.analysis.cost.made_up_batch import made_up_batch
from nepa_mm.analysis.cost.training_step import counted, ready_step, shape_of_model, without_checkpoints
from nepa_mm.analysis.cost.turns import plain_loop

HEADER = 'config | images | checkpointing | parameters, M | peak memory, GiB | '


def counted_cost(cfg: Config, batch_size: int) -> tuple[int, int]:
    """Bytes of peak memory and floating-point operations of a step, without computing anything."""
    with counted(cfg, batch_size) as step:
        return peak_memory(step)['Total'], work(step, recomputed=True)


def measured_cost(cfg: Config, batch_size: int, iterations: int) -> tuple[int, float]:
    loop = plain_loop(ready_step(cfg, made_up_batch(cfg, batch_size)), time.perf_counter)
    loop(5)  # cuDNN chooses its algorithms
    torch.cuda.reset_peak_memory_stats()
    seconds = loop(iterations) / iterations
    return torch.cuda.max_memory_allocated(), seconds


def checkpointing_choices(cfg: Config) -> list[bool | None]:
    """Off and on, or None where the backbone has no such switch."""
    with_cp = signature(MODELS.get(cfg.model.backbone.type)).parameters.get('with_cp')
    return [None] if with_cp is None else [False, True]


def main(args: argparse.Namespace) -> None:
    on_gpu, rows = torch.cuda.is_available(), []
    print(f'{torch.cuda.get_device_name()}, measured' if on_gpu else 'Counted', f'with PyTorch {torch.__version__}\n')
    print(markdown(HEADER + ('ms an iteration' if on_gpu else 'TFLOPs an iteration'), []))
    for path, cfg in zip(args.configs, map(without_checkpoints, args.cfgs)):
        for with_cp in checkpointing_choices(cfg):
            cfg.model.backbone.update({} if with_cp is None else dict(with_cp=with_cp))
            parameters = size(shape_of_model(cfg))
            peak, cost = measured_cost(cfg, args.batch_size, args.iterations) if on_gpu else counted_cost(cfg, args.batch_size)
            recomputes = {None: 'none', False: 'no', True: 'yes'}[with_cp]
            cells = [Path(path).stem, str(args.batch_size), recomputes, f'{parameters / 1e6:.1f}', f'{peak / 2**30:.1f}',
                     f'{1000 * cost:.0f}' if on_gpu else f'{cost / 1e12:.1f}']
            print(f'| {" | ".join(cells)} |', flush=True)
            rows.append(dict(config=Path(path).name, batch_size=args.batch_size, with_cp=with_cp, parameters=parameters,
                             peak_bytes=peak, **{'seconds' if on_gpu else 'operations': cost}))
            torch.cuda.empty_cache()
    args.json.write(dict(command=' '.join(['measure_segmentation.py', *sys.argv[1:]]), torch=torch.__version__, rows=rows,
                         device=torch.cuda.get_device_name() if on_gpu else 'none: counted'))


run_command(main, args)
