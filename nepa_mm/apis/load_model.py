"""The one door: from what a person names to a loaded model, with the pipeline and the classes that the hosts look for on it."""
import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, TASK_UTILS, DefaultScope, init_default_scope
from mmengine.runner import CheckpointLoader
from mmpretrain.models import BaseSelfSupervisor

from nepa_mm.checkpoints.fitting.prefixes import blocks_of, checked, state_dict_of
from nepa_mm.checkpoints.model_config import centre_pipeline, inferred_backbone, model_config
from nepa_mm.checkpoints.preprocessing import bands_in, input_size, pipeline_in, pipeline_of_one_view
from nepa_mm.checkpoints.record import config_from_text
from nepa_mm.checkpoints.storage.files import about
from nepa_mm.errors import CheckpointError, ConfigError, first_line
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_keys import arguments_of, remedy
from nepa_mm.launch.naming_errors import naming
from nepa_mm.launch.read_config import read_config
from nepa_mm.models.fit_model import fit_model, require_all

from .untrusted_config import check_types, importing_nothing, pipeline_of, registered, scope_of, scoped, without_init

BACKBONE = 'model.backbone.'


def get_model(address: str, **overrides) -> BaseModel:
    """Build the model that a checkpoint holds, load it strictly and put it in evaluation mode.

    Args:
        address: ``hf:FOLDER`` or ``hf:ORG/NAME`` of a checkpoint in the released format, or a checkpoint of ours: of a training,
            converted or published; ``raw:PATH`` and ``ema:PATH`` say which weights of a training.
        **overrides: Arguments of :class:`NEPAViT` instead of the checkpoint's, e.g. ``causal=False``.

    Returns:
        An ``NEPA`` for a pretraining checkpoint (``model(x, mode='loss')`` with normalised x [B, 3, H, W] gives a dict with
        ``loss``), an mmpretrain ``ImageClassifier`` for a classification one (``model(x)`` gives logits [B, num_classes]), an
        mmseg ``EncoderDecoder`` for a segmentation one. The hosts' inferencers take it: mmpretrain's
        ``ImageClassificationInferencer(model)('a.jpg')`` and ``FeatureExtractor(model)('a.jpg')``, and mmseg's
        ``inference_model(model, 'a.jpg')``, for which a segmentor makes mmseg the default scope, as mmseg's ``init_model`` does.

    Raises:
        CheckpointError: If there is no such checkpoint, it does not say what model it holds, or a weight is missing, left
            over or of another shape.
    """
    return load_model(address, options={f'{BACKBONE}{name}': value for name, value in overrides.items()})


def load_model(address: str, checkpoint: str | None = None, options: dict | None = None,
               out_type: str | None = None) -> BaseModel:
    """The model of a config file and a checkpoint, or of a checkpoint alone as :func:`get_model` builds it; on the CPU.

    Args:
        address: A config file (.py), whose code runs; or what :func:`get_model` takes, of which none does.
        checkpoint: With a config file, whose weights are loaded; all that the model has must be there.
        options: Settings of the config to override, by their dotted keys; of a checkpoint alone, those of its backbone.
        out_type: Of the backbone, instead of the config's. Parts after it may then be missing in the checkpoint.

    Raises:
        ConfigError: If there is no such config, what is named does not go together, or no model can be built.
        CheckpointError: If there is no such checkpoint, or it does not fit.
    """
    options = {**(options or {}), **({} if out_type is None else {f'{BACKBONE}out_type': out_type})}
    foreign = [key for key in options if not key.startswith(BACKBONE)]
    if address.endswith('.py'):
        if checkpoint is None:
            raise CheckpointError('a config file has no weights', address, 'give them with --checkpoint PATH')
        model, config = from_file(address, options)
    elif checkpoint is not None:
        raise ConfigError('it is no config file (.py)', address, 'leave out --checkpoint, or give a config file')
    elif foreign:
        raise ConfigError(f'{foreign[0]}: of a checkpoint alone {BACKBONE}* can be set', '--cfg-options',
                          'give its config for others')
    with about(checkpoint or address):
        loaded = CheckpointLoader.load_checkpoint(checkpoint or address, 'cpu', logger='silent')
        meta = loaded.get('meta') if isinstance(loaded.get('meta'), dict) else {}
        if checkpoint is None:
            model, config = from_checkpoint(loaded, meta, address, options)
        else:
            fill(model, state_dict_of(loaded) or {}, out_type is not None)
    facts = meta.get('dataset_meta')
    model._dataset_meta = model.dataset_meta = facts if isinstance(facts, dict) and facts else dataset_facts(config)
    model._config = config
    if config.get('default_scope') == 'mmseg':  # as mmseg's own init_model does, for inference_model
        model.cfg = config
        init_default_scope('mmseg')
    model.train(False)  # mmpretrain's backbones return None from eval()
    return model


