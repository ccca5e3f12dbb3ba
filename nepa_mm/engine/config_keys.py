"""Keys of a config that nothing reads, and arguments that its classes do not take, with the nearest that they do."""
import inspect
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb

from mmengine.config import Config
from mmengine.registry import RUNNERS, build_functions

from ..errors import ConfigError, UserError, first_line

# What Runner or the tools read of a config beside Runner's arguments
READ = {'allow_resume_change', 'custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'sync_bn',
        'tta_model', 'tta_pipeline'}
SHOWS_PLACE = 'mend it; NEPA_DEBUG=1 shows the place'
BUILDERS = {build_functions.build_from_cfg.__code__, build_functions.build_runner_from_cfg.__code__}


def check_keys(cfg: Config) -> None:
    """Refuse a top-level key that nothing reads and that nearly is one that is read; configs have variables of any other name.

    Raises:
        ConfigError: With the valid key.
    """
    kind = RUNNERS.get(cfg.get('runner_type', 'Runner'))
    if kind is None:
        raise ConfigError(f'{cfg.runner_type!r} is not registered', 'runner_type', remedy(cfg.runner_type, names_in(RUNNERS)))
    valid = READ | set(inspect.signature(kind.__init__).parameters)
    for key in cfg.keys() - valid:
        # Of train_pipeline, a usual variable, tta_pipeline is near. Another one is used by a line of the config.
        nearest = get_close_matches(key, valid - {'tta_pipeline'}, 1, cutoff=0.8)
        if nearest and not key.startswith('_') and not re.search(rf'\b{key}\b(?!["\']?\s*[:=])', cfg.text):
            raise ConfigError(f'nothing reads {key!r}', key, f'did you mean {nearest[0]!r}?')


@contextmanager
def naming_arguments(cfg: Config) -> Iterator[None]:
    """Name the dotted key in an error about an argument or a type that mmengine was given to build."""
    try:
        yield
    except UserError:
        raise
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        frames = [frame for frame, _ in walk_tb(error.__traceback__) if frame.f_code in BUILDERS]
        if not frames:
            raise
        raise named(error, cfg, **{name: frames[-1].f_locals.get(name) for name in ('args', 'obj_type', 'obj_cls', 'registry')}
                    ) from error


def named(error: Exception, cfg: Config, args: dict, obj_type, obj_cls, registry) -> ConfigError:
    """The error in three parts, from the variables of mmengine's function that builds."""
    keys = [key for key, part in parts_of(cfg)
            if part.get('type') == obj_type and args.keys() >= part.keys() - {'type', '_scope_'}]
    if obj_cls is None:
        where = ' or '.join(f'{key}.type' for key in keys) or 'type'
        return ConfigError(f'{obj_type!r} is not registered', where, remedy(str(obj_type), names_in(registry)))
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if found and found[1] in args:
        where = ' or '.join(f'{key}.{found[1]}' for key in keys) or found[1]
        return ConfigError(f'{obj_type!r} has no such argument', where, remedy(found[1], arguments_of(obj_cls)))
    said = [name for name, value in args.items() if re.search(rf'(?<![\w.]){re.escape(repr(value))}(?![\w.])', str(error))]
    where = ' or '.join([f'{key}.{said[0]}' if len(said) == 1 else key for key in keys]) or str(obj_type)
    return ConfigError(f'{obj_type!r} cannot be built: {first_line(error)}', where, SHOWS_PLACE)


def parts_of(config, key: str = '') -> Iterator[tuple[str, dict]]:
    """Dotted key and content of each dict inside a config."""
    for name, value in config.items() if isinstance(config, (dict, Config)) else enumerate(config):
        if isinstance(value, dict):
            yield f'{key}{name}', value
        if isinstance(value, (dict, list, tuple)):
            yield from parts_of(value, f'{key}{name}.')


def names_in(registry) -> set[str]:
    """Names that a registry has, those of its relatives with their scope."""
    root = registry._get_root_registry()
    family = [registry, root, *root.children.values()]
    return {name for each in family for name in each.module_dict} | {
        f'{each.scope}.{name}' for each in family for name in each.module_dict}


def arguments_of(kind: type) -> set[str]:
    """Names of the arguments of a class, and of those that it hands on to its parents."""
    return {name for each in inspect.getmro(kind) if '__init__' in vars(each) for name, parameter in
            inspect.signature(each.__init__).parameters.items() if name != 'self' and parameter.kind not in (
                parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)}


def remedy(name: str, choices: Iterable[str]) -> str:
    """What to write instead of a name."""
    choices = sorted(choices)
    nearest = get_close_matches(name, choices, 1, cutoff=0.6)
    if nearest:
        return f'did you mean {nearest[0]!r}?'
    return f'choose from {choices}' if len(choices) < 30 else 'correct the name, or import what registers it (custom_imports)'
