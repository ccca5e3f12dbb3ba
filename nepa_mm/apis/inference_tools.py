"""What the tools of inference share: arguments, a model from what is given, batches with progress, a line for each failure."""
import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from itertools import groupby
from pathlib import Path

import mmpretrain
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader
from mmpretrain.utils import progress as host_progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from nepa_mm.checkpoints import path_of
from nepa_mm.checkpoints.fitting.prefixes import state_dict_of
from nepa_mm.checkpoints.preprocessing import pipeline_in
from nepa_mm.checkpoints.storage.files import about
from nepa_mm.datasets.transforms.load_image import with_own_loader
from nepa_mm.errors import CheckpointError, ConfigError, DataError, first_line
from nepa_mm.launch.read_config import read_config
from nepa_mm.models.fit_model import fit_model, require_all
from nepa_mm.registry import TRANSFORMS

from .get_model import get_model
from .images import load_image

MODEL_HELP = ('checkpoint of ours, hf:FOLDER or hf:ORG/NAME in the released format, raw:PATH or ema:PATH for one of the two '
              'weights of a training; or a config file, with --checkpoint')
INPUT_HELP = 'images, folders, and .txt files with a path on each line, as of the frames of a video'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of all the tools, by the hosts' names."""
    parser.add_argument('inputs', metavar='INPUT', nargs='+', help=INPUT_HELP)
    parser.add_argument('model', metavar='MODEL', help=MODEL_HELP)
    parser.add_argument('--checkpoint', help='weights for a config file')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: cuda where there is one')
    parser.add_argument('--batch-size', type=int, default=8, help='images at once; default: 8')


def model_of(args: argparse.Namespace, build: Callable[[str], BaseModel] = get_model) -> BaseModel:
    """The model that the arguments name, on its device. What the hosts say about it goes to standard error.

    Raises:
        ConfigError: For a device or a batch that cannot be, or a config file that is not there.
        CheckpointError: If there is no such checkpoint.
    """
    if args.batch_size < 1:
        raise ConfigError(f'{args.batch_size} is no number of images', '--batch-size', 'give 1 or more')
    device = device_of(args.device)
    host_progress.disable_progress_bar = True  # the tools have one of their own
    with redirect_stdout(sys.stderr):
        if not args.model.endswith('.py'):
            if args.checkpoint:
                raise ConfigError(f'{args.checkpoint} is for a config file, and {args.model} is none', '--checkpoint',
                                  'leave it out, or give a config file')
            return build(args.model).to(device)
        return from_config(args.model, args.checkpoint, device)


def device_of(name: str | None) -> torch.device:
    """The device of that name, if it is there."""
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'{name} cannot be used here ({first_line(error)})', '--device', 'try --device cpu') from error
    return device


def from_config(path: str, checkpoint: str | None, device: torch.device) -> BaseModel:
    """The model of a config file, as the hosts build it, with the weights of a checkpoint."""
    if not Path(path).is_file():
        raise ConfigError('there is no such config file', path, 'give the path of a config, or of a checkpoint')
    if not checkpoint:
        raise CheckpointError('a config file has no weights', path, 'give them with --checkpoint PATH')
    if ':' not in path_of(checkpoint) and not Path(path_of(checkpoint)).is_file():
        raise CheckpointError(f'{checkpoint} does not exist', '--checkpoint', 'give the path of a checkpoint')
    config = read_config(path)
    if config.get('default_scope') == 'mmseg':
        from mmseg.apis import init_model  # which the others do without
        pipeline = pipeline_in(config, 'test_dataloader')
        if pipeline and not any(step['type'] == 'TestTimeAug' for step in pipeline):
            config.test_pipeline = pipeline  # mmseg takes the variable of that name, which need not be what the test has
        model = init_model(config, device=device)
    else:
        model = mmpretrain.get_model(config, device=device)
    load_all(model, checkpoint, config)
    return model


def load_all(model: BaseModel, address: str, config: Config) -> None:
    """Load a checkpoint into a model, every weight of it; the hosts would leave what it lacks at random.

    Names of classes are the checkpoint's, or else those that the config gives its dataset, or its dataset has.
    """
    with about(address):
        checkpoint = CheckpointLoader.load_checkpoint(address, 'cpu', logger='silent')
        weights = state_dict_of(checkpoint) or {}
        require_all(fit_model(model, weights), 'inference')
        lacking = model.load_state_dict(weights, strict=False).missing_keys  # of a backbone that is not ours
        if lacking:
            raise CheckpointError(f"it lacks {len(lacking)} weights of the config's model, such as {lacking[0]}", 'its weights',
                                  'give the config that it was trained by')
    meta = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), dict) else {}
    dataset = (config.get('test_dataloader') or {}).get('dataset', {})
    model.dataset_meta = meta.get('dataset_meta') or dataset.get('metainfo') or getattr(model, '_dataset_meta', {})
    model._dataset_meta = model.dataset_meta


def loader_of(model: BaseModel) -> BaseTransform:
    """What reads the images of a model, as its training did: the first step of its test pipeline, of any number of channels.

    Raises:
        CheckpointError: If its config has no test pipeline.
    """
    if hasattr(model, 'cfg'):  # of mmseg, which keeps the pipeline there
        pipeline = model.cfg.get('test_pipeline')
    else:
        pipeline = pipeline_in(model._config, 'test_dataloader')
    if not pipeline:
        raise CheckpointError('no test_dataloader.dataset.pipeline, which says how images are prepared',
                              'the config of the model', 'give the checkpoint alone, or a config that has one')
    return TRANSFORMS.build(with_own_loader(pipeline[0]))


def picture_path(folder: Path, path: Path, paths: Sequence[Path]) -> Path:
    """Where a picture for an image goes: as the images lie to each other, with .png behind their names."""
    common = os.path.commonpath([each.resolve().parent for each in paths])
    place = folder / path.resolve().relative_to(common)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place.with_name(place.name + '.png')


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


def write_json(path: Path | None, records: list[dict]) -> None:
    """Write records, if they are asked for."""
    if path is not None:
        path.write_text(json.dumps(records, indent=1) + '\n')