def model_of(args: argparse.Namespace, out_type: str | None = None) -> BaseModel:
    """The model that the arguments name, on its device; what the hosts say about it goes to standard error."""
    device = device_of(args.device)
    with redirect_stdout(sys.stderr):
        return load_model(args.model, args.checkpoint, args.cfg_options, out_type).to(device)


def device_of(name: str | None) -> torch.device:
    """The device of that name, if it is there; without one the GPU, or that of this process, if there is one."""
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        if device.type == 'cuda' and device.index is None:  # each process of a launcher has a GPU of its own
            device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'{name} cannot be used here ({first_line(error)})', '--device', 'try --device cpu') from error
    return device


def from_file(path: str, options: dict) -> tuple[BaseModel, Config]:
    """The model of a config file, still empty, and its config, with the test pipeline where each host looks for it."""
    config = read_config(path, options)
    if not isinstance(config.get('model'), dict):
        raise ConfigError('it has no model', path, 'give the config of a model')
    model_cfg = config['model'] = whole_model(config)
    try:
        with naming(config), without_hint(), DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain')):
            model = MODELS.build(Config(dict(model=without_init(model_cfg))).model)
    except ConfigError:
        raise
    except Exception as error:  # of many kinds, as the arguments of the hosts' models
        raise ConfigError(f'its model cannot be built ({first_line(error)})', path, 'mend the config, or give another') from error
    add_pipeline(model, config, options)
    pipeline = pipeline_of_one_view(config)
    if pipeline:
        config['test_pipeline'] = pipeline  # mmseg takes the variable of that name, which need not be what the test has
    return model, config


def from_checkpoint(checkpoint: dict, meta: dict, address: str, options: dict) -> tuple[BaseModel, Config]:
    """The model that a checkpoint holds, with its weights, and of its config what builds nothing but that and its pipeline."""
    weights, config = checked(checkpoint), config_of(checkpoint, meta, address)
    overrides = {key.removeprefix(BACKBONE): value for key, value in options.items()}
    model_cfg = without_init(whole_model(config))
    if not isinstance(model_cfg.get('backbone'), dict):
        raise CheckpointError(f'no dict but {model_cfg.get("backbone")!r}', 'its config, model.backbone',
                              'give a checkpoint of a NEPA model')
    override(model_cfg['backbone'], overrides)
    check_types(model_cfg, registered(MODELS, TASK_UTILS))
    check_depth(model_cfg['backbone'].get('arch'), weights)
    with DefaultScope.overwrite_default_scope(scope_of(config)):
        known = arguments_of(MODELS.get(model_cfg['backbone']['type']))
    for name in overrides:
        if name.split('.')[0] not in known:
            raise CheckpointError(f"{model_cfg['backbone']['type']!r} has no such argument", BACKBONE + name, remedy(name, known))
    try:
        with importing_nothing(), without_hint(), DefaultScope.overwrite_default_scope(scope_of(config)):
            model = MODELS.build(Config(dict(model=model_cfg)).model)
    except Exception as error:  # of many kinds, as the arguments that a checkpoint may name
        reason = first_line(error)
        raise CheckpointError(f'no model can be built from it and {overrides or "no overrides"} ({reason})', 'its config',
                              'mend the overrides, or build it from its config file') from error
    fill(model, weights, bool(overrides), exactly=True)
    config = dict(config, model=model_cfg)
    add_pipeline(model, config, options)
    # Where the inferencers of the hosts look; of the rest of the config they would build whatever it names
    return model, Config(dict(default_scope=scope_of(config), model=model_cfg, **pipeline_of(config)))


