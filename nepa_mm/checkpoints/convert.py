"""Files of weights from one format to another: the authors' release, ours, ours for publication.

Safetensors are converted tensor by tensor, in the memory of the largest. Each conversion gives back one line that says what was
done. A CheckpointError says that the checkpoint, or the weights asked for, are not there or not whole, a ConfigError that what
is to be written is there already, or cannot be.
"""
import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from nepa_mm.errors import CheckpointError
from nepa_mm.new_files import link_new, new_file, refuse_existing, require_place
from nepa_mm.variants import variant_of

from . import record
from .fitting.prefixes import RELEASED, checked, our_parts, prefix_of, state_dict_of
from .fitting.released_keys import released_parts, stacked, third_of
from .model_config import inferred_backbone, model_config
from .preprocessing import input_size
from .release.preprocessor_file import NAME, read_file, to_file
from .release.released_config import released_config
from .release.released_files import find_released, meta_of
from .storage.durable import check_whole
from .storage.files import about, existing_file, is_safetensors, read_checkpoint, sha256
from .storage.names import is_sharded, path_of
from .storage.pth_files import key_of, untouched, write_frame, write_pth
from .storage.safetensors_files import ComputedTensors, LazyTensors, write_safetensors
from .storage.sharded_files import dtype_of, lazy_sharded, place_of, read_manifest, read_tensor

WRITTEN = ('.pth', '.safetensors')
# Of a segmentor and of pretraining with masks, which the release has no place for
OUTSIDE_RELEASE = ('decode_head.', 'auxiliary_head.', 'neck.', 'mask_token')


def check_suffix(path: Path) -> None:
    if path.suffix not in WRITTEN:
        raise CheckpointError(f'{str(path)!r} is of a kind that is not written', 'DST', f'end it in {" or ".join(WRITTEN)}')


def write_weights(path: Path, tensors: Mapping[str, Tensor], meta: dict) -> None:
    """Write weights and what is known of them to a ``.pth`` or ``.safetensors`` file, which must not exist."""
    with new_file(path) as temporary:
        if path.suffix == '.safetensors':
            write_safetensors(temporary, tensors, record.to_header(meta))
        else:
            write_pth(temporary, tensors, meta)


def hf_to_mm(src: str, dst: Path, ema: bool = False) -> str:
    """Convert a released checkpoint to ours.

    Args:
        src: A folder, a file of weights, or the id of a Hugging Face repository; ``hf:`` may stand before it.
        dst: File to write, ``.pth`` or ``.safetensors``.
        ema: Take the averaged weights, ``pytorch_model_ema.bin``.
    """
    check_suffix(dst)
    refuse_existing(dst)
    with about(src):
        released = find_released(src, ema)
        if is_safetensors(released.weights):
            source = LazyTensors(released.weights)
            files = source.files
        else:
            checkpoint, files = read_checkpoint(released.weights), [released.weights]
            source = state_dict_of(checkpoint) or checked(checkpoint)
        tensors = by_our_names(source)
        if prefix_of(RELEASED, source) is None:
            raise CheckpointError('no released checkpoint but one of ours already', 'its weights',
                                  'take it as it is, without conversion')
        meta = meta_of(released, tensors, sha256={file.name: sha256(file) for file in files})
        write_weights(dst, tensors, meta)
    return (f'{dst}: {len(tensors)} tensors of {released.weights} ({kind_of(tensors)}, {variant_in(meta)} variant, '
            f'weights: {which(meta)})')


