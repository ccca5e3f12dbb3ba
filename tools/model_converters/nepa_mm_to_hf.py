"""Convert a checkpoint of ours to a folder that the authors' classes (Hugging Face) load strictly."""
from nepa_mm.arguments import parse_conversion
from nepa_mm.errors import one_line_errors

if __name__ == '__main__':
    args = parse_conversion(
        __doc__,
        src='checkpoint of a training, converted or published',
        dst='folder to write',
        ema='take the averaged weights; default: the raw ones')
    with one_line_errors():
        from nepa_mm.checkpoints.convert import mm_to_hf  # with torch
        print(mm_to_hf(args.src, args.dst, args.ema))
