"""Measure a config's training: images/s of tools/train.py's Runner, time by part, FLOP/s, memory, the loader; peers beside it.

    python tools/analysis_tools/benchmark.py CONFIG --synthetic
    python tools/analysis_tools/benchmark.py CONFIG --data data/imagenet/train
    python tools/analysis_tools/benchmark.py CONFIG --synthetic --vs hf-reference --peer-path CHECKOUT --peer-python PYTHON
    python tools/analysis_tools/benchmark.py CONFIG --synthetic --change model.backbone.compile=False
    python tools/analysis_tools/benchmark.py CONFIG --synthetic --scaling tokens

What the config says is what runs: model, precision, optimizer, clipping, average, hooks, and with --data its loader. --synthetic
feeds one ready batch of the form that the loader gives, on the device. The Runner and the other systems take turns in one run,
each of --iterations steps, and ratios are between neighbouring turns. 'bare' is a plain loop over the same model, optimizer,
average and ready batch, 'changed' one over a model of its own with the settings of --change. With --data the others come after
all of the Runner's turns, since a loader would use theirs to run ahead. No turn waits for the device in between; time by part is
taken in a pass of its own. docs/performance.md says what is counted.
"""
import argparse
import copy
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from contextlib import redirect_stdout, suppress
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain, islice, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

from nepa_mm.analysis.figures import add_json, ratios
from nepa_mm.arguments import Options, require_config, require_least
from nepa_mm.errors import ConfigError, run_command

PEERS = ('hf-reference', 'stable-pretraining', 'mmpretrain-mae')
POINTS = dict(tokens=[224, 336, 448, 518], batch=[64, 128, 256, 512, 1024], processes=[1, 2])


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--synthetic', action='store_true', help='one ready batch on the device; the default')
    source.add_argument('--data', metavar='DIR', help="folder of images, through the config's own loader")
    other = parser.add_mutually_exclusive_group()
    other.add_argument('--vs', choices=PEERS, help='another system to take turns with')
    other.add_argument('--change', nargs='+', action=Options, metavar='KEY=VALUE',
                       help='take turns with the same training with settings changed')
    parser.add_argument('--peer-path', metavar='DIR', help="checkout of the authors' code, for hf-reference")
    parser.add_argument('--peer-python', metavar='PYTHON', default=sys.executable, help='Python that has what the peer needs')
    parser.add_argument('--batch-size', type=int, help="images of a process; default: the config's")
    parser.add_argument('--img-size', type=int, help="side of synthetic images; default: the pipeline's")
    parser.add_argument('--iterations', type=int, help='steps of a turn; default: 50 on a GPU, else 5')
    parser.add_argument('--warmup', type=int, help='steps before the first turn, which compile; default: 10 on a GPU, else 1')
    parser.add_argument('--repeats', type=int, default=3, help='turns')
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                        help='cpu: processor time, for ratios on a machine without GPU that other work shares')
    parser.add_argument('--scaling', choices=list(POINTS), help='cost over image size, batch or processes, and its exponent')
    parser.add_argument('--points', type=int, nargs='+', help='image sizes, batches or numbers of processes for --scaling')
    add_json(parser)
    parser.add_argument('--cfg-options', nargs='+', action=Options, help='override settings of the config')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by some launchers')
    args = parser.parse_args(argv)
    require_least(args, 1, 'iterations', 'repeats', 'warmup', 'batch_size', 'img_size', 'points')
    require_config(args.config)
    return args


args = run_command(parse_args, sys.argv[1:])  # before the imports, which take seconds

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from torch.utils._pytree import tree_leaves

from nepa_mm.analysis.cost import training_step
from nepa_mm.analysis.cost.benchmark_tables import scaling_table, table
from nepa_mm.analysis.cost.counted_step import size as size_of
from nepa_mm.analysis.cost.device_peaks import peak_of, reached_of
from nepa_mm.analysis.cost.made_up_batch import made_up_batch, map_tensors
from nepa_mm.analysis.cost.peer_process import SCRIPTS, PeerProcess, peer_settings
from nepa_mm.analysis.cost.time_by_part import time_by_part
from nepa_mm.analysis.cost.turns import TurnsHook, plain_loop, run_turns, timed_config
from nepa_mm.launch.build_runner import build_runner
from nepa_mm.launch.read_config import load_config

