"""Write the weights of a training for others: no optimizer, no logs, the SHA-256 in the name."""
from nepa_mm.arguments import parse_conversion
from nepa_mm.errors import one_line_errors

if __name__ == '__main__':
    args = parse_conversion(
        __doc__,
        src='checkpoint of a training',
        dst='NAME or NAME.safetensors, or NAME.pth; becomes NAME-0123abcd.*',
        ema='take the averaged weights; default: the raw ones')
    with one_line_errors():
        from nepa_mm.checkpoints.convert import publish  # with torch
        print(publish(args.src, args.dst, args.ema))
