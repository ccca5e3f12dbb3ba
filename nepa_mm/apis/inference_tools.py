"""What the commands of inference share: batches with progress, a line for each failure, the best of each image, and files."""
import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.model import BaseModel
from mmpretrain.utils import progress as host_progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from nepa_mm.checkpoints.preprocessing import pipeline_in
from nepa_mm.datasets.transforms.load_image import with_own_loader
from nepa_mm.errors import CheckpointError, ConfigError, DataError, first_line
from nepa_mm.registry import TRANSFORMS

from .arguments import add_inputs, add_model, model_of
from .images import load_image, picture_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of all the commands, by the hosts' names."""
    add_inputs(parser)
    add_model(parser)
    parser.add_argument('--batch-size', type=int, default=8, help='images at once; default: 8')


def add_ranking(parser: argparse.ArgumentParser, topk: int, ranked: str) -> None:
    """Arguments of :func:`rank`."""
    parser.add_argument('--topk', type=int, default=topk, help=f'{ranked}, best first; default: {topk}')
    parser.add_argument('--out', type=Path, help='JSON file to write them and their scores to')
    parser.add_argument('--show-dir', type=Path, help='folder to write the images with what was found to')


def model_and_loader(args: argparse.Namespace) -> tuple[BaseModel, BaseTransform]:
    """The model that the arguments name, and what reads its images.

    Raises:
        ConfigError: For a batch that cannot be, or as of :func:`model_of`.
        CheckpointError: As of :func:`model_of` and :func:`loader_of`.
    """
    if args.batch_size < 1:
        raise ConfigError(f'{args.batch_size} is no number of images', '--batch-size', 'give 1 or more')
    host_progress.disable_progress_bar = True  # the commands have one of their own
    model = model_of(args)
    return model, loader_of(model)


def loader_of(model: BaseModel) -> BaseTransform:
    """What reads the images of a model, as its training did: the first step of its test pipeline, of any number of channels.

    Raises:
        CheckpointError: If its config has no test pipeline.
    """
    pipeline = pipeline_in(model._config, 'test_dataloader') or model._config.get('test_pipeline')
    if not pipeline:
        raise CheckpointError('no test_dataloader.dataset.pipeline, which says how images are prepared',
                              'the config of the model', 'give the checkpoint alone, or a config that has one')
    return TRANSFORMS.build(with_own_loader(pipeline[0]))


def check_topk(topk: int, count: int, of: str) -> None:
    """Refuse a number of what there is less of."""
    if not 1 <= topk <= count:
        raise ConfigError(f'{topk} is not in [1, {count}], {of}', '--topk', 'choose from these')


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


def rank(args: argparse.Namespace, paths: Sequence[Path], load: BaseTransform, predict: Callable, named: Callable, draw: Callable
         ) -> int:
    """Predict, and print, draw and write the best of each image, as the arguments of :func:`add_ranking` say.

    Args:
        args: Those arguments.
        paths: Of the images.
        load: What reads an image.
        predict: From images to mm's samples, with a ``pred_score`` of all that there is to choose from.
        named: From indices of the best to their names, and to what is written beside path and scores.
        draw: Called with image, sample and file to write.

    Returns:
        The exit code, see :func:`run`.
    """
    records, pictures = [], picture_paths(args.show_dir, paths) if args.show_dir else {}

    def receive(path, image, sample):
        scores, best = (found.tolist() for found in sample.pred_score.topk(args.topk))
        names, facts = named(best)
        print(f'{path}: ' + ', '.join(f'{name} {score:.4f}' for name, score in zip(names, scores)), flush=True)
        records.append(dict(path=str(path), **facts, scores=scores))
        if pictures:
            pictures[path].parent.mkdir(parents=True, exist_ok=True)
            draw(picture_of(image), sample, str(pictures[path]))

    code = run(paths, args.batch_size, load, predict, receive)
    if args.out is not None:
        args.out.write_text(json.dumps(records, indent=1) + '\n')
    return code


def run(paths: Sequence[Path],
        batch_size: int,
        load: BaseTransform,
        predict: Callable[[list[np.ndarray]], Sequence],
        receive: Callable[[Path, np.ndarray, object], None],
        one_size: bool = False) -> int:
    """Load, predict and hand over image by image, with a progress bar on a terminal.

    An image that cannot be read or predicted costs one line on standard error, and the others go on.

    Args:
        paths: Of the images.
        batch_size: Images at once.
        load: What reads an image, see :func:`loader_of`.
        predict: From images [H, W, C] or [H, W], BGR, to a result for each.
        receive: Called with path, image and result, in order.
        one_size: Whether images at once must have one size.

    Returns:
        The exit code: that of a DataError if an image failed.
    """
    failed = 0
    columns = ('{task.description}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task('images', total=len(paths))
        for batch in [paths[i:i + batch_size] for i in range(0, len(paths), batch_size)]:
            images = []
            for path in batch:
                try:
                    images.append((path, load_image(path, load)))
                except DataError as error:
                    failed += failure(str(error))
            progress.update(task, advance=len(batch) - len(images))
            for group in by_size(images) if one_size else [images]:
                for (path, image), result in zip(group, predicted(predict, [image for _, image in group]), strict=True):
                    if isinstance(result, Exception):
                        failed += failure(f'{image.shape[1]}x{image.shape[0]} pixels cannot be predicted '
                                          f'({type(result).__name__}: {first_line(result)}) | {path} | leave it out')
                    else:
                        receive(path, image, result)
                progress.update(task, advance=len(group))
    if failed:
        failure(f'{failed} of {len(paths)} images failed | the lines above name them | mend them, or leave them out')
    return DataError.exit_code if failed else 0


def by_size(images: list[tuple[Path, np.ndarray]]) -> Iterator[list[tuple[Path, np.ndarray]]]:
    """Paths and images in groups of one size, of those that follow each other."""
    for _, group in groupby(images, key=lambda each: each[1].shape):
        yield list(group)


def predicted(predict: Callable, images: list[np.ndarray]) -> Sequence:
    """Results; where a batch fails, image by image, and the error of what fails alone."""
    try:
        return predict(images) if images else []
    except torch.OutOfMemoryError:
        raise ConfigError(f'{len(images)} takes more memory than the device has', '--batch-size', 'lower it') from None
    except Exception as error:  # hosts raise anything
        if os.environ.get('NEPA_DEBUG') == '1':
            raise
        return [error] if len(images) == 1 else [result for image in images for result in predicted(predict, [image])]


def failure(message: str) -> int:
    """Print a line; 1, to count."""
    print(f'nepa_mm: error: {message}', file=sys.stderr, flush=True)
    return 1