def override(backbone: dict, overrides: dict) -> None:
    """Set arguments, or parts of them by dotted names, in place; CheckpointError for a part of what has none."""
    for name, value in overrides.items():
        *arguments, last = name.split('.')
        place = backbone
        for argument in arguments:
            place = place.setdefault(argument, {})
            if not isinstance(place, dict):
                raise CheckpointError(f'{argument}={place!r} has no parts', BACKBONE + name, 'set it as a whole')
        place[last] = value


@contextmanager
def without_hint() -> Iterator[None]:
    """Leave out what mmseg's loss says about itself as it is built: here nothing is trained."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Default ``avg_non_ignore`` is False')
        yield


def fill(model: BaseModel, weights: dict, may_create: bool, exactly: bool = False) -> None:
    """Load weights into a model, every one of it: the hosts would leave what they lack at random.

    Args:
        weights: By our names, or those of another backbone.
        may_create: What was changed of the backbone, or comes after it, may be missing.
        exactly: Model and weights must have the same parts.
    """
    fit = fit_model(model, weights)
    if exactly and (fit.unused_parts or fit.new_parts):
        raise CheckpointError(f'the model of the config lacks {fit.unused_parts}, and the checkpoint {fit.new_parts}',
                              'its config', 'give a checkpoint with the config that it was trained by')
    if not may_create:
        require_all(fit, 'inference')
    lacking = [name for name in model.load_state_dict(weights, strict=False).missing_keys
               if not may_create or name.startswith('backbone.')]
    if lacking and not fit.available:  # of a backbone that is not ours
        raise CheckpointError(f"it lacks {len(lacking)} weights of the config's model, such as {lacking[0]}", 'its weights',
                              'give the config that it was trained by')
    if fit.available:
        print_log(str(fit), 'current')


def whole_model(config: dict) -> dict:
    """The model in a config, with the data preprocessor that a runner would take from beside it."""
    beside = config.get('data_preprocessor')
    return config['model'] if beside is None else {'data_preprocessor': beside, **config['model']}


def add_pipeline(model: BaseModel, config: dict, options: dict) -> None:
    """Give the config of a pretraining, which has no test, a test pipeline: the release's, of the training's size and loader."""
    if isinstance(model, BaseSelfSupervisor) and not config.get('test_dataloader'):
        size = options.get(f'{BACKBONE}img_size') or input_size(config) or 224
        pipeline = centre_pipeline(dict(config['model']['backbone'], img_size=size), bands_in(config))
        load = next(iter(pipeline_in(config, 'train_dataloader') or ()), {})  # of one channel for instance
        if name_of(load) in ('LoadImage', 'LoadImageFromFile'):
            pipeline[0] = {key: value for key, value in load.items() if key != 'whole'}  # no crop is drawn here
        pipeline = [scoped(step, 'mmpretrain') for step in pipeline]
        config['test_dataloader'] = dict(dataset=dict(pipeline=pipeline))


def dataset_facts(config: dict) -> dict:
    """Names of classes that a config gives its test dataset, or that its dataset has."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    if dataset.get('metainfo') or 'type' not in dataset:
        return dataset.get('metainfo') or {}
    with DATASETS.switch_scope_and_registry(config.get('default_scope', 'mmpretrain')) as registry:
        return getattr(registry.get(dataset['type']), 'METAINFO', {})


def config_of(checkpoint: dict, meta: dict, address: str) -> dict:
    """The config that a checkpoint carries, as data; without one, what the shapes of its weights show."""
    config = config_from_text(meta['cfg']) if isinstance(meta.get('cfg'), str) else {}
    if isinstance(config.get('model'), dict):
        return config
    weights = checkpoint['state_dict']
    if any(name.startswith('decode_head.') for name in weights):
        raise CheckpointError('a segmentor without a config', 'its meta', 'build it from its config file and load this into it')
    num_classes = len(weights['head.fc.weight']) if 'head.fc.weight' in weights else None
    return model_config(inferred_backbone(weights, f'{address} carries no config'), num_classes)


def check_depth(arch, weights: dict) -> None:
    """Refuse a depth that the weights have not, before so many blocks are built."""
    depth = len(blocks_of(name for name in weights if name.startswith('backbone.')))
    if isinstance(arch, dict) and arch.get('num_layers') != depth:
        raise CheckpointError(f'{arch.get("num_layers")!r} blocks, but the weights have {depth}',
                              'its config, model.backbone.arch.num_layers',
                              'give a checkpoint with the config that it was trained by')
