"""Convert a published ViT with timm's names (DINO, iBOT, I-JEPA, MAE, MoCo v3, BEiT) for mmpretrain's backbones."""
import argparse
from pathlib import Path

import torch

from nepa_mm.checkpoints.timm_keys import (
    DROPPED,
    KEYS,
    extract_state_dict,
    resize_relative_positions,
    timm_to_mmpretrain,
)
from nepa_mm.errors import CheckpointError, one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', metavar='SRC', type=Path, help='published checkpoint: .safetensors, or what torch.save wrote')
    parser.add_argument('dst', metavar='DST', type=Path, help="file to write; its weights have the prefix 'backbone.'")
    parser.add_argument('--key', help=f'entry of SRC with the encoder; default: the first there is of {", ".join(KEYS)}')
    parser.add_argument('--grid', type=int, help="patches along a side, to resize BEiT's tables of relative positions for")
    return parser.parse_args()


def read(path: Path) -> dict:
    """What a checkpoint holds; code in it is never run."""
    if not path.is_file():
        raise CheckpointError(f'SRC={str(path)!r}: there is no such file')
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # DINO and iBOT keep their arguments beside the weights
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # many kinds: another format, a cut file, code inside
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f'SRC={str(path)!r} cannot be read as a checkpoint of weights alone ({reason})') from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'SRC={str(path)!r} holds a {type(checkpoint).__name__}, not a dict of weights')
    return checkpoint


def main() -> None:
    args = parse_args()
    if args.dst.exists():
        raise CheckpointError(f'DST={str(args.dst)!r} exists and would be written over; remove it or choose another name')
    state_dict = extract_state_dict(read(args.src), args.key)
    converted = timm_to_mmpretrain(state_dict)
    if args.grid is not None:
        converted = resize_relative_positions(converted, args.grid)
    args.dst.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict={f'backbone.{name}': value for name, value in converted.items()}), args.dst)
    dropped = [name for name in state_dict if name.startswith(DROPPED)]
    print(f'{args.dst}: {len(converted)} tensors renamed, {len(dropped)} dropped{": " if dropped else ""}{", ".join(dropped)}')


if __name__ == '__main__':
    with one_line_errors():
        main()
