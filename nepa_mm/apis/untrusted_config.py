"""The config that a checkpoint carries, made safe to build: it may come from anywhere.

mmengine imports and calls whatever a config names. So every name is looked up among what is registered, before anything is built.
"""
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import isclass
from types import ModuleType
from unittest.mock import patch

from mmengine.logging import print_log
from mmengine.registry import MODELS, TRANSFORMS, Registry, registry

from nepa_mm.checkpoints.preprocessing import pipeline_of_one_view
from nepa_mm.errors import CheckpointError

SCOPES = ('mmpretrain', 'mmseg', 'nepa_mm')
HOSTS = ('mmcv', 'mmengine', *SCOPES)
RUN_AS_READ = ('.pkl', '.pickle', '.yml', '.yaml')
LABELS = ('LoadAnnotations', 'mmseg.LoadAnnotations', 'nepa_mm.LoadSegAnnotations')  # an image to be segmented has none
# Of models elsewhere, which come with files and code of their own
WRAPPERS = ('mmpretrain.models.classifiers.hugging', 'mmpretrain.models.classifiers.timm', 'mmpretrain.models.backbones.timm',
            'mmpretrain.models.multimodal', 'mmpretrain.models.utils.huggingface', 'mmseg.models.backbones.timm', 'transformers')


@contextmanager
def importing_nothing() -> Iterator[None]:
    """While a model is built, let mmengine look names up and import none: a padding or a norm may be a name as well.

    A name that stands for a package beside the hosts ends in a CheckpointError.
    """
    def import_host(name: str) -> ModuleType:
        if name.split('.')[0] not in HOSTS:
            raise CheckpointError(f'a name would import {name!r}', 'its config', 'build the model from its config file')
        return import_module(name)

    with patch.multiple(registry, get_object_from_string=lambda name: None, import_module=import_host):
        yield


def without_init(config):
    """A config of a model without what it would start, train or be built from beside its arguments; its weights are at hand."""
    if isinstance(config, dict):
        left_out = ('init_cfg', 'pretrained', 'train_cfg', '_scope_')  # the last makes mmengine import a package by that name
        return {key: without_init(value) for key, value in config.items() if key not in left_out}
    if isinstance(config, (list, tuple)):  # a tuple stays one: mmcv's Resize takes no list for a scale
        return type(config)(without_init(value) for value in config)
    return config


def scope_of(config: dict) -> str:
    """Where names of the config are looked up; only among what is imported."""
    scope = config.get('default_scope') or 'mmpretrain'
    if not isinstance(scope, str) or scope not in MODELS.children:
        raise CheckpointError(f'{scope!r} is none of {sorted(MODELS.children)}', 'its config, default_scope',
                              'give a checkpoint of one of these')
    return scope


def check_types(config, known: set[str], key: str = 'model', required: bool = True) -> None:
    """Refuse a ``type`` that is not registered: mmengine would import any other name and call what it finds.

    Losses and heads read files that they are given, as class weights; those that run code are refused.
    """
    if isinstance(config, dict):
        kind = config.get('type')
        if ('type' in config or required) and not (isinstance(kind, str) and kind in known):
            raise CheckpointError(f'{kind!r} is none that {", ".join(SCOPES)} have for it', f'its config, {key}.type',
                                  'if it is yours, import the module that registers it first')
        if 'trust_remote_code' in config:
            raise CheckpointError('it would run code', f'its config, {key}.trust_remote_code',
                                  'build the model from its config file')
    elif isinstance(config, str) and config.lower().endswith(RUN_AS_READ):
        raise CheckpointError(f'{config!r} names a file that mmengine would run', f'its config, {key}',
                              'build the model from its config file')
    if isinstance(config, (dict, list, tuple)):
        for name, value in config.items() if isinstance(config, dict) else enumerate(config):
            check_types(value, known, f'{key}.{name}', required=False)


@cache
def import_registries() -> None:
    """Let the hosts that are installed register their models."""
    for scope in SCOPES:
        if find_spec(scope):
            registries = import_module(f'{scope}.registry')
            for kind in ('MODELS', 'TASK_UTILS', 'TRANSFORMS'):
                if hasattr(registries, kind):
                    getattr(registries, kind).import_from_location()
    if find_spec('mmseg'):
        for late in (MODELS, TRANSFORMS):  # ours that are made of mmseg's
            import_module(late.children['nepa_mm'].late)


def registered(*roots: Registry) -> set[str]:
    """Names of all registered classes, with and without their scope, but for those that fetch models of others."""
    import_registries()
    registries, names = list(roots), set()
    for found in registries:
        registries += found.children.values()
        for name, kind in found.module_dict.items():
            if isclass(kind) and not kind.__module__.startswith(WRAPPERS):
                names.update((name, f'{found.scope}.{name}'))
    return names


def pipeline_of(config: dict) -> dict:
    """The test pipeline of a config, where the inferencers of the hosts look for it; without what is not registered."""
    pipeline = pipeline_of_one_view(config)
    if not pipeline:
        return {}
    try:
        for i, transform in enumerate(pipeline):
            check_types(transform, registered(TRANSFORMS), f'test_dataloader.dataset.pipeline.{i}')
    except CheckpointError as error:
        print_log(f'{error.where}: {error.what}; the pipeline is left out, so that inferencers need one of yours', 'current',
                  logging.WARNING)
        return {}
    pipeline = [scoped(transform, scope_of(config)) for transform in without_init(pipeline) if transform['type'] not in LABELS]
    return dict(test_dataloader=dict(dataset=dict(pipeline=pipeline)), test_pipeline=pipeline)


def scoped(transform: dict, scope: str) -> dict:
    """A transform whose type says its host: the other host may have made itself the default scope.

    But for the loader, which inferencers look for by its name and all scopes have.
    """
    is_host_s = transform['type'] in TRANSFORMS.children[scope].module_dict and transform['type'] != 'LoadImageFromFile'
    return dict(transform, type=f'{scope}.{transform["type"]}') if is_host_s else transform
