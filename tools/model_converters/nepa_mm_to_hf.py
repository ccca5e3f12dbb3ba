"""Convert a checkpoint of ours to a folder that the authors' classes (Hugging Face) load strictly."""
import argparse
from pathlib import Path

from nepa_mm.checkpoints.convert import mm_to_hf
from nepa_mm.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', metavar='SRC', help='checkpoint of a training, converted or published')
    parser.add_argument('dst', metavar='DST', type=Path, help='folder to write')
    parser.add_argument('--ema', action='store_true', help='take the averaged weights; default: the raw ones')
    return parser.parse_args()


if __name__ == '__main__':
    with one_line_errors():
        args = parse_args()
        print(mm_to_hf(args.src, args.dst, args.ema))
