"""Addresses of weights that mm takes as it takes a path: as ``load_from``, in ``init_cfg``, for ``tools/test.py``.

mmengine's EMAHook saves the average as ``state_dict`` and the raw weights as ``ema_state_dict``, so a plain path loads the
average. ``raw:PATH`` and ``ema:PATH`` say which. ``hf:FOLDER`` and ``hf:ORG/NAME`` are checkpoints in the released format,
converted as they load; ``ema:hf:...`` is the average that the release keeps beside the raw weights.

Importing this module, as ``nepa_mm`` does with mmengine's runner, replaces mmengine's loaders by ones that never run code: what
cannot be read with ``weights_only=True`` is refused, where mmengine would go on to unpickle it.
"""
import hashlib
import logging
import os
import re
from collections import OrderedDict
from pathlib import Path

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_loaders
from torch import Tensor

from nepa_mm.errors import CheckpointError, first_line
from nepa_mm.variants import complete_arguments

from .birder import facts_in_file, from_birder
from .fitting.birder_keys import is_birder
from .fitting.fit import Origin, Origins, untraced_settings
from .fitting.prefixes import backbone_in, checked, state_dict_of, with_our_names
from .preprocessing import sides
from .record import KEY, check_kind, facts_in, from_header, model_in, plain_config_text
from .release.released_files import find_released, meta_of
from .storage.files import about, read_checkpoint, sha256
from .storage.names import SCHEMES


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location=None) -> dict:
    """Load a file: a runner's checkpoint, published weights, or released ones, which get our names."""
    with about(filename):
        return opened(read_checkpoint(filename, map_location), filename)


@CheckpointLoader.register_scheme(prefixes=['http://', 'https://'], force=True)
def load_from_http(filename: str, map_location=None) -> dict:
    """Load a file from the web, downloaded once. The hexadecimal end of ``NAME-0123abcd.pth`` must be its SHA-256's start."""
    name = re.split('[?#]', filename)[0].rpartition('/')[2]
    digest = re.search(r'-([0-9a-f]{8,})\.', name)
    # Files of many repositories go by the same name.
    path = Path(torch.hub.get_dir()) / 'checkpoints' / hashlib.sha256(filename.encode()).hexdigest()[:16] / name
    if get_local_rank() == 0 and not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(filename, path, digest and digest[1], progress=os.isatty(0))
        except Exception as error:  # many kinds: no network, no such file, another digest
            raise CheckpointError(f'it cannot be downloaded ({first_line(error)})', filename,
                                  'check the address and the network') from error
    barrier()
    with about(filename):
        if digest and not sha256(path).startswith(digest[1]):
            raise CheckpointError(f'its SHA-256 does not begin with {digest[1]}', str(path), 'remove the file')
        return opened(read_checkpoint(path, map_location), filename)


