"""One way to write a ``type``: by its registered name, as 'AdamW' or 'nepa_mm.NEPAViT'.

mmengine's pure-Python configs write classes, and what they leave in dumped configs and checkpoints is the path that each was
imported by, as 'mmpretrain.models.ImageClassifier'. All else here reads names alone.
"""
import inspect
import sys
from collections.abc import Callable, Iterator

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

KEYS = ('type', 'constructor', 'runner_type')  # of what a registry builds
HOSTS = ('mmdet', 'mmpretrain', 'mmseg')
# Whose classes mostly are registered by their own names, ours with our scope
ROOTS = ('mmcv', 'mmengine', 'torch', *HOSTS, 'nepa_mm')


def name_types(cfg: Config) -> Config:
    """Write the types of a config that was read by their names, in place.

    A class or function that is not registered stays as the path that mmengine imports it by. The names that a pure-Python config
    imported go. A scope that it leaves out becomes that of its model's host: by it the tools tell the task.
    """
    for name in getattr(cfg, '_imported_names', ()):
        cfg._cfg_dict.pop(name, None)
    kinds = [(part, key, kind) for part, key in typed(cfg._cfg_dict) if (kind := found(part[key])) is not None]
    for part, _, kind in kinds:
        if part is cfg.get('model') and not cfg.get('default_scope') and host_of(kind):
            cfg.default_scope = host_of(kind)
    names = {id(kind): name for name, kind in registered(cfg.get('default_scope'))} if kinds else {}
    for part, key, kind in kinds:
        part[key] = names.get(id(kind)) or f'{kind.__module__}.{kind.__qualname__}'
    return cfg


def typed(part) -> Iterator[tuple[dict, str]]:
    """Each dict inside a config that says a type, and the key that it says it by."""
    for name, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
        if isinstance(value, (dict, list, tuple)):
            yield from typed(value)
        elif isinstance(part, dict) and name in KEYS:
            yield part, name


def found(kind) -> Callable | None:
    """The class or function that a type is, or is the path of; None for a name."""
    if isinstance(kind, str):
        kind = get_object_from_string(kind) if is_path(kind) else None
    return kind if inspect.isclass(kind) or inspect.isfunction(kind) else None


def host_of(kind: Callable) -> str | None:
    """The host whose class this is, or is made of."""
    packages = [each.__module__.split('.')[0] for each in getattr(kind, '__mro__', ())]
    return next((package for package in packages if package in HOSTS), None)


def registered(scope: str | None) -> Iterator[tuple[str, Callable]]:
    """All that is registered so far, by the name that a config of that scope calls it by."""
    modules = [module for name, module in list(sys.modules.items()) if name.count('.') == 1 and name.endswith('.registry')]
    for registry in (each for module in modules for each in vars(module).values() if isinstance(each, Registry)):
        own = registry._get_root_registry().children.get(scope)
        for name, kind in registry.module_dict.items():
            hides = own is not None and own.module_dict.get(name, kind) is not kind
            is_plain = own is registry or (registry.parent is None and not hides)
            yield name if is_plain else f'{registry.scope}.{name}', kind


def name_types_in_text(config: dict) -> dict:
    """The same for the data of a config text that came with a checkpoint, in place: nothing is imported for it."""
    kind = config['model'].get('type') if isinstance(config.get('model'), dict) else None
    if is_path(kind) and kind.split('.')[0] in HOSTS and not config.get('default_scope'):
        config['default_scope'] = kind.split('.')[0]
    names = None
    for part, key in typed(config):
        if is_path(part[key]) and part[key].split('.')[0] in ROOTS:
            names = names or {id(each): name for name, each in registered(config.get('default_scope'))}
            module, _, name = part[key].rpartition('.')
            kind = vars(sys.modules[module]).get(name) if module in sys.modules else None
            part[key] = names.get(id(kind)) or ('nepa_mm.' if module.startswith('nepa_mm.') else '') + name
    return config


def name_of(config: dict) -> str:
    """Name of the class that a config builds, without its scope or the path that it is imported by; '' if it says none."""
    kind = config.get('type') or ''
    return getattr(kind, '__name__', str(kind)).split('.')[-1]


def is_path(kind) -> bool:
    """Whether a type is written as the path that it is imported by; a scope and a name have one dot between them."""
    return isinstance(kind, str) and kind.count('.') > 1
