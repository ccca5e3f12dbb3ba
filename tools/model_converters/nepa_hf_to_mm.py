"""Convert a checkpoint of the authors' release (Hugging Face) to ours."""
from nepa_mm.arguments import parse_conversion
from nepa_mm.errors import one_line_errors

if __name__ == '__main__':
    args = parse_conversion(
        __doc__,
        src='folder, file, or id of a Hugging Face repository (ORG/NAME[@REVISION])',
        dst='file to write, .pth or .safetensors',
        ema='take the averaged weights, pytorch_model_ema.bin')
    with one_line_errors():
        from nepa_mm.checkpoints.convert import hf_to_mm  # with torch
        print(hf_to_mm(args.src, args.dst, args.ema))
