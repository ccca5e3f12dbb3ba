"""Convert a checkpoint of the authors' release (Hugging Face) to ours."""
import argparse
from pathlib import Path

from nepa_mm.checkpoints.convert import hf_to_mm
from nepa_mm.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', metavar='SRC', help='folder, file, or id of a Hugging Face repository (ORG/NAME[@REVISION])')
    parser.add_argument('dst', metavar='DST', type=Path, help='file to write, .pth or .safetensors')
    parser.add_argument('--ema', action='store_true', help='take the averaged weights, pytorch_model_ema.bin')
    return parser.parse_args()


if __name__ == '__main__':
    with one_line_errors():
        args = parse_args()
        print(hf_to_mm(args.src, args.dst, args.ema))
