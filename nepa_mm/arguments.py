"""Arguments that commands share. Nothing is imported here that takes time: --help and what is wrong in a command come at once."""
import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from .errors import ConfigError
from .new_files import require_new

MODEL_HELP = ('checkpoint of ours, hf:FOLDER or hf:ORG/NAME in the released format, raw:PATH or ema:PATH for one of the two '
              'weights of a training; or a config file, with --checkpoint')
INPUT_HELP = 'images, folders, and .txt files with a path on each line, as of the frames of a video'
MAX_BATCH = 256  # of an exported graph
ON_GPU, ELSEWHERE = 128, 8  # images at once in inference, unless told
SPACE = '\0'  # while an option is read; none can have it


class Options(argparse.Action):
    """mmengine's ``DictAction``, which leaves spaces inside a text, and whose errors are those of the command line."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Sequence[str], *args) -> None:
        from mmengine.config import DictAction  # 0.2 s, of commands that have options
        action = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        kept = [re.sub(r'(?<=[^\s=,([]) +(?=[^\s=,)\]])', lambda spaces: len(spaces[0]) * SPACE, option) for option in values]
        try:
            action(parser, namespace, kept, *args)
            setattr(namespace, self.dest, with_spaces(getattr(namespace, self.dest)))
        except (AssertionError, ValueError):
            parser.error(f'{self.option_strings[0]} takes KEY=VALUE, lists as KEY="[a,b]"')
        for key, _, value in (option.partition('=') for option in values):
            if value.startswith('{'):  # which would be cut at its commas
                parser.error(f'{self.option_strings[0]} {key}: a dict is given by its parts, {key}.NAME=VALUE ..., and '
                             f'{key}._delete_=True before them if the config has None or another kind there')


def with_spaces(value):
    """An option's value with the spaces that stood in its texts."""
    if isinstance(value, dict):
        return {key: with_spaces(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(with_spaces, value))
    return value.replace(SPACE, ' ') if isinstance(value, str) else value


def require_config(path: str | Path) -> None:
    """Refuse a config that is not there, by a ConfigError."""
    if not Path(path).is_file():
        raise ConfigError('there is no such config file', str(path), 'give the path of a config')


def require_least(args: argparse.Namespace, least: int, *names: str) -> None:
    """Refuse options, each a number or a list of some, with less; None is not asked for."""
    for name in names:
        value = getattr(args, name)
        for number in value if isinstance(value, (list, tuple)) else [value]:
            if number is not None and number < least:
                raise ConfigError(f'{number} is less than {least}', f'--{name.replace("_", "-")}', f'give {least} or more')


def add_run(parser: argparse.ArgumentParser) -> None:
    """Arguments that mm users know from both tools, for :func:`load_config`."""
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: work_dirs/<config name>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        help='override settings of the config, e.g. optim_wrapper.optimizer.lr=1e-4 or key="[a,b]" or key=a,b')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by some launchers')
    parser.add_argument('--no-pin-memory', action='store_true', help='loaders do not pin memory')


def add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('inputs', metavar='INPUT', nargs='+', help=INPUT_HELP)


def add_model(parser: argparse.ArgumentParser, device: str | None = None, by_name: bool = False) -> None:
    """A model, for :func:`model_of`.

    Args:
        device: Where the model is by default; None is a GPU where there is one.
        by_name: Leave out ``MODEL`` itself, as the command finds it among its other arguments.
    """
    if not by_name:
        parser.add_argument('model', metavar='MODEL', help=MODEL_HELP)
    parser.add_argument('--checkpoint', help='weights for a config file')
    usual = device or 'cuda where there is one'
    parser.add_argument('--device', default=device, help=f'cpu, cuda, cuda:1, ...; default: {usual}')
    parser.add_argument('--cfg-options', nargs='+', action=Options,
                        help='settings of the config to override, KEY=VALUE; of a checkpoint alone, model.backbone.*')


def add_inference(parser: argparse.ArgumentParser) -> None:
    """Arguments of all the commands of inference, by the hosts' names."""
    add_inputs(parser)
    add_model(parser)
    parser.add_argument('--batch-size', type=int, help=f'images at once; default: {ON_GPU} on a GPU, {ELSEWHERE} on a CPU and '
                        'for segmentation')
    parser.add_argument('--workers', type=int, help='processes that read and prepare images, 0 for none; default: one a core')
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16, in about two thirds of the time')
    parser.add_argument('--compile', action='store_true', help='compile the backbone, for many images: that takes a minute')


