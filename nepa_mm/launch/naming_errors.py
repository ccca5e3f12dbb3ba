"""Name the dotted key of a config in what goes wrong with it: an argument or a type, a file of the data, a checkpoint."""
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import build_functions

from nepa_mm.errors import CheckpointError, ConfigError, DataError, UserError, first_line
from nepa_mm.hosts.type_names import name_of

from .config_keys import SHOWS_PLACE, arguments_of, names_in, remedy
from .config_parts import SPLITS, datasets_of, dicts_in, value_at

ABOUT_ARGUMENTS = (TypeError, ValueError, AssertionError, KeyError)
BUILDERS = {build_functions.build_from_cfg.__code__, build_functions.build_runner_from_cfg.__code__}


@contextmanager
def naming(cfg: Config, splits: tuple[str, ...] = SPLITS) -> Iterator[None]:
    """Name the keys, checkpoints and data of the config in errors of what is built and run, with the loaders of these splits."""
    try:
        yield
    except Exception as error:
        said = with_key(error, cfg, splits)
        if said is None:
            raise
        raise said from error


def with_key(error: Exception, cfg: Config, splits: tuple[str, ...]) -> UserError | None:
    """An error with the key that it is about; None if it has its key, or is about none."""
    if isinstance(error, CheckpointError):
        return of_checkpoint(error, cfg)
    if isinstance(error, DataError):
        return of_file(error, cfg, splits)
    if isinstance(error, ConfigError):
        return of_value(error, cfg)
    if isinstance(error, (UserError, torch.cuda.OutOfMemoryError)):
        return None
    return of_building(error, cfg, splits)


def of_checkpoint(error: CheckpointError, cfg: Config) -> CheckpointError | None:
    """With ``load_from`` in an error about the content of a checkpoint; the backbone itself names its ``init_cfg``."""
    said = class_counts(cfg, error.what)
    if cfg.get('load_from'):
        said.insert(0, 'load_from' if cfg.load_from in error.where else f'load_from={cfg.load_from!r}')
    return CheckpointError(error.what, f'{error.where} ({", ".join(said)})', error.remedy) if said else None


def class_counts(cfg: Config, message: str) -> list[str]:
    """Keys and values of the heads that have another number of classes than a checkpoint, from the message that says so."""
    found = re.findall(r'(\w+(?:\.\d+)?)\.\S+ (?:at random|as zeros) for (\d+) classes', message)
    model = 'model.module' if value_at(cfg, 'model.module') else 'model'  # as --tta wraps it
    return [f'model.{head}.num_classes={count}' for head, count in dict(found).items()
            if str(value_at(cfg, f'{model}.{head}.num_classes')) == count]


def of_file(error: DataError, cfg: Config, splits: tuple[str, ...]) -> DataError | None:
    """With the dotted keys that led to a file, of an error about one, ``3 channels ... | seg_map_path='...'``."""
    found = re.fullmatch(r"(img_path|seg_map_path)='([^']+)'", error.where)
    if found is None:
        return None
    kind, path = found.groups()
    folders = {f'{key}.data_prefix.{kind}': (dataset.get('data_root') or '', value_at(dataset, f'data_prefix.{kind}'))
               for key, dataset in datasets_of(cfg, splits)}
    keys = [key for key, (root, folder) in folders.items()
            if isinstance(folder, str) and Path(path).is_relative_to(Path(root, folder))]
    return DataError(error.what, f'{error.where} ({" or ".join(keys)})', error.remedy) if keys else None


def of_value(error: ConfigError, cfg: Config) -> ConfigError | None:
    """With the dotted key of an argument in an error about one, which begins with its value.

    ``1.0 is ... | drop_path_rate``, or with the class that takes it, ``1 is ... | TimmMixup.num_classes``.
    """
    owner, _, argument = error.where.rpartition('.')
    if owner and not owner[0].isupper():  # a dotted key already
        return None
    for key, part in [('', cfg), *dicts_in(cfg)]:
        is_said = argument in part and re.match(re.escape(repr(part[argument])) + r'[ :,]', error.what)
        if is_said and str(part.get('type') or '').endswith(owner):
            return ConfigError(error.what, f'{key}.{argument}' if key else argument, error.remedy)
    return None