def mm_to_hf(src: str, dst: Path, ema: bool = False) -> str:
    """Convert a checkpoint of ours to a folder that the authors' classes load strictly.

    CheckpointError if a weight, a setting or a step of the test pipeline has no place in the release.

    Args:
        src: A checkpoint of a training, converted or published.
        dst: Folder to write: ``config.json``, ``model.safetensors``, ``preprocessor_config.json``.
        ema: Take the averaged weights of a training.
    """
    refuse_existing(dst / 'model.safetensors')
    with about(src):
        ours, meta = weights_of(src, ema)
        left_out = [name for name in ours if name.startswith(OUTSIDE_RELEASE)]
        places = released_parts(name for name in ours if name not in left_out)
        num_classes = len(ours['head.fc.weight']) if 'head.fc.weight' in ours else None
        if num_classes and any(name.startswith('neck.') for name in left_out):
            raise CheckpointError('its classifier needs the neck before it, which the release has no place for', 'its weights',
                                  'convert the pretraining that it was made of')
        settings = record.config_from_text(meta['cfg']) if record.model_in(meta) else {}
        model = settings.get('model') or model_config(inferred_backbone(ours, f'{src} carries no config'), num_classes)['model']
        classes = meta['dataset_meta'].get('classes') if isinstance(meta.get('dataset_meta'), dict) else None
        config = released_config(model, num_classes, classes, record.facts_in(meta).get('config'), released_size(settings))
        config = record.names_for_places(config)  # transformers notes where it read a config
        config['dtype'] = str(ours['backbone.norm.weight'].dtype).removeprefix('torch.')
        tensors = ComputedTensors({name: partial(third_of, ours, *place) for name, place in places.items()})
        images = image_settings(settings, config['image_size'], dst)
        with new_file(dst / 'model.safetensors') as weights, new_file(dst / 'config.json') as text:
            write_safetensors(weights, tensors, record.to_header({record.KEY: published_record(meta, Path(path_of(src)))}))
            text.write_text(json.dumps(config, indent=2) + '\n')
        if images is not None:
            (dst / NAME).write_text(json.dumps(images, indent=2) + '\n')
    line = f'{dst}: {len(places)} tensors of {src} ({kind_of(ours)}, weights: {which(meta)})'
    if left_out:
        parts = sorted({name.split('.')[0] for name in left_out})
        line += f'; left out, as the release has no place for them: {len(left_out)} of {", ".join(parts)}'
    if not (dst / NAME).exists():
        line += f'; no {NAME}, as the checkpoint does not say how its pixels are normalised: add yours'
    return line


def released_size(config: dict) -> tuple[int, int] | None:
    """Size of a model's images; None, the backbone's own, for a segmentor whose crop is no square: its weights fit both."""
    size = input_size(config)
    return None if size and size[0] != size[1] and 'decode_head' in config['model'] else size


def image_settings(config: dict, image_size: int, dst: Path) -> dict | None:
    """``preprocessor_config.json`` to write for a config; None to write none, as ours does not say it, or yours is there.

    CheckpointError if yours says otherwise than the config, or the config has steps that the file has no place for.
    """
    yours = read_file(dst)
    try:
        images = to_file(config, image_size) if config else None
    except CheckpointError:
        if yours is None:
            raise
        return None  # what a file cannot say of the pipeline is for you to say
    for key in images if images and yours else ():
        if yours.get(key) != images[key]:
            raise CheckpointError(f'it says {key} = {yours.get(key)}, and the pipeline of the checkpoint {images[key]}',
                                  str(dst / NAME), 'remove the file, and it is written anew')
    return None if yours else images


def publish(src: str, dst: Path, ema: bool = False) -> str:
    """Write the weights of a training alone, for others: no optimizer, no logs; the name carries the SHA-256.

    Args:
        dst: ``NAME.safetensors`` or ``NAME.pth``; the first eight digits of the digest go before the suffix.
        ema: Take the averaged weights.
    """
    dst = dst if dst.suffix in WRITTEN else dst.with_name(f'{dst.name}.safetensors')
    with about(src):
        tensors, meta = weights_of(src, ema)
        kept = {key: meta[key] for key in ('cfg', 'dataset_meta', 'epoch', 'iter', 'seed', 'mmengine_version') if key in meta}
        if isinstance(kept.get('cfg'), str):
            kept['cfg'] = record.without_places(kept['cfg'])
        kept[record.KEY] = published_record(meta, Path(path_of(src)))
        require_place(dst)
        with TemporaryDirectory(dir=dst.parent) as folder:
            draft = Path(folder) / dst.name
            write_weights(draft, tensors, kept)
            path = dst.with_name(f'{dst.stem}-{sha256(draft)[:8]}{dst.suffix}')
            link_new(draft, path)
    return f'{path}: {len(tensors)} tensors of {src} ({kind_of(tensors)}, weights: {which(meta)}), without optimizer and logs'


