"""Small data sets that tests draw: images of noise in folders, and label maps beside them."""
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import InstanceData
from PIL import Image


def image(path: Path, size: tuple[int, int] = (50, 40), seed: int = 0, channels: int = 3) -> Path:
    """Write noise of so many pixels, width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *map(ord, path.name)]).integers(0, 256, (*size[::-1], channels), np.uint8)
    Image.fromarray(pixels.squeeze()).save(path)
    return path


def class_folders(root: Path, counts: dict[str, int], **kwargs) -> Path:
    """A folder of so many images for each class."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image(root / name / f'{name.split("/")[-1]}{i}.png', seed=number, **kwargs)
    return root


def class_map(number: int, classes: int, size: tuple[int, int] = (72, 56), ignored: bool = False) -> np.ndarray:
    """Blocks [H, W] of random classes; with 255 in one where some is ignored."""
    blocks = np.random.default_rng(number).integers(0, classes, (size[1] // 8, size[0] // 8)).astype(np.uint8)
    blocks.flat[:classes] = range(classes)
    if ignored:
        blocks[-1, -1] = 255
    return np.kron(blocks, np.ones((8, 8), np.uint8))


def save(path: Path, pixels: np.ndarray, palette: list | None = None) -> None:
    """Write a label map, with a palette if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette([part for colour in palette for part in colour])
    picture.save(path)


def detected(size: int):
    """An image's one box and its mask, as mmdet packs them."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    box, mask = torch.tensor([[8., 8., 40., 48.]]), np.zeros((1, size, size), dtype=np.uint8)
    mask[0, 8:48, 8:40] = 1
    shapes = dict(img_shape=(size, size), ori_shape=(size, size), scale_factor=(1., 1.))
    instances = InstanceData(bboxes=box, labels=torch.tensor([3]), masks=BitmapMasks(mask, size, size))
    return DetDataSample(metainfo=shapes, gt_instances=instances)
