"""Write the weights of a training for others: no optimizer, no logs, the SHA-256 in the name."""
import argparse
from pathlib import Path

from nepa_mm.checkpoints.convert import publish
from nepa_mm.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', metavar='SRC', help='checkpoint of a training')
    parser.add_argument('dst', metavar='DST', type=Path, help='NAME or NAME.safetensors, or NAME.pth; becomes NAME-0123abcd.*')
    parser.add_argument('--ema', action='store_true', help='take the averaged weights; default: the raw ones')
    return parser.parse_args()


if __name__ == '__main__':
    with one_line_errors():
        args = parse_args()
        print(publish(args.src, args.dst, args.ema))
