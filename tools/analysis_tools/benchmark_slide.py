"""Time and memory of slide mode on one large image: mmseg's loop over windows against several windows at once.

    OMP_NUM_THREADS=1 python tools/analysis_tools/benchmark_slide.py CONFIG --size 2048 1024 --windows 1 2 4

The model has random weights, the image is noise. Both ways take turns; on a CPU the processor's time counts. Ratios are mmseg's
time over ours, median (lowest to highest) over the turns. Beside them: how far logits are from mmseg's, as a share of the
largest, and how many pixels get another class. On a GPU peak memory is measured; elsewhere it is counted on tensors without
content, the largest sum of all tensors alive at a time, with the weights; --only memory needs no time for the work.
"""
import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from unittest import mock

from nepa_mm.analysis.figures import add_json, markdown, ratios, spread
from nepa_mm.arguments import require_least
from nepa_mm.errors import ConfigError, run_command

PARTS = ['memory', 'time']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', metavar='CONFIG', help='segmentation config in slide mode')
    parser.add_argument('--size', type=int, nargs=2, default=(2048, 1024), metavar=('WIDTH', 'HEIGHT'),
                        help='pixels of the image')
    parser.add_argument('--windows', type=int, nargs='+', default=[1, 2, 4], help='test_cfg.windows_at_once, each in turn')
    parser.add_argument('--turns', type=int, default=3, help='how often each is timed')
    parser.add_argument('--only', nargs='+', choices=PARTS, default=PARTS, help='what to measure')
    add_json(parser)
    args = parser.parse_args()
    require_least(args, 1, 'windows', 'size', 'turns')
    from nepa_mm.launch.read_config import read_config  # 0.2 s, which --help does without
    args.cfg = read_config(args.config)
    if (args.cfg.get('model') or {}).get('test_cfg', {}).get('mode') != 'slide':
        raise ConfigError('it has no model.test_cfg.mode=slide', args.config, 'give a segmentation config that has')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from mmseg.models import EncoderDecoder as MMSegEncoderDecoder
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from nepa_mm.analysis.cost.counted_step import PeakTracker, without_content
from nepa_mm.analysis.cost.training_step import give_memory, shape_of_model, without_checkpoints
from nepa_mm.analysis.cost.turns import take_turns


def slide(model: nn.Module, image: Tensor, windows: int | None) -> Tensor:
    """Logits of an image [1, 3, H, W] by so many windows at once; by mmseg's loop for None."""
    shape = tuple(image.shape[2:])
    metas = [dict(ori_shape=shape, img_shape=shape, pad_shape=shape)]
    with torch.no_grad():
        if windows is None:
            return MMSegEncoderDecoder.slide_inference(model, image, metas)
        model.test_cfg.windows_at_once = windows
        return model.slide_inference(image, metas)


def name_of_way(windows: int | None) -> str:
    return 'mmseg' if windows is None else f'{windows} at once'


def counted_memory(cfg: Config, size: tuple[int, int], windows: int | None) -> int:
    """Bytes of all tensors when they are the most, weights too; nothing is computed."""
    model, memory = shape_of_model(cfg), PeakTracker()

    def encode_decode(*args):
        memory.reset_mod_stats()  # of single modules, which it keeps for one call alone
        return type(model).encode_decode(model, *args)

    model.encode_decode = encode_decode
    # mmseg asks whether a window saw each pixel, which tensors without content cannot say
    with without_content() as mode, mock.patch.object(FakeTensor, '__bool__', lambda tensor: True):
        give_memory(model)
        model.train(False)
        image = mode.from_tensor(torch.empty(1, 3, *size))
        memory.track_external(model)
        with memory:
            slide(model, image, windows)
    return sum(kinds['Total'] for kinds in memory.get_tracker_snapshot('peak').values())


def measured_memory(model: nn.Module, image: Tensor, windows: int | None) -> int:
    """Bytes that a GPU has given away when they are the most."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    slide(model, image, windows)
    return torch.cuda.max_memory_allocated()


def compare(model: nn.Module, image: Tensor, ways: list[int]) -> dict[str, dict[str, float]]:
    """How far logits of each way are from mmseg's, and pixels of another class."""
    exact, result = slide(model, image, None), {}
    for windows in ways:
        found = slide(model, image, windows)
        result[name_of_way(windows)] = dict(off=((found - exact).abs().max() / exact.abs().max()).item(),
                                            pixels=(found.argmax(1) != exact.argmax(1)).sum().item())
    return result


def main(args: argparse.Namespace) -> None:
    on_gpu = torch.cuda.is_available()
    cfg, size, ways = without_checkpoints(args.cfg), tuple(args.size[::-1]), [None, *args.windows]
    rows = {name_of_way(windows): {} for windows in ways}
    torch.manual_seed(0)
    model, image = revert_sync_batchnorm(MODELS.build(cfg.model)).eval(), torch.randn(1, 3, *size)
    if on_gpu:
        model, image = model.cuda(), image.cuda()
    for windows in ways if 'memory' in args.only else ():
        rows[name_of_way(windows)]['bytes'] = (
            measured_memory(model, image, windows) if on_gpu else counted_memory(cfg, size, windows))
    if 'time' in args.only:
        for name, found in compare(model, image, args.windows).items():
            rows[name].update(found)
        clock = time.perf_counter if on_gpu else time.process_time
        times = take_turns({name_of_way(windows): partial(slide, model, image, windows) for windows in ways}, args.turns, clock)
        for name, each in times.items():
            rows[name].update(seconds=statistics.median(each), faster=ratios(times['mmseg'], each))
    show(f'{Path(args.config).stem}, {args.size[0]} x {args.size[1]}', rows)
    args.json.write(dict(config=args.config, size=list(args.size), device=torch.cuda.get_device_name() if on_gpu else 'cpu',
                         torch=torch.__version__, threads=torch.get_num_threads(), rows=rows))


def show(title: str, rows: dict[str, dict]) -> None:
    """Print a table in Markdown; what was not measured stays empty."""
    columns = {'peak memory, MiB': ('bytes', lambda count: f'{count / 2**20:.0f}'), 's': ('seconds', '{:.2f}'.format),
               'times as fast': ('faster', spread), 'logits off': ('off', '{:.1e}'.format),
               'pixels of another class': ('pixels', str)}
    print('\n' + markdown(' | '.join([title, *columns]), (
        [name, *(say(row[key]) if key in row else '' for key, say in columns.values())] for name, row in rows.items())))


run_command(main, args)
