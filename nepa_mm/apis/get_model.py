"""A built and loaded model in one call."""
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import MODELS, TASK_UTILS, DefaultScope, init_default_scope
from mmengine.runner import CheckpointLoader
from mmpretrain.models import BaseSelfSupervisor

from nepa_mm.checkpoints.fitting.prefixes import blocks_of, checked
from nepa_mm.checkpoints.model_config import centre_pipeline, inferred_backbone, model_config
from nepa_mm.checkpoints.preprocessing import input_size, pipeline_in
from nepa_mm.checkpoints.record import config_from_text
from nepa_mm.checkpoints.storage.files import about
from nepa_mm.errors import CheckpointError, first_line
from nepa_mm.hosts.type_names import name_of
from nepa_mm.models.fit_model import fit_model, require_all

from .untrusted_config import check_types, importing_nothing, pipeline_of, registered, scope_of, without_init


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
    with about(address):
        return built(CheckpointLoader.load_checkpoint(address, 'cpu', logger='silent'), address, overrides)


def built(checkpoint: dict, address: str, overrides: dict) -> BaseModel:
    """The model that a checkpoint holds, loaded; see :func:`get_model`."""
    weights = checked(checkpoint)
    config = config_of(checkpoint, address)
    model_cfg = without_init(config['model'])
    if not isinstance(model_cfg.get('backbone'), dict):
        raise CheckpointError(f'no dict but {model_cfg.get("backbone")!r}', 'its config, model.backbone',
                              'give a checkpoint of a NEPA model')
    model_cfg['backbone'].update(overrides)
    check_types(model_cfg, registered(MODELS, TASK_UTILS))
    check_depth(model_cfg['backbone'].get('arch'), weights)
    try:
        with importing_nothing(), DefaultScope.overwrite_default_scope(scope_of(config)):
            model = MODELS.build(Config(dict(model=model_cfg)).model)
    except Exception as error:  # of many kinds, as the arguments that a checkpoint may name
        reason = first_line(error)
        raise CheckpointError(f'no model can be built from it and {overrides or "no overrides"} ({reason})', 'its config',
                              'mend the overrides, or build it from its config file') from error
    fit = fit_model(model, weights)
    if fit.unused_parts or fit.new_parts:
        raise CheckpointError(f'the model of the config lacks {fit.unused_parts}, and the checkpoint {fit.new_parts}',
                              'its config', 'give a checkpoint with the config that it was trained by')
    if not overrides:
        require_all(fit, 'get_model')
    model.load_state_dict(weights, strict=not model.backbone.allow_unmatched)
    print_log(str(fit), 'current')
    if isinstance(model, BaseSelfSupervisor) and not config.get('test_dataloader'):  # pretraining has no test
        size = overrides.get('img_size') or input_size(config) or 224
        pipeline = loaded_alike(centre_pipeline(dict(model_cfg['backbone'], img_size=size)), config)
        config = dict(config, test_dataloader=dict(dataset=dict(pipeline=pipeline)))
    # Where the inferencers of the hosts look; of the rest of the config they would build whatever it names
    model._config = Config(dict(default_scope=scope_of(config), model=model_cfg, **pipeline_of(config)))
    if scope_of(config) == 'mmseg':  # as mmseg's own init_model does, for inference_model
        model.cfg = model._config
        init_default_scope('mmseg')
    facts = checkpoint['meta'].get('dataset_meta') if isinstance(checkpoint.get('meta'), dict) else None
    model._dataset_meta = model.dataset_meta = facts if isinstance(facts, dict) else {}
    model.train(False)  # mmpretrain's backbones return None from eval()
    return model


def loaded_alike(pipeline: list[dict], config: dict) -> list[dict]:
    """A test pipeline that loads images as the training of a config did, of one channel for instance."""
    load = next(iter(pipeline_in(config, 'train_dataloader') or ()), {})
    return [load, *pipeline[1:]] if name_of(load) in ('LoadImage', 'LoadImageFromFile') else pipeline


def config_of(checkpoint: dict, address: str) -> dict:
    """The config that a checkpoint carries, as data; without one, what the shapes of its weights show."""
    meta = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), dict) else {}
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