def gather(src: str, dst: Path, ema: bool = False) -> str:
    """Write the checkpoint that the processes of a training wrote in pieces as one file.

    Args:
        dst: ``NAME.pth``, with all that a training goes on from, or ``NAME.safetensors``, with the weights alone.
        ema: Of these, take the averaged ones.
    """
    check_suffix(dst)
    refuse_existing(dst)
    folder = Path(src)
    if not is_sharded(folder):
        raise CheckpointError('it is no checkpoint in pieces, which is a folder', src, 'take a file as it is, or publish it')
    check_whole(folder)
    if dst.suffix == '.safetensors':
        tensors, meta = weights_of(src, ema)
        write_weights(dst, tensors, meta)
        return f'{dst}: {len(tensors)} tensors of {src} ({kind_of(tensors)}, weights: {which(meta)})'
    if ema:
        raise CheckpointError('a .pth has the averaged weights and the raw ones', '--ema', 'leave it out, or write .safetensors')
    frame, entries, _ = read_manifest(folder)
    makers = {}
    for entry in entries:
        place = untouched(torch.empty(entry.shape, dtype=dtype_of(entry), device='meta'))
        place_of(frame, entry.keys)[entry.keys[-1]] = place
        makers[key_of(place)] = partial(read_tensor, folder, entry)
    with new_file(dst) as temporary:
        write_frame(temporary, frame, makers)
    return f'{dst}: all of {src}, {len(entries)} of its tensors put together'


def published_record(meta: dict, path: Path) -> dict:
    """The record of weights that others get: of places on this machine, the names alone."""
    known = record.facts_in(meta)
    facts = {key: known[key] for key in ('settings', 'source', 'sha256', 'config', 'started_from') if key in known}
    if 'source' not in facts and path.is_file():
        facts.update(source=path.name, sha256={path.name: sha256(path)})
    for key in ('source', 'started_from'):
        if isinstance(facts.get(key), str):
            facts[key] = record.published_name(facts[key])
    return record.record(which(meta), variant=variant_in(meta), **record.names_for_places(facts))


def weights_of(address: str, ema: bool) -> tuple[Mapping[str, Tensor], dict]:
    """Weights of a checkpoint of ours by our names, and its ``meta``; ``ema:`` before it asks for the average as ``ema`` does."""
    if ema and address.startswith('raw:'):
        raise CheckpointError('raw: asks for its raw weights, and --ema for the average', address, 'leave out one of them')
    path, ema = Path(path_of(address)), ema or address.startswith('ema:')
    if path.suffix == '.safetensors' and path.is_file():
        source = LazyTensors(existing_file(path))
        meta = record.from_header(source.metadata)
        record.check_kind(meta, ema)
        if prefix_of(RELEASED, source) is not None:
            raise CheckpointError('it is in the released format already', 'its weights', 'take it as it is, without conversion')
        return by_our_names(source), meta
    if is_sharded(path):
        return sharded_weights(path, ema)
    checkpoint = CheckpointLoader.load_checkpoint(f'{"ema" if ema else "raw"}:{path_of(address)}', 'cpu', logger='silent')
    meta = checkpoint.get('meta')
    return checked(checkpoint), meta if isinstance(meta, dict) else {}


def sharded_weights(folder: Path, ema: bool) -> tuple[Mapping[str, Tensor], dict]:
    """The same of a checkpoint in pieces, each tensor put together when it is asked for."""
    checkpoint, tensors = lazy_sharded(folder)
    meta, both = checkpoint['meta'], 'ema_state_dict' in checkpoint
    if both:
        meta[record.KEY] = {**record.facts_in(meta), 'weights': 'ema' if ema else 'raw'}
    else:
        record.check_kind(meta, ema)
    part, prefix = ('ema_state_dict', 'module.') if both and not ema else ('state_dict', '')  # EMAHook exchanges them
    makers = {name.removeprefix(prefix): tensors.makers.get((part, name), lambda value=value: value)
              for name, value in checkpoint[part].items() if name.startswith(prefix)}
    if isinstance(meta.get('cfg'), str):
        meta['cfg'] = record.plain_config_text(meta['cfg'])
    return checked(ComputedTensors(makers)), meta


def by_our_names(source: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights of a NEPA model, each made of its parts when it is asked for."""
    return checked(ComputedTensors({name: partial(stacked, source, names) for name, names in our_parts(source).items()}))


def kind_of(names: Iterable[str]) -> str:
    """What a model is trained for, by the names of its weights."""
    if any(name.startswith('decode_head.') for name in names):
        return 'segmentation'
    return 'classification' if any(name.startswith('head.') for name in names) else 'pretraining'


def variant_in(meta: dict) -> str:
    """The variant that a checkpoint's record or config tells."""
    told = record.facts_in(meta).get('variant')
    return told or variant_of((record.model_in(meta) or {}).get('backbone') or {})


def which(meta: dict) -> str:
    """Which weights were taken, as far as that is known; of released ones nobody says whether they are raw or averaged."""
    return record.facts_in(meta).get('weights', 'unknown')
