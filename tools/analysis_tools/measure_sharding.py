"""Memory and time of a training step in two processes or more, for each way to lay a model out on them, taken in turns.

    python tools/analysis_tools/measure_sharding.py CONFIG --batch-size 1 --json FILE

The ways are DDP, FSDP1, which PyTorch has deprecated, and FSDP2: as it is, gathering bfloat16, and without reshard. On CPUs
memory is the most that a process has held (resident set), Python and its libraries included, time is the processor's, which no
other work on the machine prolongs; on GPUs it is what was allocated, and the time that passed. A step has the optimizer and the
average of the config, and the check for divergence.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

from nepa_mm.analysis.figures import add_json
from nepa_mm.arguments import Options, require_config, require_least
from nepa_mm.errors import ProcessError, run_command

WAYS = ('DDP', 'FSDP1', 'FSDP2', 'FSDP2, bfloat16', 'FSDP2, no reshard')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config file, of a backbone with layers')
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=list(WAYS), help='those that take turns')
    parser.add_argument('--processes', type=int, default=2, help='processes')
    parser.add_argument('--batch-size', type=int, default=1, help='images of each process')
    parser.add_argument('--steps', type=int, default=3, help='steps of a turn')
    parser.add_argument('--turns', type=int, default=3, help='turns')
    parser.add_argument('--cfg-options', nargs='+', action=Options, help='override settings of the config')
    add_json(parser)
    parser.add_argument('--way', help=argparse.SUPPRESS)  # of a process that this command started
    parser.add_argument('--out', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    require_least(args, 1, 'processes', 'batch_size', 'steps', 'turns')
    require_config(args.config)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import MMFullyShardedDataParallel
from mmengine.registry import MODEL_WRAPPERS, MODELS
from torch import nn

from nepa_mm.analysis.cost.made_up_batch import made_up_batch
from nepa_mm.analysis.cost.training_step import TrainingStep, averaging, ema_hooks, without_checkpoints
from nepa_mm.analysis.cost.turns import plain_loop
from nepa_mm.engine import StopOnDivergenceHook
from nepa_mm.launch.read_config import read_config


def wrapped(way: str, model: nn.Module) -> nn.Module:
    """The model laid out, its parameters equal in all processes."""
    on_gpu, blocks = torch.cuda.is_available(), {type(layer) for layer in model.backbone.layers}
    if way == 'FSDP1':
        return MMFullyShardedDataParallel(
            model, device_id=torch.device(get_device()), use_orig_params=False,
            auto_wrap_policy=lambda module, recurse, nonwrapped_numel: recurse or type(module) in blocks)
    settings = dict(type=f'nepa_mm.{"Static" if on_gpu else "CPU"}DistributedDataParallel', module=model)
    if way != 'DDP':
        settings.update(type='nepa_mm.FullyShardedDataParallel', blocks=[kind.__name__ for kind in blocks],
                        reshard_after_forward='no reshard' not in way, param_dtype='bfloat16' if 'bfloat16' in way else None)
    built = MODEL_WRAPPERS.build(settings)
    if way != 'DDP':
        built.shard()
    return built


def work(way: str, cfg: Config, batch_size: int, steps: int) -> dict:
    """In one of the processes: the most memory, in GiB, and the seconds of each step but the first two."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model = wrapped(way, model.to(get_device()))
    if way == 'FSDP1':  # whose pieces are flat: no groups by shape, and no copy of the model for mmengine's average
        cfg.optim_wrapper.constructor = 'DefaultOptimWrapperConstructor'
        cfg.optim_wrapper.paramwise_cfg = None
    step = TrainingStep.of(model, cfg, made_up_batch(cfg, batch_size))
    if way == 'FSDP1':
        step.optim_wrapper.clip_func = lambda parameters, **settings: model.clip_grad_norm_(**settings)
        weights = [value.detach() for value in model.parameters()]
        means = [value.clone() for value in weights]
        step.after = [lambda: torch._foreach_lerp_(means, weights, 1e-4)]
    else:
        step.after = [averaging(hook, model) for hook in ema_hooks(cfg)]
    StopOnDivergenceHook().before_train(SimpleNamespace(model=model, optim_wrapper=step.optim_wrapper, iter=0))
    loop = plain_loop(step, time.perf_counter if torch.cuda.is_available() else time.process_time)
    seconds = [loop(1) for _ in range(steps + 2)]
    used = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 1024 * resource.getrusage(
        resource.RUSAGE_SELF).ru_maxrss
    return dict(gib=used / 2**30, seconds=seconds[2:])


def launch(way: str, arguments: list[str], processes: int) -> list[dict]:
    with TemporaryDirectory() as folder:
        done = subprocess.run([
            sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}',
            __file__, *arguments, '--way', way, '--out', folder], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        found = [json.loads(path.read_text()) for path in sorted(Path(folder).iterdir())]
    if done.returncode or len(found) < processes:
        sys.stderr.write(done.stderr)
        raise ProcessError(f'{way} stopped with exit code {done.returncode}', '--ways', 'see above what it wrote')
    return found


def measured(ways: list[str], arguments: list[str], processes: int, turns: int) -> list[dict]:
    """A row for each way: memory of the process with most, the median of all steps, and both as shares of the first way's."""
    found = {way: [] for way in ways}
    for _ in range(turns):
        for way in ways:
            found[way] += launch(way, arguments, processes)
    rows = [dict(way=way, gib=max(each['gib'] for each in runs),
                 seconds=statistics.median(second for each in runs for second in each['seconds'])) for way, runs in found.items()]
    for row in rows:
        row.update({f'{part}_of_{rows[0]["way"]}': row[part] / rows[0][part] for part in ('gib', 'seconds')})
    return rows


def main(args: argparse.Namespace) -> None:
    cfg = without_checkpoints(read_config(args.config, args.cfg_options))
    if args.way:
        dist.init_process_group('nccl' if torch.cuda.is_available() else 'gloo')
        if torch.cuda.is_available():
            torch.cuda.set_device(dist.get_rank())
        found = work(args.way, cfg, args.batch_size, args.steps)
        (args.out / f'{dist.get_rank()}.json').write_text(json.dumps(found))
        dist.barrier()
        return dist.destroy_process_group()
    rows = measured(args.ways, sys.argv[1:], args.processes, args.turns)
    for row in rows:
        print(', '.join(f'{key} {value:.3f}' if isinstance(value, float) else str(value) for key, value in row.items()))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    args.json.write(dict(config=Path(args.config).name, device=device, torch=torch.__version__, processes=args.processes,
                         batch_size=args.batch_size, steps=args.steps, turns=args.turns, rows=rows))


run_command(main, args)
