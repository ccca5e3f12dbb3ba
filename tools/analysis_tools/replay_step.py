"""Do one step of a training again, in one process, and see where its first bad number appears.

    python tools/analysis_tools/replay_step.py work_dirs/pretrain              # the step at which it diverged, or the newest
    python tools/analysis_tools/replay_step.py work_dirs/pretrain --step 1201  # from the checkpoint of step 1200

Nothing is written there. On the machine, versions and threads of the training the loss has the same bits.
"""
import argparse
from functools import partial
from pathlib import Path

from nepa_mm.arguments import Options
from nepa_mm.errors import end_on_interrupt, run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='of a training')
    parser.add_argument('--step', type=int, help='counted from 1; default: the one that diverged, else that behind the newest '
                        'checkpoint, which a fault may have ended')
    parser.add_argument('--rank', type=int, help='of the process; default: the one that saw a bad loss; for a bad gradient, '
                        'which is a mean, each in turn until one has it')
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument('--cfg-options', nargs='+', action=Options, help='replace settings, such as the place of the images')
    return parser.parse_args()


if __name__ == '__main__':
    end_on_interrupt()

args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.analysis.replay.replayed_step import replay
from nepa_mm.analysis.replay.report import report_images, report_numbers, report_step
from nepa_mm.analysis.replay.saved_steps import find_step


def main(args: argparse.Namespace) -> None:
    saved = find_step(args.work_dir, args.step, args.cfg_options)
    for rank in saved.ranks(args.rank):
        replayed = replay(saved, rank, args.device, say_images=partial(report_images, saved, rank))
        if replayed.is_bad:
            break
    report_step(saved, rank, replayed)
    report_numbers(replay(saved, rank, args.device, compiles=False) if replayed.is_compiled else replayed)


run_command(main, args)
