"""Figures of a measurement: ratios, tables in Markdown, and the file that they go to."""
import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from nepa_mm.errors import ConfigError
from nepa_mm.new_files import require_new


class JsonFile:
    """A file whose content figures replace, with its folder; none for no path.

    Raises:
        argparse.ArgumentTypeError: If there can be no such file, before anything is measured.
    """

    def __init__(self, path: str = '') -> None:
        self.path = Path(path) if path else None
        try:
            require_new(self.path, overwrite=True)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(error.line) from error

    def write(self, figures: dict | list) -> None:
        if self.path is not None:
            self.path.write_text(json.dumps(figures, indent=1) + '\n')


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--json', type=JsonFile, default=JsonFile(), metavar='FILE', help='file to write the figures to as well')


def ratios(one: Sequence[float], other: Sequence[float]) -> dict[str, float | list[float]]:
    """``one / other`` turn by turn: all of them, least, median, most."""
    pairs = [a / b for a, b in zip(one, other)]
    return dict(pairs=pairs, min=min(pairs), median=statistics.median(pairs), max=max(pairs))


def spread(found: dict) -> str:
    """:func:`ratios` in words: median (least to most)."""
    return '{median:.2f} ({min:.2f} to {max:.2f})'.format(**found)


def markdown(header: str, rows: Iterable[Sequence[str]]) -> str:
    """A table; the first of the columns, which ``|`` parts in the header, is of names, the others are of numbers."""
    lines = [f'| {header} |', f'| --- |{" ---: |" * header.count("|")}', *(f'| {" | ".join(row)} |' for row in rows)]
    return '\n'.join(lines)
