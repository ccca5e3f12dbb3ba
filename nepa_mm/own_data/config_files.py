"""A config and the lists beside it: written as a person would, tried where nobody looks, then put in their places."""
import os
import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config

import nepa_mm
from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks import SETTINGS, check_config
from nepa_mm.launch.read_config import read_config
from nepa_mm.new_files import new_file, require_new

WIDTH = 130
BASES = Path(nepa_mm.__file__).resolve().parent / '.mim/configs/_base_'
MOST = 40  # lines of a config that is read at a glance
TEXT_OR_SIGN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[][(){},]""")
LINES_OF_NAMES = 2  # of classes that stand in it; more go to a list beside it


@dataclass
class ConfigFiles:
    """What is to be written.

    Args:
        path: Of the config.
        lists: Texts of the files beside it, by the ends of their names, such as 'train.txt'.
    """
    path: Path
    lists: dict[str, str] = field(default_factory=dict)

    def beside(self, end: str) -> str:
        """How the config names a file beside it."""
        return f'{{{{ fileDirname }}}}/{self.name_of(end)}'

    def name_of(self, end: str) -> str:
        return f'{self.path.stem}_{end}'

    def require_new(self) -> None:
        """
        Raises:
            ConfigError: If one of the files is there already, or none can be written there.
        """
        require_new(self.path, suffixes=['.py'])
        require_new(*(self.path.with_name(self.name_of(end)) for end in self.lists))

    def tried(self, text: str, splits: Sequence[str]) -> Config:
        """The config as the tools read it, with all checks of its settings."""
        with TemporaryDirectory() as folder:
            there = ConfigFiles(Path(folder) / self.path.name, self.lists)
            there.write(text, new=False)
            cfg = read_config(str(there.path))
        check_config(cfg, tuple(splits), SETTINGS)
        return cfg

    def write(self, text: str, new: bool = True) -> list[Path]:
        """Write all, the config last, and give back their paths."""
        files = {self.name_of(end): content for end, content in self.lists.items()}
        files[self.path.name] = text.replace('BASES', bases_from(self.path.parent, new))
        for name, content in files.items():
            if new:
                with new_file(self.path.with_name(name)) as file:
                    file.write_text(content)
            else:
                self.path.with_name(name).write_text(content)
        return [self.path.with_name(name) for name in files]


def bases_from(folder: Path, relative: bool) -> str:
    """Where the bases of configs are, as a config in a folder names them: from itself, within one tree of work."""
    bases, folder = BASES.resolve(), folder.resolve()
    near = Path(os.path.commonpath([bases, folder])) != Path(folder.anchor)
    return os.path.relpath(bases, folder) if relative and near else str(bases)


def header(title: str, path: Path) -> list[str]:
    """The first lines of a config: what it is, and its command."""
    said = textwrap.wrap(f'{title} By tools/new_config.py, to be edited.', WIDTH - 2)
    return [*(f'# {line}' for line in said), '#', f'#   python tools/train.py {shlex.quote(str(path))}']


def text_of(lines: Sequence[str]) -> str:
    """A config of these lines, each as long as they may be."""
    return '\n'.join(part for line in lines for part in laid_out(line.lstrip(' '), len(line) - len(line.lstrip(' ')))) + '\n'


def base_lines(*names: str) -> list[str]:
    """``_base_`` of files of configs/_base_."""
    return [f"_base_ = ['BASES/' + name for name in {tuple(f'{name}.py' for name in names)}]", '']


def class_lines(classes: Sequence[str], files: ConfigFiles) -> list[str]:
    """The names of classes, where they are few; else where the list of them is, which is added to the files."""
    line = f'classes = {list(classes)!r}'
    if len(laid_out(line)) <= LINES_OF_NAMES:
        return [line]
    if any('\n' in name for name in classes):
        raise ConfigError('a name of a class has two lines', str(files.path), 'rename it')
    files.lists['classes.txt'] = '\n'.join(classes) + '\n'
    return [f"classes = '{files.beside('classes.txt')}'  # a name on each line"]


def laid_out(line: str, indent: int = 0) -> list[str]:
    """A line of a config, or where it is too long several: what is between its first brackets goes to lines of its own."""
    blank = ' ' * indent
    first = bracket_in(line)
    if len(blank + line) <= WIDTH or first is None or line.startswith('#'):
        return [blank + line]
    inside, rest = parts_of(line[first + 1:])
    last = bracket_in(inside[-1])
    head = blank + line[:first + 1] + ''.join(f'{part}, ' for part in inside[:-1])
    if last is not None and inside[-1].endswith((')', ']')) and len(head) + last < WIDTH:
        there = head + inside[-1][:last + 1]  # the last argument alone is broken
        inside, after = parts_of(inside[-1][last + 1:])
        rest = after + rest
    else:
        there = blank + line[:first + 1]
    lines, room = [there], ' ' * 4
    for number, part in enumerate(inside):
        part += ',' if number < len(inside) - 1 else rest
        if lines[-1].startswith(blank + room) and len(f'{lines[-1]} {part}') <= WIDTH:
            lines[-1] += f' {part}'
        else:
            lines += laid_out(part, indent + 4)
    return lines


def bracket_in(text: str) -> int | None:
    """Where the first bracket opens that holds something and is not within quotes."""
    return next((match.start() for match in TEXT_OR_SIGN.finditer(text)
                 if match[0] in '([' and text[match.end():match.end() + 1] not in ')]'), None)


def parts_of(text: str) -> tuple[list[str], str]:
    """What commas separate up to the closing bracket, and that bracket with what follows it."""
    parts, depth, start = [], 0, 0
    for match in TEXT_OR_SIGN.finditer(text):
        sign = match[0]
        if sign in '([{':
            depth += 1
        elif sign in ')]}' and depth:
            depth -= 1
        elif sign in ',)]' and not depth:
            parts.append(text[start:match.start()].strip())
            start = match.end()
            if sign != ',':
                parts = [part for part in parts if part] if len(parts) != 2 or parts[1] else [f'{parts[0]},']  # of a tuple of one
                return parts, text[match.start():]
    return [text], ''


def call(name: str, /, **arguments) -> str:
    """``name(key=value, ...)``; values that are :class:`Code` stand as they are."""
    return f'{name}({", ".join(f"{key}={code(value)}" for key, value in arguments.items())})'


class Code(str):
    """A piece of a config, not a text in it."""


def code(value) -> str:
    """A value as it stands in a config: dicts by ``dict()``."""
    if isinstance(value, Code):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) and key.isidentifier() for key in value):
        return call('dict', **value)
    if isinstance(value, dict):
        return '{' + ', '.join(f'{key!r}: {code(part)}' for key, part in value.items()) + '}'
    if isinstance(value, list) and len(value) > 1 and len({repr(part) for part in value}) == 1:
        return f'[{code(value[0])}] * {len(value)}'
    if isinstance(value, (list, tuple)):
        inside = ', '.join(map(code, value))
        return f'[{inside}]' if isinstance(value, list) else f'({inside}{"," * (len(value) == 1)})'
    return repr(value)
