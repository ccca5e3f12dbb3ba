"""From a folder to a config: find, choose, write, and say all of it."""
import argparse
import shlex
from pathlib import Path

from rich.console import Console

from nepa_mm.errors import DataError

from .choices import Choices
from .class_names import find_class_names
from .classification import Classification
from .config_files import ConfigFiles
from .files import look_at, require_sound
from .label_classes import classes_of
from .labelled_images import LabelledImages, find_labelled
from .machine import Machine
from .mask_pairs import MaskPairs, find_pairs
from .masks import Labels, read_masks, require_sound_masks
from .pretraining import Pretraining, find_images_alone
from .report import Row, chosen_table, found_table, notes, of_classes, of_masks, of_pictures
from .segmentation import Segmentation
from .start import choose_start
from .task import Task

VAL_SHARE = 0.1  # of images that validate, where nothing says which
# What is no setting, and what a segmentation alone is told
FACTS = {'task', 'data', 'model', 'output', 'channels', 'class-level', 'leave-out-broken', 'look-at', 'memory', 'cpu'}
LABELS = {'mask-suffix', 'image-suffix', 'classes', 'ignore'}
Chosen = tuple[Task, dict[str, list[Path]], list[Row]]  # with images by split, and what is said of them


def new_config(args: argparse.Namespace) -> list[Path]:
    """Look at the data that a command line names, write a config for it, and print what was found and chosen.

    Returns:
        The paths of what was written, the config last.

    Raises:
        DataError: If the data is unfit, before anything is written.
        ConfigError: If settings do not fit each other, or a file is there already.
    """
    console = Console(width=None if Console().is_terminal else 120)
    data = Path(args.data)
    files = ConfigFiles(args.output or Path(f'{data.resolve().stem}_{args.task}.py'))
    files.require_new()
    machine = Machine.here(args.memory, args.cpu)
    given = {name.replace('_', '-'): value for name, value in vars(args).items() if value is not None}
    choose = Choices(given)
    task, splits, rows = TASKS[args.task](args, choose=choose, machine=machine, files=files)
    text = task.settle()
    unused = given.keys() - choose.made.keys() - FACTS - (LABELS if args.task == 'segmentation' else set())
    if unused:
        task.remarks.append(f'not used here: {", ".join(f"--{name}" for name in sorted(unused))}')
    files.require_new()
    written = files.write(text)
    facts = [*of_pictures(task.pictures, splits), *rows, *notes(task.remarks)]
    console.print(found_table(data, facts), chosen_table(choose, machine))
    said = f'written: {", ".join(map(str, written))}\nnext:    python tools/train.py {shlex.quote(str(files.path))}'
    if args.task == 'pretrain':
        last = f'work_dirs/{files.path.stem}/epoch_{choose.made["epochs"].value}.pth'
        said += f'\nthen:    python tools/new_config.py classification FOLDER --from {shlex.quote(last)}'
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    return written


def for_classification(args: argparse.Namespace, choose: Choices, **parts) -> Chosen:
    """A classifier."""
    found = find_labelled(Path(args.data), args.val_share or VAL_SHARE, args.seed or 0, args.class_level)
    say_drawn(found, choose)
    pictures = look_at(found.paths, args.look_at, args.workers, channels=args.channels)
    found.without(require_sound(pictures, args.leave_out_broken))
    start = choose_start(args.model, choose, parts['machine'])
    task = Classification(found, pictures=pictures, start=start, choose=choose, **parts)
    return task, {split: [path for path, _ in items] for split, items in found.splits.items()}, of_classes(found)


def for_pretraining(args: argparse.Namespace, choose: Choices, **parts) -> Chosen:
    """A pretraining."""
    found = find_images_alone(Path(args.data))
    pictures = look_at(found.paths, args.look_at, args.workers, channels=args.channels)
    found.without(require_sound(pictures, args.leave_out_broken))
    if len(found.paths) < 2:
        raise DataError('it holds one image', args.data, 'give more to train on')
    start = choose_start(args.model, choose, parts['machine'], released=False)
    task = Pretraining(found, pictures=pictures, start=start, choose=choose, **parts)
    return task, dict(train=found.paths), notes(found.remarks)


def say_drawn(found: LabelledImages | MaskPairs, choose: Choices) -> None:
    """Name the options of a split that was drawn."""
    if found.drawn:
        choose('val-share', VAL_SHARE, 'of the images, to validate: no folder or list says which')
        choose('seed', 0, 'that draws them')


def for_segmentation(args: argparse.Namespace, choose: Choices, **parts) -> Chosen:
    """A segmentation."""
    data = Path(args.data)
    found = find_pairs(data, args.val_share or VAL_SHARE, args.seed or 0, args.mask_suffix, args.image_suffix)
    say_drawn(found, choose)
    masks = read_masks(found.pairs, args.workers)
    pictures = look_at([image for image, _ in found.pairs], args.look_at, args.workers, channels=args.channels)
    broken = require_sound(pictures, args.leave_out_broken) | require_sound_masks(masks, args.leave_out_broken)
    found.without(broken)
    labels = Labels.of([mask for mask in masks if mask.path not in broken])
    source, names = find_class_names(data, args.classes)
    classes = classes_of(labels, names, source, args.ignore or (), str(data))
    start = choose_start(args.model, choose, parts['machine'])
    threshold = choose.given.get('one-channel')
    if len(classes.names) == 2:
        threshold = choose('one-channel', None, 'two outputs and a softmax; --one-channel takes one and a sigmoid')
    task = Segmentation(found, classes, labels.orientation, threshold, pictures=pictures, start=start, choose=choose, **parts)
    splits = {split: [image for image, _ in pairs] for split, pairs in found.splits.items()}
    return task, splits, of_masks(found, labels, classes, source)


TASKS = dict(pretrain=for_pretraining, classification=for_classification, segmentation=for_segmentation)
