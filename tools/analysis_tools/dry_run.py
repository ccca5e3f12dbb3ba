"""What a training would take: parameters, work, memory of a GPU by part, images/s and days, before any machine is booked.

    python tools/analysis_tools/dry_run.py CONFIG --gpus 8 --mfu 0.4 --device H100

Counted, not measured, on tensors without content: nothing is trained and no data is read. Images/s and days are estimates that
follow from --mfu, the share of the device's peak that the training reaches; benchmark.py measures it. Work is counted as there:
two operations for a multiplication and its addition, attention in full, backward twice forward. Memory is that of the model as it
is written, so compiled blocks take less; the CUDA context, workspaces and what the allocator loses come on top. Its columns are
what the config does and the other ways: all on each GPU (DDP), in pieces (FSDP2; without reshard parameters are whole from the
forward pass to the backward pass), in pieces on each machine (HSDP).
"""
import argparse
from pathlib import Path

from nepa_mm.analysis.cost.device_peaks import DEVICES, peak_of
from nepa_mm.analysis.figures import add_json
from nepa_mm.arguments import Options, require_least
from nepa_mm.errors import ConfigError, run_command

IMAGENET = 1_281_167


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('--gpus', type=int, default=8, help='GPUs in all')
    parser.add_argument('--gpus-of-machine', type=int, default=8, help='GPUs in one of several machines, for HSDP')
    parser.add_argument('--mfu', type=float, default=0.4, help="share of the device's peak that the training reaches")
    parser.add_argument('--device', choices=list(DEVICES), default='H100', help='kind of GPU')
    parser.add_argument('--images', type=int, default=IMAGENET, help="images of an epoch; default: ImageNet-1k's")
    parser.add_argument('--cfg-options', nargs='+', action=Options, help='override settings of the config')
    add_json(parser)
    args = parser.parse_args()
    require_least(args, 1, 'gpus', 'gpus_of_machine', 'images')
    if not 0 < args.mfu <= 1:
        raise ConfigError(f'{args.mfu} is not in (0, 1]', '--mfu', 'give a share, such as 0.4')
    from nepa_mm.launch.checks import SETTINGS, check_config  # 0.2 s, which --help does without
    from nepa_mm.launch.read_config import read_config
    args.cfg = read_config(args.config, args.cfg_options)
    check_config(args.cfg, ('train', ), SETTINGS)  # neither its data nor its checkpoints need be here
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

from nepa_mm.analysis.cost.counted_step import size
from nepa_mm.analysis.cost.made_up_batch import made_up_batch, size_in_bytes
from nepa_mm.analysis.cost.training_step import memory_parts, operations, shape_of_model, without_checkpoints
from nepa_mm.analysis.cost.ways_to_share import blocks_of, memory_of, way_of, ways
from nepa_mm.engine.loops.effective_batch import accumulation, count_of
from nepa_mm.hosts.type_names import name_of


def memory(cfg: Config, gpus: int, count: int, gpus_of_machine: int = 8) -> dict[str, dict[str, float]]:
    """GiB of one GPU by part for each way to train on so many, the config's own first; 'peak' is the most at a time."""
    batch_size, model = cfg.train_dataloader.batch_size, shape_of_model(cfg)
    parts, wrapper = memory_parts(cfg, batch_size), cfg.get('model_wrapper_cfg') or {}
    averages = sum('EMA' in str(hook.type) for hook in cfg.get('custom_hooks') or [])
    batch, own = size_in_bytes(made_up_batch(cfg, batch_size)), way_of(cfg, gpus)
    found = {}
    for way in (own, *(way for way in ways(gpus, gpus_of_machine) if way.name != own.name)):
        kept = memory_of(way, parts, model, blocks_of(model, wrapper.get('blocks', ())), averages, count > 1,
                         gpus == 1 or wrapper.get('gradient_as_bucket_view', False))
        kept.update(batch=batch, peak=kept['peak'] + batch)
        found[way.name] = {part: amount / 2**30 for part, amount in kept.items()}
    return found