ON_GPU = torch.cuda.is_available()
CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)


# The config that is timed

def config_of(args: argparse.Namespace, folder: str) -> Config:
    cfg = timed_config(args, folder)
    loader = cfg.train_dataloader
    loader.persistent_workers = loader.get('num_workers', 0) > 0
    if args.img_size and args.data:
        raise ConfigError(f'{args.img_size} is for --synthetic', '--img-size', 'with --data set the size in train_pipeline')
    if args.img_size and 'img_size' in cfg.model.backbone:
        cfg.model.backbone.img_size = args.img_size
    if args.data:
        use_images(loader, args)
    return cfg


def use_images(loader: dict, args: argparse.Namespace) -> None:
    """Let the config's data set read the folder that was given, as often as the turns need."""
    if not Path(args.data).is_dir():
        raise ConfigError(f'{args.data!r} is no folder', '--data',
                          'give one of images, as train_dataloader.dataset.data_root has it')
    loader.dataset.data_root = args.data
    prefix = loader.dataset.get('data_prefix')
    if isinstance(prefix, str) and not (Path(args.data) / prefix).is_dir():
        loader.dataset.data_prefix = ''
    needed = loader.batch_size * (args.warmup + args.iterations * args.repeats + 1)
    found = sum(1 for _ in islice((path for path in Path(args.data).rglob('*') if path.is_file()), needed))
    if not found:
        raise ConfigError(f'{args.data!r} holds no file', '--data', 'give a folder of images')
    loader.dataset = dict(type='RepeatDataset', dataset=loader.dataset, times=math.ceil(needed / found) + 1)


# Measuring

def peers(args: argparse.Namespace, cfg: Config, batch: dict, img_size: int) -> dict:
    size, clock = cfg.train_dataloader.batch_size, CLOCKS[args.clock]
    if args.change:
        changed = copy.deepcopy(cfg)
        changed.merge_from_dict(args.change)
        return dict(changed=plain_loop(training_step.ready_step(changed, batch), clock))
    if args.vs in SCRIPTS:
        if args.vs == 'hf-reference' and not args.peer_path:
            raise ConfigError("hf-reference needs a checkout of the authors' code (github.com/SihanXU/nepa)", '--vs',
                              'give it with --peer-path')
        settings = peer_settings(cfg, size, img_size, args.peer_path, args.clock)
        return {args.vs: PeerProcess(args.vs, args.peer_python, settings)}
    return {args.vs: plain_loop(training_step.ready_step(mmpretrain_mae(cfg), batch), clock)} if args.vs else {}


def mmpretrain_mae(cfg: Config) -> Config:
    """mmpretrain's own recipe of MAE ViT-B/16; its precision is that of ``cfg``."""
    path = Path(find_spec('mmpretrain').origin).parent / '.mim/configs/mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'
    if not path.is_file():
        raise ConfigError(f'mmpretrain-mae needs {path}', '--vs',
                          'install mmpretrain by mim or from a wheel, with which it comes')
    mae = training_step.without_checkpoints(Config.fromfile(path))
    wrapper = 'nepa_mm.Bf16OptimWrapper' if 'Bf16' in str(cfg.optim_wrapper.get('type')) else 'OptimWrapper'
    mae.optim_wrapper = dict({key: value for key, value in mae.optim_wrapper.items() if key != 'loss_scale'}, type=wrapper)
    return mae


def bare_step(runner: Runner, batch: dict) -> training_step.TrainingStep:
    """A step of the runner's own model, optimizer and average, without its loop and its other hooks."""
    hooks = [hook for hook in runner.hooks if 'EMA' in type(hook).__name__]
    return training_step.TrainingStep(runner.model, runner.optim_wrapper, batch,
                                      [lambda hook=hook: hook.after_train_iter(runner, 0) for hook in hooks])


