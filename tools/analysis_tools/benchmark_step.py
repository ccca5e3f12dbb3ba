"""Compare two settings of one pretraining config by the time of a training step, in turns: A, B, A, B, ...

    python tools/analysis_tools/benchmark_step.py CONFIG --batch-size 8 --b model.backbone.compile=True model.head.compile=True

Images are random. Parts are timed with the device waited for after each, so that a step here is a little longer than in training;
the ratio is that of neighbouring steps. Other work on the machine shows in the median and less in the minimum; with
OMP_NUM_THREADS=1 a CPU's times are those of the process alone.
"""
import argparse
import json
import platform
import time
from statistics import median

import torch
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from nepa_mm.errors import one_line_errors

CLOCKS = dict(process=time.process_time, wall=time.perf_counter)
PARTS = ('forward', 'backward', 'optimizer', 'ema')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a NEPA pretraining')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='settings of both')
    parser.add_argument('--a', nargs='+', action=DictAction, default={}, help='settings of A alone, KEY=VALUE')
    parser.add_argument('--b', nargs='+', action=DictAction, default={}, help='settings of B alone')
    parser.add_argument('--batch-size', type=int, required=True)
    parser.add_argument('--steps', type=int, default=10, help='measured steps of each, after three that are not')
    parser.add_argument('--out', help='JSON file for the result')
    return parser.parse_args()


def clock_of(device: str) -> str:
    """On one CPU thread, that of the process, which does not run while others have the core."""
    return 'process' if device == 'cpu' and torch.get_num_threads() == 1 else 'wall'


class Side:
    """One of the two settings, ready to take steps."""

    def __init__(self, cfg: Config, device: str) -> None:
        torch.manual_seed(0)
        self.device = device
        self.model = MODELS.build(cfg.model).to(device).train()
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        averages = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] == 'EMAHook']
        self.ema = averages and MODELS.build(dict(
            type=averages[0].get('ema_type', 'ExponentialMovingAverage'), model=self.model, momentum=averages[0]['momentum']))

    def now(self) -> float:
        """The time in ms, once the device has done its work."""
        if self.device == 'cuda':
            torch.cuda.synchronize()
        return CLOCKS[clock_of(self.device)]() * 1000

    def step(self, images: torch.Tensor) -> dict[str, float]:
        """Milliseconds of the parts of a step on images [B, 3, H, W]."""
        times = [self.now()]
        with self.optim_wrapper.optim_context(self.model):
            loss = self.model.loss(images)['loss']
        times.append(self.now())
        loss.backward()
        times.append(self.now())
        self.optim_wrapper.step()
        self.optim_wrapper.zero_grad()
        times.append(self.now())
        if self.ema:
            self.ema.update_parameters(self.model)
        times.append(self.now())
        return {**{part: end - begin for part, begin, end in zip(PARTS, times, times[1:])}, 'step': times[-1] - times[0]}


def main() -> None:
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    sides = []
    for options in (args.a, args.b):
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict({**args.cfg_options, **options})
        init_default_scope(cfg.default_scope)
        sides.append(Side(cfg, device))
    images = torch.randn(args.batch_size, 3, *[cfg.model.backbone.img_size] * 2, device=device)
    pairs = [[side.step(images) for side in sides] for _ in range(3 + args.steps)][3:]
    times = {name: {part: [pair[i][part] for pair in pairs] for part in (*PARTS, 'step')} for i, name in enumerate('ab')}
    ratios = [b / a for a, b in zip(times['a']['step'], times['b']['step'])]
    result = dict(
        config=args.config,
        both=args.cfg_options,
        a=args.a,
        b=args.b,
        batch_size=args.batch_size,
        steps=args.steps,
        device=torch.cuda.get_device_name() if device == 'cuda' else platform.processor() or 'cpu',
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        clock=clock_of(device),
        ms={name: {part: dict(min=round(min(values), 3), median=round(median(values), 3)) for part, values in parts.items()}
            for name, parts in times.items()},
        b_over_a=dict(of_minima=round(min(times['b']['step']) / min(times['a']['step']), 3),
                      median_of_pairs=round(median(ratios), 3), lowest=round(min(ratios), 3), highest=round(max(ratios), 3)))
    print(json.dumps(result, indent=1))
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(result, file, indent=1)


if __name__ == '__main__':
    with one_line_errors():
        main()