def schedule(cfg: Config, gpus: int, images: int) -> tuple[int, int, float]:
    """Batches accumulated, effective batch, and images that the whole training takes."""
    batch_size, stated = cfg.train_dataloader.batch_size, cfg.get('auto_scale_lr') or {}
    base, count = stated.get('base_batch_size'), cfg.optim_wrapper.get('accumulative_counts', 1)
    loop, in_steps = cfg.train_cfg, name_of(cfg.train_cfg).startswith('Accumulating')  # mmengine's count batches
    if in_steps and base is not None and not stated.get('enable'):
        try:
            count = accumulation(base, gpus, batch_size)
        except ConfigError as error:
            raise ConfigError(error.what, error.where, 'choose other --gpus, or count as a training with --auto-scale-lr does: '
                              '--cfg-options auto_scale_lr.enable=True') from error
    effective = gpus * batch_size * count
    if 'max_epochs' in loop:
        return count, effective, loop.max_epochs * images
    return count, effective, loop.max_iters * (effective if in_steps else gpus * batch_size)


def days_of(images: float, gpus: int, images_per_second: float) -> float:
    """Days for so many images at a rate of one GPU."""
    return images / (gpus * images_per_second) / 86400


def dry_run(cfg: Config, gpus: int, mfu: float, device: str, images: int = IMAGENET, gpus_of_machine: int = 8) -> dict:
    cfg = without_checkpoints(cfg)
    count, effective, total = schedule(cfg, gpus, images)
    model, (forward, step) = shape_of_model(cfg), operations(cfg)
    teraflops, gib = peak_of(device)
    rate = mfu * teraflops * 1e12 / step
    by_way = memory(cfg, gpus, count, gpus_of_machine)
    return dict(
        config=Path(cfg.filename).name, gpus=gpus, device=device, peak_tflops=teraflops, device_gib=gib, mfu=mfu,
        parameters=size(model), trained=size(model, trained=True), forward_gflops=forward / 1e9, step_gflops=step / 1e9,
        batch_size=cfg.train_dataloader.batch_size, accumulated=count, effective_batch=effective, images=total,
        memory_gib=next(iter(by_way.values())), memory_gib_by_way=by_way,
        fits={way: parts['peak'] < gib for way, parts in by_way.items()},
        estimated_images_per_s=rate, estimated_days=days_of(total, gpus, rate))


def table(figures: dict) -> Table:
    grid = Table(title=f'{figures["config"]}, {figures["gpus"]} x {figures["device"]}', show_header=False, title_justify='left')
    one = figures['estimated_images_per_s']
    grid.add_row('parameters', f'{figures["parameters"] / 1e6:.1f} M, {figures["trained"] / 1e6:.1f} M trained')
    grid.add_row('GFLOPs an image', f'{figures["forward_gflops"]:.1f} forward, {figures["step_gflops"]:.1f} a training step')
    grid.add_row('effective batch', f'{figures["effective_batch"]} = {count_of(figures["gpus"])} x {figures["batch_size"]} '
                                    f'images x {figures["accumulated"]} accumulated')
    mfu = f'if {100 * figures["mfu"]:g} % of {figures["peak_tflops"]:g} TFLOP/s are reached'
    grid.add_row('images/s (estimate)', f'{one:,.0f} a GPU, {one * figures["gpus"]:,.0f} in all, {mfu}')
    grid.add_row('days (estimate)', f'{figures["estimated_days"]:.2f} for {figures["images"]:,} images')
    return grid


def memory_table(figures: dict) -> Table:
    """Memory by part, a column for each way to train."""
    by_way = figures['memory_gib_by_way']
    grid = Table(title=f'GiB of one GPU, counted; this config: {next(iter(by_way))}', title_justify='left')
    for title in ('', *by_way):
        grid.add_column(title, justify='right' if title else 'left')
    for part in dict.fromkeys(part for parts in by_way.values() for part in parts if part != 'peak'):
        grid.add_row(part, *(f'{parts.get(part, 0.):.2f}' for parts in by_way.values()))
    grid.add_section()
    grid.add_row('peak, before gradients are all there', *(f'{parts["peak"]:.1f}' for parts in by_way.values()))
    grid.add_row(f'fits in {figures["device_gib"]:.0f} GiB', *('yes' if figures['fits'][way] else 'no' for way in by_way))
    return grid


def main(args: argparse.Namespace) -> None:
    figures = dry_run(args.cfg, args.gpus, args.mfu, args.device, args.images, args.gpus_of_machine)
    Console(width=120).print(table(figures), memory_table(figures))
    args.json.write(figures)


run_command(main, args)
