"""Convert a checkpoint of ours to a folder that the authors' classes (Hugging Face) load strictly."""
from nepa_mm.checkpoints.convert import command, mm_to_hf

if __name__ == '__main__':
    command(
        mm_to_hf, __doc__,
        src='checkpoint of a training, converted or published',
        dst='folder to write',
        ema='take the averaged weights; default: the raw ones')
