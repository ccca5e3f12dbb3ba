"""Convert a published ViT with timm's names (DINO, iBOT, I-JEPA, MAE, MoCo v3, BEiT, DeiT) for mmpretrain's backbones."""
import argparse
from pathlib import Path

from nepa_mm.arguments import require_least
from nepa_mm.errors import run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', metavar='SRC', type=Path, help='published checkpoint: .safetensors, or what torch.save wrote')
    parser.add_argument('dst', metavar='DST', type=Path, help="file to write; its weights have the prefix 'backbone.'")
    parser.add_argument('--key', help='entry of SRC with the encoder; default: the first there is of target_encoder, teacher, '
                        'state_dict, model, encoder, student')
    parser.add_argument('--grid', type=int, help="patches along a side, to resize BEiT's tables of relative positions for")
    args = parser.parse_args()
    require_least(args, 1, 'grid')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.checkpoints.convert import check_suffix, write_weights
from nepa_mm.checkpoints.fitting.timm_keys import DROPPED, extract_state_dict, resize_relative_positions, timm_to_mmpretrain
from nepa_mm.checkpoints.storage.files import read_checkpoint


def main(args: argparse.Namespace) -> None:
    check_suffix(args.dst)
    checkpoint = read_checkpoint(args.src, more=[argparse.Namespace])  # DINO and iBOT keep their arguments beside the weights
    state_dict = extract_state_dict(checkpoint, args.key)
    converted = timm_to_mmpretrain(state_dict)
    if args.grid is not None:
        converted = resize_relative_positions(converted, args.grid)
    write_weights(args.dst, {f'backbone.{name}': value for name, value in converted.items()}, meta={})
    dropped = [name for name in state_dict if name.startswith(DROPPED)]
    print(f'{args.dst}: {len(converted)} tensors renamed, {len(dropped)} dropped{": " if dropped else ""}{", ".join(dropped)}')


run_command(main, args)