@CheckpointLoader.register_scheme(
    prefixes=['modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'mmcls://'], force=True)
def load_from_model_zoo(filename: str, map_location=None) -> dict:
    """Load a model that mmengine knows by name."""
    zoo, name = filename.split('://', 1)
    if zoo in ('modelzoo', 'torchvision'):
        places = mmengine_loaders.get_torchvision_models()
    else:
        places = mmengine_loaders.get_mmcls_models() if zoo == 'mmcls' else mmengine_loaders.get_external_models()
        name = mmengine_loaders.get_deprecated_model_names().get(name, name)
    with about(filename):
        if name not in places:
            raise CheckpointError('no model goes by this name', filename, 'give a name that mmengine knows, or a path')
        if places[name].startswith('http'):
            checkpoint = load_from_http(places[name], map_location)
        else:
            checkpoint = load_from_local(os.path.join(mmengine_loaders._get_mmengine_home(), places[name]), map_location)
        if zoo == 'mmcls':  # as mmengine, the backbone alone
            return mmengine_loaders._process_mmcls_checkpoint(checkpoint)
        return checkpoint


@CheckpointLoader.register_scheme(prefixes=[r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], force=True)
def load_from_ceph(filename: str, map_location=None) -> dict:
    with about(filename), get_local_path(filename, backend_args=dict(backend='petrel')) as path:
        return opened(read_checkpoint(path, map_location), filename)


@CheckpointLoader.register_scheme(prefixes='pavi://', force=True)
def load_from_pavi(filename: str, map_location=None) -> dict:
    """Refuse what only mmengine's own loader could fetch, which would unpickle it."""
    raise CheckpointError('pavi:// is not supported', filename, 'download the file and give its path')


@CheckpointLoader.register_scheme(prefixes='hf:', force=True)
def load_from_hf(filename: str, map_location=None, ema: bool = False) -> dict:
    """Load ``hf:FOLDER``, ``hf:FILE``, ``hf:ORG/NAME`` or ``hf:ORG/NAME@REVISION``, renamed to our parameters."""
    with about(filename):
        released = find_released(filename, ema)
        state_dict = checked(opened(read_checkpoint(released.weights, map_location), filename))
        meta = meta_of(released, state_dict)
        return dict(state_dict=with_origin(state_dict, filename, meta), meta=meta)


@CheckpointLoader.register_scheme(prefixes=SCHEMES, force=True)
def load_from_raw_or_ema(filename: str, map_location=None) -> dict:
    """Load ``raw:PATH`` or ``ema:PATH``; the result holds what is asked for, if it is there, as its only ``state_dict``."""
    kind, path = filename.split(':', 1)
    if path.startswith('hf:'):
        return load_from_hf(path, map_location, ema=kind == 'ema')
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location, logger='silent')
    with about(filename):
        other = checkpoint.pop('ema_state_dict', None)
        if other is None:
            check_kind(checkpoint.get('meta'), kind == 'ema')
            return checkpoint
        meta = checkpoint.get('meta')
        if kind == 'raw':
            raw = {name.removeprefix('module.'): value for name, value in other.items() if name.startswith('module.')}
            checkpoint['state_dict'] = with_origin(raw, filename, meta)
        if isinstance(meta, dict):
            meta[KEY] = {**facts_in(meta), 'weights': kind}
        return checkpoint


def opened(checkpoint: dict, filename: str) -> dict:
    """A checkpoint as read from a file, with our names if it is a NEPA model, and nothing in it that mmengine would execute."""
    birder = facts_in_file(checkpoint)
    if set(checkpoint) == {'state_dict', 'metadata'}:  # of safetensors
        checkpoint = dict(state_dict=checkpoint['state_dict'], meta=from_header(checkpoint['metadata']))
    meta = checkpoint.get('meta') if isinstance(checkpoint.get('meta'), dict) else {}
    if meta.pop('config', None) is not None:
        print_log(f"{filename}: meta['config'] is left out, which mmengine would execute on resume", 'current', logging.WARNING)
    hub = checkpoint.get('message_hub')
    for place in (meta, hub.get('runtime_info') if isinstance(hub, dict) else None):  # both are where inferencers look
        if isinstance(place, dict) and isinstance(place.get('cfg'), str):
            place['cfg'], text = plain_config_text(place['cfg']), place['cfg']
            if place['cfg'] != text:
                print_log(f'{filename}: its config is more than plain data; the rest is left out', 'current', logging.WARNING)
    state_dict = state_dict_of(checkpoint)
    if state_dict is not None and is_birder(state_dict):
        weights, meta = from_birder(state_dict, birder, filename)
        checkpoint = dict(state_dict=with_origin(weights, filename, meta), meta=meta)
    elif state_dict is not None:
        # A runner goes on from its own names, whatever they are.
        renamed = state_dict if 'message_hub' in checkpoint else with_our_names(state_dict)
        weights = with_origin(renamed, filename, meta, getattr(state_dict, '_metadata', None))
        checkpoint = dict({} if state_dict is checkpoint else checkpoint, state_dict=weights)
    return checkpoint


def with_origin(state_dict: dict[str, Tensor], filename: str, meta: dict | None, versions: dict | None = None) -> OrderedDict:
    """The weights with a note for the backbone of where they come from."""
    versions = versions.items() if isinstance(versions, dict) else []
    result = OrderedDict(state_dict)
    result._metadata = Origins({module: dict(version) for module, version in versions if isinstance(version, dict)},
                               Origin(filename, saved_settings(meta), backbone_in(state_dict)))
    return result


def saved_settings(meta: dict | None) -> dict:
    """``untraced_settings`` of the backbone that was saved, from its record or else its config; empty if neither tells.

    With ``grid``, the rows and columns of its position embedding, where the config has ``img_size``.
    """
    backbone, settings = (model_in(meta) or {}).get('backbone', {}), facts_in(meta).get('settings')
    if not isinstance(settings, dict):
        if not str(backbone.get('type')).endswith('NEPAViT'):  # or an encoder made of one, such as MAENEPAViT
            return {}
        settings = untraced_settings(complete_arguments(backbone))
    if 'img_size' not in backbone:
        return settings
    return dict(settings, grid=tuple(side // backbone.get('patch_size', 14) for side in sides(backbone['img_size'])))