def measure(args: argparse.Namespace) -> dict:
    """All figures of one config."""
    with TemporaryDirectory() as folder:
        cfg = config_of(args, folder)
        size, clock = cfg.train_dataloader.batch_size, CLOCKS[args.clock]
        work = None
        with suppress(ConfigError):  # it cannot be counted
            work = training_step.operations(cfg, args.img_size)
        batch = map_tensors(made_up_batch(cfg, size, args.img_size), lambda value: value.cuda() if ON_GPU else value)
        img_size = tree_leaves(batch['inputs'])[0].shape[-1]
        hook = TurnsHook(args.warmup, args.iterations, args.repeats, clock, lambda runner: {
            'bare': plain_loop(bare_step(runner, batch), clock), **others}, apart=bool(args.data))
        # The training's log goes to its work dir and to this file, as to a terminal.
        with open(Path(folder) / 'printed.log', 'w') as printed, redirect_stdout(printed):
            runner = build_runner(cfg)
            others = peers(args, cfg, batch, img_size)
            run_turns(runner, hook, None if args.data else batch)
            by_part = None
            if args.launcher == 'none' and isinstance(runner, Runner):
                by_part = time_by_part(bare_step(runner, batch), min(args.iterations, 20))
        images = size * runner.world_size
        figures = dict(
            batch_size=size, processes=runner.world_size, img_size=img_size,
            parameters=size_of(training_step.shape_of_model(cfg)),
            forward_gflops_per_image=work and work[0] / 1e9, step_gflops_per_image=work and work[1] / 1e9,
            systems=systems(hook, images), **comparison(hook, args), seconds_by_part=by_part, memory=memory(hook, size))
        if work:
            figures.update(speed(hook, size, work[1]))
        if args.data:
            figures.update(loader=loader_rate(cfg), waited_for_loader_s=sum(hook.waited) / max(len(hook.waited), 1))
        for name, peer in others.items():
            if isinstance(peer, PeerProcess):
                figures['systems'][name].update(about=peer.about, memory_bytes=peer.memory)
                peer.close()
        return figures


def systems(hook: TurnsHook, images: int) -> dict:
    rates = {name: [images * hook.iterations / turn for turn in seconds] for name, seconds in hook.seconds.items()}
    return {name: dict(images_per_s=each, median=statistics.median_high(each)) for name, each in rates.items()}


def comparison(hook: TurnsHook, args: argparse.Namespace) -> dict:
    """Ratios turn by turn: time of the Runner over that of the bare loop; time of a peer over that of each of the two."""
    result = dict(runner_over_bare_time=ratios(hook.seconds['runner'], hook.seconds['bare']))
    if args.vs:
        result.update(speedup_over_peer={
            name: ratios(hook.seconds[args.vs], hook.seconds[name]) for name in ('runner', 'bare')})
    if args.change:
        result.update(changed_over_bare_time=ratios(hook.seconds['changed'], hook.seconds['bare']))
    return result


def speed(hook: TurnsHook, size: int, step: float) -> dict:
    """TFLOP/s of one process, and its share of the device's peak where that is known."""
    teraflops = step * size * hook.iterations / statistics.median_high(hook.seconds['runner']) / 1e12
    result = dict(tflops=teraflops)
    if ON_GPU and (peaks := peak_of(torch.cuda.get_device_name())):
        result['share_of_peak'] = teraflops / peaks[0]
        if reached := reached_of(torch.cuda.get_device_name()):
            result['share_of_what_matrix_products_reach'] = teraflops / reached
    return result


def memory(hook: TurnsHook, size: int) -> dict:
    """Most memory: of the CUDA allocator, or of the whole process where there is no GPU."""
    if not ON_GPU:
        return dict(of='process', bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return dict(of='CUDA allocator', bytes=hook.memory, bytes_per_image=hook.memory / size)


def loader_rate(cfg: Config, seconds: float = 3.) -> dict:
    """Images that the config's loader makes in a second of one core, in this process alone."""
    alone = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False, pin_memory=False, drop_last=True)
    alone.pop('prefetch_factor', None)
    loader = Runner.build_dataloader(alone, seed=0)
    batches, images, begin = chain.from_iterable(repeat(loader)), 0, time.process_time()
    while time.process_time() - begin < seconds or not images:
        next(batches)
        images += loader.batch_size
    return dict(images_per_core_s=images / (time.process_time() - begin), num_workers=cfg.train_dataloader.get('num_workers', 0))


