"""A batch in the form that a config's own loader gives, of made-up images."""
import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import FUNCTIONS
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import Tensor

from nepa_mm.errors import ConfigError

HEIGHT, WIDTH = 400, 480  # about the mean of ImageNet's images


def made_up_batch(cfg: Config, batch_size: int, img_size: int | None = None):
    """One image of noise through the pipeline of ``train_dataloader``, so many times, collated as the loader does it.

    Args:
        cfg: A config with a ``train_dataloader``; its default scope must be set.
        img_size: Side of square images, instead of the pipeline's; not for segmentation, whose labels have a size too.
    """
    dataset = cfg.train_dataloader.dataset
    while 'pipeline' not in dataset:  # ConcatDataset, RepeatDataset, ...
        dataset = dataset.datasets[0] if 'datasets' in dataset else dataset.dataset
    sample = made_up_sample(dataset)
    sample.pop('erased', None)  # of fine-tuning's random erasing, which belongs to images of the pipeline's size
    if img_size is not None:
        if 'gt_sem_seg' in sample['data_samples']:
            raise ConfigError(f'{img_size} is not for segmentation', '--img-size',
                              'set crop_size and model.data_preprocessor.size')
        sample['inputs'] = map_tensors(sample['inputs'], lambda image: torch.zeros(
            *image.shape[:-2], img_size, img_size, dtype=image.dtype))
    collate = copy.deepcopy(cfg.train_dataloader.get('collate_fn', dict(type='pseudo_collate')))
    name = collate.pop('type')
    return (FUNCTIONS.get(name) if isinstance(name, str) else name)([copy.deepcopy(sample) for _ in range(batch_size)], **collate)


def made_up_sample(dataset: dict) -> dict:
    """An image of noise, of class 0 everywhere, after the pipeline of a data set."""
    bands = dataset['pipeline'][0].get('channels')
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, bands or 3), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        image, labels = Path(folder) / 'image.jpg', Path(folder) / 'labels.png'
        if bands is None:
            Image.fromarray(noise).save(image)
        else:  # of float32 in the model's batch, as of more than 8 bits
            from tifffile import imwrite  # slow to import, and seldom needed
            imwrite(image, noise.astype(np.uint16).transpose(2, 0, 1), photometric='minisblack')
        Image.fromarray(np.ones((HEIGHT, WIDTH), np.uint8)).save(labels)
        pipeline = dataset['pipeline']
        return Compose(pipeline)(dict(
            img_path=str(image), seg_map_path=str(labels), gt_label=0, seg_fields=[], label_map=None, sample_idx=0,
            reduce_zero_label=any(transform.get('reduce_zero_label') for transform in pipeline)))


def map_tensors(batch, function: Callable[[Tensor], Tensor]):
    """The same nest of dicts, lists and data elements with ``function`` of each tensor in it."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {key: map_tensors(value, function) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(map_tensors(value, function) for value in batch)
    if isinstance(batch, BaseDataElement):
        mapped = batch.new()
        for key, value in batch.items():
            # Past the setters of subclasses, which check shapes that do not change.
            mapped.set_field(map_tensors(value, function), key)
        return mapped
    return batch


def size_in_bytes(batch) -> int:
    sizes = []
    map_tensors(batch, lambda tensor: sizes.append(tensor.nbytes))
    return sum(sizes)
