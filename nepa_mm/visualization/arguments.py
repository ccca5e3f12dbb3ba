"""Arguments that the tools of visualization share, and their checks."""
import argparse
import re
from collections.abc import Sequence

from nepa_mm.apis.arguments import add_model
from nepa_mm.errors import ConfigError


def add_shared_arguments(parser: argparse.ArgumentParser, model_by_name: bool = False) -> None:
    """The model, what the images are scaled to, and whether a file may be replaced."""
    add_model(parser, device='cpu', by_name=model_by_name)
    parser.add_argument('--size', type=int, nargs='+', metavar='PIXELS',
                        help='height and width that the middle of each image is scaled to; default: those of the checkpoint')
    parser.add_argument('--overwrite', action='store_true', help='replace a file that is there')


def parsed_query(text: str) -> tuple[int, int]:
    """Row and column of '3,4'.

    Raises:
        ConfigError: For anything else.
    """
    match = re.fullmatch(r'(-?\d+),(-?\d+)', text)
    if not match:
        raise ConfigError(f'{text!r} is no patch', '--queries', 'give its row and column, counted from 0, as 3,4')
    return int(match[1]), int(match[2])


def parsed_choice(option: str, values: Sequence[str]) -> str | list[int]:
    """'all', 'mean' or indices.

    Raises:
        ConfigError: For anything else.
    """
    if list(values) in (['all'], ['mean']):
        return values[0]
    if not all(re.fullmatch(r'-?\d+', value) for value in values):
        raise ConfigError(f'{" ".join(values)} is none of what can be chosen', option, "give 'all', 'mean' or a list of numbers")
    return [int(value) for value in values]
