"""Find a checkpoint in the released format: a folder, a single file or a repository of the Hugging Face hub."""
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from nepa_mm.checkpoints.fitting.fit import untraced_settings
from nepa_mm.checkpoints.model_config import inferred_backbone, model_config, release_images
from nepa_mm.checkpoints.record import KEY, config_text, published_name, record
from nepa_mm.checkpoints.storage.files import existing_file
from nepa_mm.checkpoints.storage.safetensors_files import INDEX_SUFFIX
from nepa_mm.errors import CheckpointError, first_line
from nepa_mm.variants import variant_of

from .preprocessor_file import NAME, images_of, read_file
from .released_config import SEVERAL, backbone_kwargs, classes_of

AVERAGE = 'pytorch_model_ema.bin'  # as the release's trainer saves it, beside the raw weights


@dataclass
class Released:
    """Where a released checkpoint lies."""
    address: str  # without hf:
    weights: Path
    config: dict | None  # None without config.json
    images: dict | None  # None without preprocessor_config.json
    ema: bool


def find_released(address: str, ema: bool = False) -> Released:
    """Find the weights and the config of a released checkpoint.

    Args:
        address: A folder, a file of weights, or ``ORG/NAME`` or ``ORG/NAME@REVISION`` of a repository, which is downloaded
            once and kept in the cache of ``huggingface_hub``. ``hf:`` may stand before it.
        ema: Take the averaged weights, which the release keeps in a file of their own.

    Raises:
        CheckpointError: If there is none, or the config is not of a NEPA model.
    """
    address = address.removeprefix('hf:')
    path = Path(address).expanduser()
    if path.is_file():
        folder, weights = path.parent, path
        if ema and path.name != AVERAGE:
            raise CheckpointError(f'averaged weights are in {AVERAGE}, beside it or in its repository', str(path), 'give that')
    else:
        folder = path if path.is_dir() else download(address, ema)
        weights = folder / AVERAGE if ema else main_weights(folder)
    if not weights.is_file():
        holds = sorted(file.name for file in folder.iterdir())[:5]
        raise CheckpointError(f'no {weights.name} there, but {holds}', f'hf:{address}',
                              f'give a released checkpoint, a folder with config.json and {weights.name}')
    config = None
    if (folder / 'config.json').is_file():
        try:
            config = json.loads(existing_file(folder / 'config.json').read_text())
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f'no JSON ({error})', f'hf:{address}, config.json', 'mend it, or download it again') from error
        kind = config.get('model_type') if isinstance(config, dict) else None
        if kind != 'vit_nepa':
            raise CheckpointError(f"{kind!r} in config.json is not 'vit_nepa'", f'hf:{address}, model_type',
                                  'give a released checkpoint of NEPA')
    return Released(address, existing_file(weights), config, read_file(folder), ema)


def main_weights(folder: Path) -> Path:
    """``model.safetensors``, the index of its parts, or a copy by another name, as long as there is no doubt which."""
    for name in ('model.safetensors', f'model{INDEX_SUFFIX}'):
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob('*.safetensors'))
    return found[0] if len(found) == 1 else folder / 'model.safetensors'


def download(repository: str, ema: bool) -> Path:
    if not re.fullmatch(r'[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?', repository):
        raise CheckpointError('there is no such folder', f'hf:{repository}',
                              'give a folder, or a repository of the Hugging Face hub as ORG/NAME or ORG/NAME@REVISION')
    from huggingface_hub import snapshot_download  # slow to import, and seldom needed
    name, _, revision = repository.partition('@')
    files = [AVERAGE] if ema else ['model.safetensors', f'model{INDEX_SUFFIX}', 'model-*.safetensors']
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=['config.json', NAME, *files]))
    except Exception as error:  # many kinds: a bad id, no network, a refusal
        raise CheckpointError(f'there is no such folder, and the Hugging Face hub did not give it ({first_line(error)})',
                              f'hf:{repository}', 'check the path, or the repository id and the network') from error


def meta_of(released: Released, weights: Mapping[str, Tensor], **facts) -> dict:
    """``meta`` as checkpoints of ours have it: the config of the model, names of classes, the record.

    Without a ``config.json`` the shapes of the weights are asked, and a warning says so.
    """
    if released.config is None:
        backbone, settings = inferred_backbone(weights, f'hf:{released.address} has no config.json'), {}
    else:
        backbone = backbone_kwargs(released.config)
        if 'head.fc.weight' in weights:  # released classifiers pool patch tokens, or else take the last one
            backbone['out_type'] = 'avg_featmap' if released.config.get('add_pooling_layer') else 'last_token'
        settings = untraced_settings(backbone)
    num_classes = len(weights['head.fc.weight']) if 'head.fc.weight' in weights else None
    images = images_of(f'hf:{released.address}', released.images, partial(release_images, backbone), backbone['img_size'],
                       is_sure=released.config is not None or backbone['use_abs_pos_embed'])
    if images.size:
        backbone['img_size'] = images.size[0]
    classes = classes_of(released.config or {}, num_classes)
    config = {key: value for key, value in (released.config or {}).items() if key not in ('id2label', 'label2id')}
    return dict(
        cfg=config_text(model_config(backbone, num_classes, images, config.get('problem_type') == SEVERAL)),
        **(dict(dataset_meta=dict(classes=classes)) if classes else {}),
        **{KEY: record('ema' if released.ema else 'as published', variant=variant_of(backbone), settings=settings,
                       source=published_name(f'hf:{released.address}'), config=config, **facts)})
