"""Datasets, transforms and batch augmentations; configs name them with the prefix ``nepa_mm.``."""
from importlib import import_module

from .collate_and_hold import collate_and_hold
from .seeded_dataset import Draw, DrawSampler, SeededDataset
from .sources.hf_images import HFImageDataset
from .sources.knn_bank import KNNBank
from .transforms.load_image import LoadImage
from .transforms.load_seg_annotations import LoadSegAnnotations
from .transforms.packing import PackPixels, PackTimm
from .transforms.random_resized_crop_flip import RandomResizedCropFlip
from .transforms.resize_edge import ResizeEdge
from .transforms.timm_mixup import TimmMixup
from .transforms.timm_transform import TimmTransform

WITH_MMSEG = ('CutWindow', 'PackSegInputs', 'PhotoMetricDistortion', 'RandomCrop')


def __getattr__(name: str):
    if name in WITH_MMSEG:  # which pretraining and classification do without
        return getattr(import_module('.transforms.segmentation', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