def add_ranking(parser: argparse.ArgumentParser, topk: int, ranked: str) -> None:
    """The best of each image, for :func:`rank`."""
    parser.add_argument('--topk', type=int, default=topk, help=f'{ranked}, best first; default: {topk}')
    parser.add_argument('--out', type=Path, help='JSON file, or table if it ends in .csv, to write them and their scores to')
    parser.add_argument('--show-dir', type=Path, help='folder to write the images with what was found to')


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse batches and workers that cannot be."""
    require_least(args, 1, 'batch_size')
    require_least(args, 0, 'workers')


def check_topk(topk: int, count: int, of: str) -> None:
    """Refuse a number of what there is less of."""
    if not 1 <= topk <= count:
        raise ConfigError(f'{topk} is not in [1, {count}], {of}', '--topk', 'choose from these')


def add_drawing(parser: argparse.ArgumentParser, model_by_name: bool = False) -> None:
    """Of the tools of visualization: the model, what the images are scaled to, and whether a file may be replaced."""
    add_model(parser, device='cpu', by_name=model_by_name)
    parser.add_argument('--size', type=int, nargs='+', metavar='PIXELS',
                        help='height and width that the middle of each image is scaled to; default: those of the checkpoint')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that is there')


def parsed_query(text: str) -> tuple[int, int]:
    """Row and column of '3,4'; ConfigError for anything else."""
    match = re.fullmatch(r'(-?\d+),(-?\d+)', text)
    if not match:
        raise ConfigError(f'{text!r} is no patch', '--queries', 'give its row and column, counted from 0, as 3,4')
    return int(match[1]), int(match[2])


def parsed_choice(option: str, values: Sequence[str]) -> str | list[int]:
    """'all', 'mean' or indices; ConfigError for anything else."""
    if list(values) in (['all'], ['mean']):
        return values[0]
    if not all(re.fullmatch(r'-?\d+', value) for value in values):
        raise ConfigError(f'{" ".join(values)} is none of what can be chosen', option, "give 'all', 'mean' or a list of numbers")
    return [int(value) for value in values]


def parse_conversion(description: str, src: str, dst: str, ema: str) -> argparse.Namespace:
    """The command line of a conversion; ``src``, ``dst`` and ``ema`` say what is asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('src', metavar='SRC', help=src)
    parser.add_argument('dst', metavar='DST', type=Path, help=dst)
    parser.add_argument('--ema', action='store_true', help=ema)
    return parser.parse_args()


def parse_export(description: str, suffix: str) -> argparse.Namespace:
    """The command line of an export to a kind of file."""
    parser = argparse.ArgumentParser(description=description)
    add_model(parser, device='cpu')
    # With no default of its own, which would replace what --checkpoint gives
    parser.add_argument('checkpoint', metavar='CHECKPOINT', nargs='?', default=argparse.SUPPRESS, help='as --checkpoint')
    parser.add_argument('--output-file', type=Path, default=Path(f'model{suffix}'), help=f'file to write; default: model{suffix}')
    parser.add_argument('--shape', type=int, nargs='+', metavar=('H', 'W'), help="image size in pixels; default: the config's")
    parser.add_argument('--dynamic-shape', action='store_true', help='images of any whole number of patches; --shape is traced')
    parser.add_argument('--normalize', choices=['outside', 'inside'], default='outside',
                        help='outside (default): the graph takes normalised float32; inside: uint8 pixels from 0 to 255')
    parser.add_argument('--features', metavar='OUT_TYPE', help="what the backbone gives instead of the head's output: raw, "
                        'cls_token, last_token, avg_featmap, featmap or padded_featmap')
    parser.add_argument('--max-batch', type=int, default=MAX_BATCH, metavar='N', help='most images at once, for runtimes that '
                        f'plan memory for them; 1 fixes the number; default: {MAX_BATCH}')
    parser.add_argument('--argmax', action='store_true', help='segmentation: the class of each pixel instead of logits')
    parser.add_argument('--no-verify', action='store_true', help='do not compare with torch')
    if suffix == '.onnx':
        parser.add_argument('--opset-version', type=int, help="of ONNX's operators; default: PyTorch's")
    args = parser.parse_args()
    if args.shape is not None and (len(args.shape) > 2 or min(args.shape) < 1):
        parser.error(f'--shape {" ".join(map(str, args.shape))}: give one side or height and width, in pixels')
    if args.max_batch < 1:
        parser.error(f'--max-batch {args.max_batch}: give 1 or more')
    require_new(args.output_file, suffixes=[suffix])
    return args
