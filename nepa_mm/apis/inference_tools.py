"""What the commands of inference share: their arguments, the best of each image, names of pictures, and files."""
import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmpretrain.structures import DataSample

from nepa_mm.errors import ConfigError, is_first_process
from nepa_mm.new_files import new_file

from .arguments import add_inputs, add_model, model_of
from .images import load_image, loader_of, picture_of, preparation_of
from .run_model import Inference, exit_code
from .several_processes import await_others, join_processes, process_count
from .unfinished import Rows, Unfinished, say_done

ON_GPU, ELSEWHERE = 128, 8  # images at once, unless told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of all the commands, by the hosts' names."""
    add_inputs(parser)
    add_model(parser)
    parser.add_argument('--batch-size', type=int, help=f'images at once; default: {ON_GPU} on a GPU, {ELSEWHERE} on a CPU and '
                        'for segmentation')
    parser.add_argument('--workers', type=int, help='processes that read and prepare images, 0 for none; default: one a core')
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16, in about two thirds of the time')
    parser.add_argument('--compile', action='store_true', help='compile the backbone, for many images: that takes a minute')


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse batches and workers that cannot be."""
    if args.batch_size is not None and args.batch_size < 1:
        raise ConfigError(f'{args.batch_size} is no number of images', '--batch-size', 'give 1 or more')
    if args.workers is not None and args.workers < 0:
        raise ConfigError(f'{args.workers} is no number of processes', '--workers', 'give 0 or more')


def add_ranking(parser: argparse.ArgumentParser, topk: int, ranked: str) -> None:
    """Arguments of :func:`rank`."""
    parser.add_argument('--topk', type=int, default=topk, help=f'{ranked}, best first; default: {topk}')
    parser.add_argument('--out', type=Path, help='JSON file to write them and their scores to')
    parser.add_argument('--show-dir', type=Path, help='folder to write the images with what was found to')


def inference_of(args: argparse.Namespace, on_gpu: int = ON_GPU) -> Inference:
    """The model that the arguments name, and how its images come to it; one of several processes has joined the others.

    Args:
        args: Those of :func:`add_arguments`.
        on_gpu: Images at once on a GPU, unless the arguments say.

    Raises:
        ConfigError: As of :func:`model_of`.
        CheckpointError: As of :func:`model_of` and :func:`loader_of`.
    """
    model = model_of(args)
    load, prepare = loader_of(model), preparation_of(model)
    on_cpu = next(model.parameters()).device.type == 'cpu'
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    workers = max(1, cores // int(os.environ.get('LOCAL_WORLD_SIZE', 1))) if args.workers is None else args.workers
    inference = Inference(model, load, prepare, args.batch_size or (ELSEWHERE if on_cpu else on_gpu), workers, args.amp,
                          args.compile)
    join_processes()
    return inference


def check_topk(topk: int, count: int, of: str) -> None:
    """Refuse a number of what there is less of."""
    if not 1 <= topk <= count:
        raise ConfigError(f'{topk} is not in [1, {count}], {of}', '--topk', 'choose from these')


def require_out(out: Path | None) -> None:
    """Refuse several processes that have nowhere to put their results together."""
    if out is None and process_count() > 1:
        raise ConfigError('several processes put their results together in a file', '--out', 'name it, or start one process')


def picture_paths(folder: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """Where pictures for images go: as the images lie to each other, with .png behind their names."""
    places = {path: path.resolve() for path in paths}
    common = os.path.commonpath([place.parent for place in places.values()])
    return {path: folder / f'{place.relative_to(common)}.png' for path, place in places.items()}


def label_map_paths(folder: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """Likewise where label maps go, by the names of a data set's, a.png for a.jpg; if two images would share one, as pictures."""
    pictures = picture_paths(folder, paths)
    maps = {path: picture.with_suffix('').with_suffix('.png') for path, picture in pictures.items()}
    return maps if len(set(maps.values())) == len(set(pictures.values())) else pictures


def rank(args: argparse.Namespace, inference: Inference, paths: Sequence[Path], predict: Callable, named: Callable,
         draw: Callable, facts: dict[str, str], choices: int) -> int:
    """Predict, and print, draw and write the best of each image, as the arguments of :func:`add_ranking` say.

    Args:
        args: Those arguments.
        inference: What runs the model.
        paths: Of the images.
        predict: For :meth:`Inference.run`; gives ``scores`` and ``labels`` of the best.
        named: From labels to their names, and to what is written beside path and scores.
        draw: Called with image, sample and file to write.
        facts: What the results depend on.
        choices: How many labels there are.

    Returns:
        The exit code.
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
                image = picture_of(load_image(path, inference.load))
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
            write_json(args.out, (
                dict(path=str(paths[index]), **named(labels)[1], scores=scores) for block in rows.blocks()
                for index, scores, labels in zip(*(block[name].tolist() for name in ('index', 'scores', 'labels')))))
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


def write_npy(file, dtype: np.dtype, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> None:
    """An array to an open file, as ``np.save`` does, from blocks of its rows."""
    np.lib.format.write_array_header_1_0(
        file, dict(descr=np.lib.format.dtype_to_descr(np.dtype(dtype)), fortran_order=False, shape=shape))
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype).tobytes())
