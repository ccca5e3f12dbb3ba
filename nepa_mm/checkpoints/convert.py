"""Files of weights from one format to another: the authors' release, ours, ours for publication.

Safetensors are converted tensor by tensor, in the memory of the largest.
"""
import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile, ZipInfo

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from nepa_mm.errors import CheckpointError, one_line_errors
from nepa_mm.new_files import link_new, new_file, refuse_existing, require_place
from nepa_mm.variants import variant_of

from . import record
from .addresses import path_of
from .fitting.prefixes import RELEASED, checked, our_parts, prefix_of, state_dict_of
from .fitting.released_keys import released_parts, stacked, third_of
from .model_config import inferred_backbone, model_config
from .preprocessing import input_size
from .release.preprocessor_file import NAME, read_file, to_file
from .release.released_config import released_config
from .release.released_files import find_released, meta_of
from .storage.files import about, existing_file, is_safetensors, read_checkpoint, sha256
from .storage.safetensors_files import ComputedTensors, LazyTensors, tensor_bytes, write_safetensors

WRITTEN = ('.pth', '.safetensors')
# Of a segmentor and of pretraining with masks, which the release has no place for
OUTSIDE_RELEASE = ('decode_head.', 'auxiliary_head.', 'neck.', 'mask_token')


def check_suffix(path: Path) -> None:
    """Refuse a file of a kind that is not written."""
    if path.suffix not in WRITTEN:
        raise CheckpointError(f'{str(path)!r} is of a kind that is not written', 'DST', f'end it in {" or ".join(WRITTEN)}')


def write_weights(path: Path, tensors: Mapping[str, Tensor], meta: dict) -> None:
    """Write weights and what is known of them to a ``.pth`` or ``.safetensors`` file, which must not exist."""
    with new_file(path) as temporary:
        if path.suffix == '.safetensors':
            write_safetensors(temporary, tensors, record.to_header(meta))
        else:
            write_pth(temporary, tensors, meta)


def write_pth(path: Path, tensors: Mapping[str, Tensor], meta: dict) -> None:
    """What ``torch.save`` writes of ``meta`` and ``state_dict``, tensor by tensor, with check sums that ``unzip -t`` finds right.

    PyTorch writes the frame, with the place of each tensor left open (``skip_data``; before 2.6 it fills them), and its parts go
    to the file one by one. The content alone decides every byte: PyTorch would name the parts after the file, and number it.
    """
    places = {name: untouched(tensors[name]) for name in tensors}
    frame, names = path.with_name(f'{path.name}.frame'), list(tensors)
    try:
        with getattr(torch.serialization, 'skip_data', nullcontext)():
            torch.save(dict(meta=meta, state_dict=places), frame)
        with ZipFile(frame) as source, ZipFile(path, 'w') as archive:
            for entry in source.infolist():
                inner = entry.filename.partition('/')[2]
                if inner == '.data/serialization_id':
                    continue
                number = inner.removeprefix('data/')
                content = tensor_bytes(tensors[names[int(number)]]) if number.isdigit() else source.read(entry)
                write_part(archive, f'archive/{inner}', content)
    finally:
        frame.unlink(missing_ok=True)


def untouched(tensor: Tensor) -> Tensor:
    """One of its shape and kind, in pages of its own that take no memory before they are written to."""
    size = tensor.numel() * tensor.element_size()
    return torch.frombuffer(mmap(-1, size), dtype=torch.uint8).view(tensor.dtype).view(tensor.shape) if size else tensor.clone()


def write_part(archive: ZipFile, name: str, content: bytes | memoryview) -> None:
    """Add a part to a zip file, as it is, from a multiple of 64 bytes on, as PyTorch does so that it can be mapped to memory."""
    part = ZipInfo(name)  # of 1980
    begin = archive.fp.tell() + 30 + len(name) + 4  # its header, and that of the padding
    padding = -begin % 64
    part.extra = b'FB' + padding.to_bytes(2, 'little') + bytes(padding)
    part.file_size = len(content)
    with archive.open(part, 'w') as file:
        file.write(content)


def hf_to_mm(src: str, dst: Path, ema: bool = False) -> str:
    """Convert a released checkpoint to ours.

    Args:
        src: A folder, a file of weights, or the id of a Hugging Face repository; ``hf:`` may stand before it.
        dst: File to write, ``.pth`` or ``.safetensors``.
        ema: Take the averaged weights, ``pytorch_model_ema.bin``.

    Returns:
        One line that says what was done.

    Raises:
        CheckpointError: If there is no such checkpoint, it is no NEPA model, or ``dst`` exists.
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

    Args:
        src: A checkpoint of a training, converted or published.
        dst: Folder to write: ``config.json``, ``model.safetensors``, ``preprocessor_config.json``.
        ema: Take the averaged weights of a training.

    Returns:
        One line that says what was done, and what of a segmentor the release has no place for.

    Raises:
        CheckpointError: If a weight, a setting or a step of the test pipeline has no place in the release, or ``dst`` has a
            checkpoint already.
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

    Raises:
        CheckpointError: If yours says otherwise than the config, or the config has steps that the file has no place for.
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
        src: A checkpoint of a training.
        dst: ``NAME.safetensors`` or ``NAME.pth``; the first eight digits of the digest go before the suffix.
        ema: Take the averaged weights.

    Returns:
        One line that says what was done.

    Raises:
        CheckpointError: If the weights asked for are not there, or the file exists or cannot be written.
    """
    dst = dst if dst.suffix in WRITTEN else dst.with_name(f'{dst.name}.safetensors')
    with about(src):
        tensors, meta = weights_of(src, ema)
        kept = {key: meta[key] for key in ('cfg', 'dataset_meta', 'epoch', 'iter', 'seed', 'mmengine_version') if key in meta}
        if isinstance(kept.get('cfg'), str):
            kept['cfg'] = record.without_places(kept['cfg'])
        kept[record.KEY] = published_record(meta, Path(path_of(src)))
        require_place(dst, CheckpointError)
        with TemporaryDirectory(dir=dst.parent) as folder:
            draft = Path(folder) / dst.name
            write_weights(draft, tensors, kept)
            path = dst.with_name(f'{dst.stem}-{sha256(draft)[:8]}{dst.suffix}')
            link_new(draft, path)
    return f'{path}: {len(tensors)} tensors of {src} ({kind_of(tensors)}, weights: {which(meta)}), without optimizer and logs'


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
    """Weights of a checkpoint of ours by our names, and its ``meta``."""
    path = Path(path_of(address))
    if path.suffix == '.safetensors' and path.is_file():
        source = LazyTensors(existing_file(path))
        meta = record.from_header(source.metadata)
        record.check_kind(meta, ema)
        if prefix_of(RELEASED, source) is not None:
            raise CheckpointError('it is in the released format already', 'its weights', 'take it as it is, without conversion')
        return by_our_names(source), meta
    address = address if path_of(address) != address else f'{"ema" if ema else "raw"}:{address}'
    checkpoint = CheckpointLoader.load_checkpoint(address, 'cpu', logger='silent')
    meta = checkpoint.get('meta')
    return checked(checkpoint), meta if isinstance(meta, dict) else {}


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


def command(convert: Callable[[str, Path, bool], str], description: str, src: str, dst: str, ema: str) -> None:
    """The command line of a conversion; ``src``, ``dst`` and ``ema`` say what is asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('src', metavar='SRC', help=src)
    parser.add_argument('dst', metavar='DST', type=Path, help=dst)
    parser.add_argument('--ema', action='store_true', help=ema)
    with one_line_errors():
        args = parser.parse_args()
        print(convert(args.src, args.dst, args.ema))
