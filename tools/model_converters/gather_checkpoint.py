"""Write a checkpoint that the processes of a training saved in pieces, which is a folder, as one file."""
from nepa_mm.checkpoints.convert import command, gather

if __name__ == '__main__':
    command(
        gather, __doc__,
        src='folder of a checkpoint in pieces',
        dst='NAME.pth, with all that a training goes on from, or NAME.safetensors, with the weights alone',
        ema='for .safetensors: take the averaged weights; default: the raw ones')
