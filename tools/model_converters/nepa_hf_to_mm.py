"""Convert a checkpoint of the authors' release (Hugging Face) to ours."""
from nepa_mm.checkpoints.convert import command, hf_to_mm

if __name__ == '__main__':
    command(
        hf_to_mm, __doc__,
        src='folder, file, or id of a Hugging Face repository (ORG/NAME[@REVISION])',
        dst='file to write, .pth or .safetensors',
        ema='take the averaged weights, pytorch_model_ema.bin')
