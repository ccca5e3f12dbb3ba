"""Output that is not finished: a command that is killed and started again goes on with it.

A folder holds ``unfinished.json``, which says what it is made of, until all is done. The rows of a table are kept there in
pieces, complete or not there, which any number of processes write without asking each other; :meth:`Rows.blocks` puts them in
order.
"""
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from mmengine.model import BaseModel

from nepa_mm.errors import ConfigError, is_first_process
from nepa_mm.new_files import UNFINISHED, new_file

from .several_processes import await_others

SECONDS, BYTES = 30, 2**24  # a piece is written after so long, or when it has so much


class Unfinished:
    """A folder that is written to until all is done: new, empty, or one that a command left with its record.

    The facts are what the output depends on, by name. ConfigError if the folder is of a command that something else was asked of.
    """

    def __init__(self, folder: Path, facts: dict[str, str]) -> None:
        self.folder, self.record = folder, folder / UNFINISHED
        if self.record.exists():
            begun = json.loads(self.record.read_text())
            others = sorted(key for key in begun.keys() | facts.keys() if begun.get(key) != facts.get(key))
            if others:
                raise ConfigError(f'it was begun with other {", ".join(others)}', str(folder),
                                  'give those, to go on; or remove it, to begin anew')
        await_others()  # until each has looked
        if is_first_process() and not self.record.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with new_file(self.record) as temporary:
                temporary.write_text(json.dumps(facts, indent=1) + '\n')
        await_others()

    def finish(self) -> None:
        self.record.unlink()


class Rows:
    """A table with a row for each image that was predicted, in the order of the images whatever the order of writing.

    Args:
        out: The file that is to be made of it: the rows are kept in the folder ``OUT.unfinished`` beside it. None keeps them in
            memory, and forgets them with the process.
    """

    def __init__(self, count: int, out: Path | None, facts: dict[str, str] | None = None) -> None:
        self.done = np.zeros(count, bool)
        self.unfinished = out and Unfinished(out.with_name(f'{out.name}.unfinished'), facts)
        self.pieces: list[Path | dict[str, np.ndarray]] = []
        self.waiting: list[dict[str, np.ndarray]] = []
        self.bytes, self.written = 0, time.monotonic()
        self.look()
        await_others()  # until each has looked

    def look(self) -> None:
        """See what all processes have written."""
        if self.unfinished:
            self.pieces = sorted(self.unfinished.folder.glob('*.npz'))
            for piece in self.pieces:
                with np.load(piece) as kept:
                    self.done[kept['index']] = True

    def add(self, indices: Sequence[int], columns: dict[str, np.ndarray]) -> None:
        """Rows of some images, by the names of the columns; what is there already is left out."""
        new = ~self.done[indices]
        if new.any():
            rows = dict(index=np.asarray(indices)[new], **{name: each[new] for name, each in columns.items()})
            self.waiting.append(rows)
            self.bytes += sum(column.nbytes for column in rows.values())
            self.done[indices] = True
        if self.bytes > BYTES or self.unfinished and time.monotonic() - self.written > SECONDS:
            self.write()

    def write(self) -> None:
        """Make a piece of what is waiting."""
        if self.waiting:
            piece = {name: np.concatenate([rows[name] for rows in self.waiting]) for name in self.waiting[0]}
            self.waiting = []
            if self.unfinished:
                path = self.unfinished.folder / f'{piece["index"][0]:010}-{uuid4().hex[:8]}.npz'
                with new_file(path) as temporary, open(temporary, 'wb') as file:
                    np.savez(file, **piece)
            else:
                self.pieces.append(piece)
        self.bytes, self.written = 0, time.monotonic()

    def indices(self) -> np.ndarray:
        return np.flatnonzero(self.done)

    def blocks(self) -> Iterator[dict[str, np.ndarray]]:
        """All rows in the order of the images, some at a time, with ``index``; after :meth:`write`, and :meth:`look`."""
        places = [np.stack([index, np.full_like(index, piece), np.arange(len(index))]) for piece, index in enumerate(
            self.read(piece)['index'] for piece in range(len(self.pieces)))]
        places = np.concatenate(places, axis=1) if places else np.empty((3, 0), int)
        _, first = np.unique(places[0], return_index=True)  # two processes may have had one image
        for piece, run in groupby(places[1:, first].T.tolist(), key=lambda place: place[0]):
            rows, columns = [row for _, row in run], self.read(piece)
            yield {name: columns[name][rows] for name in columns}

    def read(self, piece: int) -> dict[str, np.ndarray]:
        kept = self.pieces[piece]
        if isinstance(kept, Path):
            with np.load(kept) as file:
                return dict(file)
        return kept

    def finish(self) -> None:
        """The file is made of it: remove what was kept."""
        if self.unfinished:
            shutil.rmtree(self.unfinished.folder)


def facts_of(model: BaseModel, paths: Sequence[Path], **settings) -> dict[str, str]:
    """What the output of a model for images depends on, for :class:`Unfinished`."""
    weights = hashlib.sha256()
    for name, value in model.state_dict().items():
        weights.update(name.encode())
        weights.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    config = re.sub(r' at 0x[0-9a-f]+', '', str(model._config))
    return dict(images=digest('\n'.join(map(str, paths))), weights=weights.hexdigest(), config=digest(config),
                **{name: str(value) for name, value in settings.items()})


def digest(text: str) -> str:
    """A short stand-in for a text."""
    return hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()


def say_done(done: int, count: int) -> None:
    """Say on standard error how much an earlier run did."""
    if done and is_first_process():
        print(f'nepa_mm: {done} of {count} images are done already; it goes on with the others', file=sys.stderr)
