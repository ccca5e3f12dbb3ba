"""Write a config for data of your own.

    python tools/new_config.py pretrain photos/                  # images, with --from on from trained weights
    python tools/new_config.py classification photos/            # a folder of images for each class
    python tools/new_config.py classification labels.csv         # path,label on each line
    python tools/new_config.py segmentation scenes/              # images and their label maps

It looks at the data, chooses settings that fit it and this machine, and prints both with the next command. Nothing in the data
is changed. Each setting has an option, by which it is as you say.
"""
import argparse
import os
from pathlib import Path

from nepa_mm.arguments import require_least
from nepa_mm.errors import ConfigError, one_line_errors

TASKS = ('pretrain', 'classification', 'segmentation')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', metavar='TASK', choices=TASKS, help=', '.join(TASKS))
    parser.add_argument('data', metavar='DATA', type=os.path.normpath,
                        help='folder of your data; of classification also a table of path,label')
    parser.add_argument('--from', dest='model', metavar='MODEL', help='weights to start from: a checkpoint, hf:FOLDER or '
                        "hf:ORG/NAME; 'none' for none; default: the released ones on a GPU, none on a CPU")
    parser.add_argument('-o', '--output', type=Path, metavar='FILE', help='config to write; default: DATA_TASK.py, here')
    add_data(parser.add_argument_group('what is in the data'))
    add_settings(parser.add_argument_group('settings; default: chosen'))
    args = parser.parse_args()
    for name, value in vars(args).items():
        if isinstance(value, (int, float)) and name != 'seed' and not isinstance(value, bool) and value <= 0:
            raise ConfigError(f'{value} is too small', f'--{name.replace("_", "-")}', 'give more than 0')
    require_least(args, 0, 'seed')
    for name in ('val_share', 'layer_decay', 'one_channel'):
        value = getattr(args, name)
        if value is not None and not 0 < value <= 1:
            raise ConfigError(f'{value} is not in (0, 1]', f'--{name.replace("_", "-")}', 'give a share, such as 0.1')
    return args


def add_data(group) -> None:
    """Options that say what the data means."""
    group.add_argument('--val-share', type=float, help='of the images of each class that validate, where no folder says which')
    group.add_argument('--seed', type=int, help='of their drawing; default: 0')
    group.add_argument('--channels', type=int, metavar='N', help='of the images: 3 for RGB, or as many as the files hold, which '
                       'stay as they are; default: RGB of photographs')
    group.add_argument('--class-level', type=int, default=1, help='folders that make the name of a class; default: %(default)s')
    group.add_argument('--mask-suffix', metavar='END', help="how names of label maps end, as _mask.png, where words don't say it")
    group.add_argument('--image-suffix', metavar='END', help='how names of their images end, then')
    group.add_argument('--classes', type=Path, metavar='FILE', help='text file of names of classes, with colours or values')
    group.add_argument('--ignore', type=int, nargs='+', metavar='VALUE', help='values of label maps that are no class')
    group.add_argument('--leave-out-broken', action='store_true', help='go on without files that cannot be loaded')
    group.add_argument('--look-at', type=int, default=20_000, metavar='N', help='images that are decoded; default: %(default)s')


def add_settings(group) -> None:
    """Options of the settings, by the names under which the table has them."""
    group.add_argument('--arch', choices=['mini', 'tiny', 'small', 'base', 'large', 'huge', 'giant'], help='size of the model')
    group.add_argument('--img-size', type=int, help='side of the images or crops that the model sees, in pixels')
    group.add_argument('--patch-size', type=int, help='side of a patch, in pixels')
    group.add_argument('--one-channel', type=float, nargs='?', const=0.5, metavar='THRESHOLD', help='for two classes: one output '
                       'with a sigmoid; default of the threshold: 0.5')
    group.add_argument('--effective-batch', type=int, help='images of an optimizer step')
    group.add_argument('--batch-size', type=int, help='of them, those on a device at a time')
    group.add_argument('--epochs', type=int, help='passes over the images, of pretraining and classification')
    group.add_argument('--iters', type=int, help='optimizer steps, of segmentation')
    group.add_argument('--lr', type=float, help='learning rate')
    group.add_argument('--layer-decay', type=float, help='learning rate of a layer over that of the next')
    group.add_argument('--ema-momentum', type=float, help='share of the new weights in their average')
    group.add_argument('--val-interval', type=int, help='epochs or steps between validations')
    group.add_argument('--workers', type=int, help='processes that read images, here and in the training')
    group.add_argument('--minutes', type=float, help='on a CPU: how long the training may take, by an estimate')
    group.add_argument('--memory', type=float, metavar='GIB', help="of the device, if it is not this machine's")
    group.add_argument('--cpu', action='store_true', help='choose as for a machine without a GPU')


if __name__ == '__main__':
    with one_line_errors():
        args = parse_args()  # what is wrong with them is said before the imports, which take seconds

from nepa_mm.own_data.new_config import new_config

if __name__ == '__main__':
    with one_line_errors():
        new_config(args)
