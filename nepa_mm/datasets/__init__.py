"""Datasets, transforms and batch augmentations; configs name them with the prefix ``nepa_mm.``."""
from .collate_and_hold import collate_and_hold
from .hf_images import HFImageDataset
from .knn_bank import KNNBank
from .load_image import LoadImage
from .load_seg_annotations import LoadSegAnnotations
from .pack_pixels import PackPixels
from .random_resized_crop_flip import RandomResizedCropFlip
from .seeded_dataset import Draw, DrawSampler, SeededDataset
from .timm_mixup import TimmMixup
from .timm_transform import TimmTransform

__all__ = [
    'Draw', 'DrawSampler', 'HFImageDataset', 'KNNBank', 'LoadImage', 'LoadSegAnnotations', 'PackPixels', 'RandomResizedCropFlip',
    'SeededDataset', 'TimmMixup', 'TimmTransform', 'collate_and_hold']
