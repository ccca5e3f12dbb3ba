"""Write a checkpoint that the processes of a training saved in pieces, which is a folder, as one file."""
from nepa_mm.arguments import parse_conversion
from nepa_mm.errors import one_line_errors

if __name__ == '__main__':
    args = parse_conversion(
        __doc__,
        src='folder of a checkpoint in pieces',
        dst='NAME.pth, with all that a training goes on from, or NAME.safetensors, with the weights alone',
        ema='for .safetensors: take the averaged weights; default: the raw ones')
    with one_line_errors():
        from nepa_mm.checkpoints.convert import gather  # with torch
        print(gather(args.src, args.dst, args.ema))
