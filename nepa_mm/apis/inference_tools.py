"""What the commands of inference share: the best of each image, names of pictures, and files."""
import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmpretrain.structures import DataSample

from nepa_mm.arguments import ELSEWHERE, ON_GPU
from nepa_mm.errors import is_first_process
from nepa_mm.launch.freed_memory import keep_freed_memory
from nepa_mm.new_files import new_file

from .images import loader_of, picture_at, preparation_of
from .load_model import model_of
from .run_model import Inference, exit_code
from .several_processes import await_others, join_processes
from .unfinished import Rows, Unfinished, say_done


def inference_of(args: argparse.Namespace, on_gpu: int = ON_GPU) -> Inference:
    """The model that the arguments of ``add_inference`` name, and how its images come to it.

    One of several processes has then joined the others. On a GPU it takes ``on_gpu`` images at once, unless the arguments say.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='surrogateescape')  # names of files may be any bytes
    model = model_of(args)
    load, prepare = loader_of(model), preparation_of(model)
    on_cpu = next(model.parameters()).device.type == 'cpu'
    if on_cpu and not hasattr(model, 'decode_head'):  # a segmentor of large images gives back what a window took
        keep_freed_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    workers = max(1, cores // int(os.environ.get('LOCAL_WORLD_SIZE', 1))) if args.workers is None else args.workers
    inference = Inference(model, load, prepare, args.batch_size or (ELSEWHERE if on_cpu else on_gpu), workers, args.amp,
                          args.compile)
    join_processes()
    return inference


def names_of_outputs(classes: Sequence[str], count: int) -> list[str]:
    """A name for each of the outputs of a head: the number of those that no class is named for."""
    return [*classes, *map(str, range(len(classes), count))]


def picture_paths(folder: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """Where pictures for images go: as the images lie to each other, with .png behind their names."""
    places = {path: Path(os.path.abspath(path)) for path in paths}  # of a link its own: what it leads to has another name
    common = os.path.commonpath([place.parent for place in places.values()])
    return {path: folder / f'{place.relative_to(common)}.png' for path, place in places.items()}


def label_map_paths(folder: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """Likewise where label maps go, by the names of a data set's, a.png for a.jpg; if two images would share one, as pictures."""
    pictures = picture_paths(folder, paths)
    maps = {path: picture.with_suffix('').with_suffix('.png') for path, picture in pictures.items()}
    return maps if len(set(maps.values())) == len(set(pictures.values())) else pictures


def rank(args: argparse.Namespace, inference: Inference, paths: Sequence[Path], predict: Callable, named: Callable,
         draw: Callable, facts: dict[str, str], choices: int, column: str = 'label') -> int:
    """Predict, and print, draw and write the best of each image, as the arguments of ``add_ranking`` say; gives the exit code.

    Args:
        predict: For :meth:`Inference.run`; gives ``scores`` and ``labels`` of the best.
        named: From labels to their names, and to what is written beside path and scores.
        draw: Called with image, sample and file to write.
        column: What a table, which ``--out`` is if it ends in .csv, calls those names.
    """
    rows = args.out and Rows(len(paths), args.out, facts)
    shown = args.show_dir and Unfinished(args.show_dir, facts)
    pictures = picture_paths(args.show_dir, paths) if shown else {}

    def receive(indices: list[int], columns: dict[str, np.ndarray]) -> None:
        lines = []
        for index, scores, labels in zip(indices, columns['scores'].tolist(), columns['labels'].tolist()):
            path = paths[index]
            if not rows or not rows.done[index]:
                lines.append(f'{path}: ' + ', '.join(f'{name} {score:.4f}' for name, score in zip(named(labels)[0], scores)))
            if shown:
                pictures[path].parent.mkdir(parents=True, exist_ok=True)
                image = picture_at(path, inference.load)
                draw(image, ranked(scores, labels, choices), str(pictures[path]))
        if lines:
            print('\n'.join(lines), flush=True)
        if rows:
            rows.add(indices, columns)

    if rows:
        say_done(rows.done.sum(), len(paths))
    failed = inference.run(paths, predict, receive, rows.done.copy() if rows else None)
    if rows:
        rows.write()
    code = exit_code(failed, len(paths))
    if is_first_process():
        if rows:
            rows.look()
            found = ((str(paths[index]), scores, labels) for block in rows.blocks() for index, scores, labels in
                     zip(*(block[name].tolist() for name in ('index', 'scores', 'labels'))))
            if args.out.suffix.lower() == '.csv':
                write_csv(args.out, column, ((path, named(labels)[0], scores) for path, scores, labels in found), args.topk)
            else:
                write_json(args.out, (dict(path=path, **named(labels)[1], scores=scores) for path, scores, labels in found))
            rows.finish()
        if shown:
            shown.finish()
    await_others()
    return code


def ranked(scores: list[float], labels: list[int], choices: int) -> DataSample:
    """mmpretrain's sample of an image, which its visualizer draws, from the best scores alone."""
    every = torch.full((choices, ), -torch.inf)
    every[labels] = torch.tensor(scores)
    return DataSample().set_pred_score(every).set_pred_label(labels[0])


def write_json(path: Path, records: Iterable[dict]) -> None:
    """A list of records as ``json.dumps(records, indent=1)`` and a line's end, without having all of it in memory."""
    with new_file(path) as temporary, open(temporary, 'w') as file:
        begin = '[\n '
        for record in records:
            file.write(begin + json.dumps(record, indent=1).replace('\n', '\n '))
            begin = ',\n '
        file.write('[]\n' if begin.startswith('[') else '\n]\n')


def write_csv(path: Path, column: str, rows: Iterable[tuple[str, list[str], list[float]]], best: int) -> None:
    """A table of paths with their best names and scores: path, label, score, label2, score2, ..."""
    with new_file(path) as temporary, open(
            temporary, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file:
        table = csv.writer(file, lineterminator='\n')
        places = ['', *range(2, best + 1)]
        table.writerow(['path', *(f'{head}{place}' for place in places for head in (column, 'score'))])
        for image, names, scores in rows:
            table.writerow([image, *(cell for name, score in zip(names, scores) for cell in (name, f'{score:.6g}'))])


def write_npy(file, dtype: np.dtype, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> None:
    """An array to an open file, as ``np.save`` does, from blocks of its rows."""
    np.lib.format.write_array_header_1_0(
        file, dict(descr=np.lib.format.dtype_to_descr(np.dtype(dtype)), fortran_order=False, shape=shape))
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype).tobytes())
