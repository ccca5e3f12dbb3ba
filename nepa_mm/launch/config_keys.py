"""Keys of a config that nothing reads, and arguments that its classes do not take, with the nearest that they do."""
import ast
import inspect
import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import mmengine
from mmengine.config import Config
from mmengine.registry import RUNNERS

from nepa_mm.errors import ConfigError

from .config_parts import dicts_in

# What Runner or the tools read of a config beside Runner's arguments
READ = {'allow_resume_change', 'custom_imports', 'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'sync_bn',
        'tta_model', 'tta_pipeline'}
SHOWS_PLACE = 'mend it; NEPA_DEBUG=1 shows the place'
# Runners whose arguments are those of mmengine's ``Runner``; a test compares them.
MMENGINE_S_ARGUMENTS = ('Runner', 'nepa_mm.ReliableRunner')
# Dicts that mmengine reads some keys of and passes over the rest
PLAIN = {
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'env_cfg': {'cudnn_benchmark', 'dist_cfg', 'mp_cfg', 'resource_limit'},
    'env_cfg.mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'randomness': {'seed', 'diff_rank_seed', 'deterministic'},
    'optim_wrapper.clip_grad': {'type', 'max_norm', 'norm_type', 'clip_value', 'error_if_nonfinite', 'foreach'},
    'custom_imports': {'imports', 'allow_failed_imports'}}
DICTS = {
    'model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper', 'train_cfg', 'default_hooks', *PLAIN}


def check_keys(cfg: Config, options: Iterable[str] = ()) -> None:
    """Refuse a key that nothing reads, of those that mmengine does not refuse.

    At the top level this is one that nearly is one that is read, for configs have variables of any other name. ``options`` are
    the dotted keys of --cfg-options, by which a variable cannot be set: the config has used it by then.

    Raises:
        ConfigError: With the valid key.
    """
    valid = READ | arguments_of_runner(cfg.get('runner_type', 'Runner'))
    for key in cfg.keys() - valid:
        # Of train_pipeline, a usual variable, tta_pipeline is near. Another one is used by a line of the config.
        nearest = get_close_matches(key, valid - {'tta_pipeline'}, 1, cutoff=0.8)
        if nearest and not key.startswith('_') and not re.search(rf'\b{key}\b(?!["\']?\s*[:=])', cfg.text):
            raise ConfigError(f'nothing reads {key!r}', key, f'did you mean {nearest[0]!r}?')
    for option in options:
        if option.split('.')[0] not in valid:
            raise ConfigError(f'nothing reads {option!r}', '--cfg-options',
                              'set the keys that the config uses it for, such as train_dataloader.dataset.data_root')
    for key, value in cfg.items():
        if key in DICTS and value is not None and not isinstance(value, dict):
            raise ConfigError(f'{value!r} is no dict', key, 'give its settings: dict(...)')
        metrics = value if isinstance(value, (list, tuple)) else [value or {}]
        if key in ('val_evaluator', 'test_evaluator') and not all(isinstance(metric, dict) for metric in metrics):
            raise ConfigError(f'{value!r} is no metric, nor a list of them', key, 'give the settings of each: dict(type=...)')
    for key, part in dicts_in(cfg):
        for name in part.keys() - PLAIN.get(key, part.keys()):
            raise ConfigError(f'nothing reads {name!r}', f'{key}.{name}', remedy(name, PLAIN[key]))
    hooks = cfg.get('default_hooks') or {}
    named_hooks = {name for name, hook in hooks.items() if not isinstance(hook, dict) or 'type' in hook}
    for name in hooks.keys() - named_hooks:
        raise ConfigError(f'{name!r} is no hook: it has no type', f'default_hooks.{name}', remedy(name, named_hooks))


def arguments_of_runner(name: str) -> set[str]:
    """Names of a runner's arguments; of mmengine's, which ours takes, from its text, for to import it takes seconds."""
    if name in MMENGINE_S_ARGUMENTS:
        text = Path(mmengine.__file__).with_name('runner').joinpath('runner.py').read_text(encoding='utf-8')
        init = next(part for kind in ast.parse(text).body if getattr(kind, 'name', '') == 'Runner'
                    for part in kind.body if getattr(part, 'name', '') == '__init__')
        return {argument.arg for argument in init.args.args}
    kind = runner_class(name)
    if kind is None:
        raise ConfigError(f'{name!r} is not registered', 'runner_type', remedy(name, names_in(RUNNERS)))
    return set(inspect.signature(kind.__init__).parameters)


def runner_class(name: str) -> type | None:
    """The runner of that name; takes the seconds of its import."""
    import_module('mmengine.runner')  # which registers its own
    return RUNNERS.get(name)


def names_in(registry) -> set[str]:
    """Names that a registry has, those of its relatives with their scope."""
    root = registry._get_root_registry()
    family = [registry, root, *root.children.values()]
    return {name for each in family for name in each.module_dict} | {
        f'{each.scope}.{name}' for each in family for name in each.module_dict}


def arguments_of(kind: type | None) -> set[str]:
    """Names of the arguments of a class, and of those that it hands on to its parents; none of what is no class."""
    return {name for each in getattr(kind, '__mro__', ()) if '__init__' in vars(each) for name, parameter in
            inspect.signature(each.__init__).parameters.items() if name != 'self' and parameter.kind not in (
                parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)}


def remedy(name: str, choices: Iterable[str]) -> str:
    """What to write instead of a name."""
    choices = sorted(set(choices) - {name})
    nearest = get_close_matches(name, choices, 1, cutoff=0.6)
    if nearest:
        return f'did you mean {nearest[0]!r}?'
    return f'choose from {choices}' if 0 < len(choices) < 30 else 'correct the name, or import what registers it (custom_imports)'