# Cost as work grows

def scaling(args: argparse.Namespace, argv: list[str]) -> dict:
    """The same benchmark at several sizes, each in a process of its own, and the exponent of its cost."""
    points, rows = args.points or POINTS[args.scaling], []
    with TemporaryDirectory() as folder:
        for point in points:
            path = Path(folder) / f'{point}.json'
            option = dict(tokens=['--img-size', point], batch=['--batch-size', point], processes=['--launcher', 'pytorch'])
            start = [sys.executable, '-W', 'ignore']
            if args.scaling == 'processes':
                start += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={point}']
            command = [*start, __file__, *argv, *option[args.scaling], '--json', path]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
            if done.returncode:
                said = (done.stderr.strip() or 'no output').splitlines()[-1]
                raise ConfigError(f'{args.scaling} stopped at {point} ({said})', '--scaling',
                                  'mend that, or choose other --points')
            rows.append(scaling_row(args.scaling, point, json.loads(path.read_text())))
    return dict(scaling=args.scaling, rows=rows, exponent=exponent([r['size'] for r in rows], [r['cost'] for r in rows]))


def scaling_row(kind: str, point: int, figures: dict) -> dict:
    """Size and cost at one point: ms for an image of so many tokens, ms for a step of so many images, images/s of processes."""
    rate = max(figures['systems']['runner']['images_per_s'])  # the turn that was disturbed least
    cost = dict(tokens=1000 / rate, batch=1000 * figures['batch_size'] / rate, processes=rate)[kind]
    size = figures['tokens'] if kind == 'tokens' else point
    return dict(point=point, size=size, cost=cost, images_per_s=rate, tflops=figures.get('tflops'),
                step_gflops_per_image=figures['step_gflops_per_image'], memory_bytes=figures['memory']['bytes'])


def exponent(sizes: list[float], costs: list[float]) -> float:
    """k of cost = c * size^k, by least squares of the logarithms; not a number for one size."""
    if len(set(sizes)) < 2:
        return math.nan
    return statistics.linear_regression(list(map(math.log, sizes)), list(map(math.log, costs))).slope


def tokens_of(cfg: Config, img_size: int) -> int | None:
    """Tokens of an image, if the backbone says how large its patches are."""
    backbone = cfg.model.get('backbone', {})
    if 'patch_size' not in backbone:
        return None
    return (-(-img_size // backbone.patch_size))**2 + int(backbone.get('with_cls_token', True))


# The command

def machine() -> dict:
    device = torch.cuda.get_device_name() if ON_GPU else f'CPU, {os.cpu_count()} cores'
    packages = {name: version(name) for name in ('timm', 'numpy')}
    return dict(device=device, threads=torch.get_num_threads(), load=os.getloadavg()[0], python=platform.python_version(),
                torch=torch.__version__, cuda=torch.version.cuda if ON_GPU else None, **packages)


def main(args: argparse.Namespace, argv: list[str]) -> None:
    args.iterations, args.warmup = args.iterations or (50 if ON_GPU else 5), args.warmup or (10 if ON_GPU else 1)
    about = dict(config=Path(args.config).name, command=' '.join(['benchmark.py', *argv]), machine=machine(), vs=args.vs,
                 clock=args.clock, synthetic=not args.data, data=args.data, iterations=args.iterations, warmup=args.warmup,
                 repeats=args.repeats)
    if args.scaling:
        figures = {**about, **scaling(args, without_scaling(argv))}
    else:
        figures = {**about, **measure(args)}
        figures['tokens'] = tokens_of(load_config(args), figures['img_size'])
    if os.environ.get('RANK', '0') != '0':
        return
    Console(width=130).print((scaling_table if args.scaling else table)(figures))
    args.json.write(figures)


def without_scaling(argv: list[str]) -> list[str]:
    """The command of one point: without ``--scaling``, ``--points`` and ``--json``, in full or cut short."""
    parser = argparse.ArgumentParser(add_help=False)
    for name, count in {'--scaling': None, '--points': '+', '--json': None}.items():
        parser.add_argument(name, nargs=count)
    return parser.parse_known_args(argv)[1]


run_command(main, args, sys.argv[1:])
