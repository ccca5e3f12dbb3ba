"""Write the weights of a training for others: no optimizer, no logs, the SHA-256 in the name."""
from nepa_mm.checkpoints.convert import command, publish

if __name__ == '__main__':
    command(
        publish, __doc__,
        src='checkpoint of a training',
        dst='NAME or NAME.safetensors, or NAME.pth; becomes NAME-0123abcd.*',
        ema='take the averaged weights; default: the raw ones')