def of_building(error: Exception, cfg: Config, splits: tuple[str, ...]) -> UserError | None:
    """Of an error about an argument or a type that mmengine was given to build, or of a data set that finds nothing.

    What the runner does while it is built, such as to move a model to a GPU, is not about an argument, unless it says so.
    """
    if not isinstance(error, (*ABOUT_ARGUMENTS, RuntimeError, ImportError, AttributeError)):
        return None
    builders = []
    for origin in (error, error.__context__):  # mmengine raises what a hook says anew
        frames = [frame for frame, _ in walk_tb(origin.__traceback__)] if origin else []
        if frames and frames[-1].f_code is BaseDataset._serialize_data.__code__:
            return of_empty(frames[-1].f_locals['self'], cfg, splits)
        builders = builders or [frame.f_locals for frame in frames if frame.f_code in BUILDERS]
        if builders and (isinstance(error, ABOUT_ARGUMENTS) or 'runner_cls' not in builders[-1]):
            return named(origin, cfg, builders[-1], frames[-1].f_globals)
    return None


def of_empty(dataset: BaseDataset, cfg: Config, splits: tuple[str, ...]) -> DataError | None:
    """Of a data set that is written to a list of no entries, which NumPy refuses in words of its own."""
    if dataset.data_list:
        return None
    kind = type(dataset).__name__
    keys = [key for key, part in datasets_of(cfg, splits)
            if name_of(part) == kind and (part.get('data_root') or '') == dataset.data_root]
    return DataError(f'{kind!r} finds no file (data_prefix={dict(dataset.data_prefix)}, ann_file={dataset.ann_file!r})',
                     ' or '.join(keys) or kind, 'look at these, data_root, indices and filter_cfg')


def named(error: Exception, cfg: Config, builder: dict, last: dict) -> ConfigError:
    """The error in three parts, from the variables of mmengine's function that builds, and the names where the error arose."""
    parts = list(dicts_in(cfg))
    if 'args' not in builder:
        where = ' or '.join(key for key, part in parts if part == builder['cfg']) or 'type'
        return ConfigError(f'{builder["cfg"]!r} has no type', where, 'add it, or correct the name of the key')
    args, obj_type = builder['args'], builder['obj_type']
    keys = [key for key, part in parts if part.get('type') == obj_type and args.keys() >= part.keys() - {'type', '_scope_'}]
    kind = builder.get('obj_cls') or builder.get('runner_cls')
    if kind is None:
        where = ' or '.join(f'{key}.{name}' for key, part in parts for name, value in part.items() if value == obj_type) or 'type'
        return ConfigError(f'{obj_type!r} is not registered', where, remedy(str(obj_type), names_in(builder['registry'])))
    found = re.search(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if found:
        owner, argument = found.groups()
        if argument not in args:  # of something that it makes
            keys, obj_type, kind = [], owner, last.get(owner)
        where = ' or '.join(f'{key}.{argument}' for key in keys or [key for key, part in parts if argument in part]) or argument
        return ConfigError(f'{obj_type!r} has no such argument', where, remedy(argument, arguments_of(kind)))
    said = [name for name, value in args.items() if re.search(rf'(?<![\w.]){re.escape(repr(value))}(?![\w.])', str(error))]
    if len(said) != 1:  # two of one value, or none
        said = [name for name in args if re.search(rf'(?<![\w.]){name}(?!\w)', str(error))]
    if 'runner_cls' in builder:
        where = said[0] if len(said) == 1 else str(obj_type)
    else:
        where = ' or '.join([f'{key}.{f" and {key}.".join(said)}' if 0 < len(said) < 3 else key for key in keys]) or str(obj_type)
    return ConfigError(f'{obj_type!r} cannot be built: {first_line(error)}', where, SHOWS_PLACE)
