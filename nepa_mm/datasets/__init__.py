"""Datasets, transforms and batch augmentations; configs name them with the prefix ``nepa_mm.``."""
from .collate_and_hold import collate_and_hold
from .seeded_dataset import Draw, DrawSampler, SeededDataset
from .sources.hf_images import HFImageDataset
from .sources.knn_bank import KNNBank
from .transforms.load_image import LoadImage
from .transforms.load_seg_annotations import LoadSegAnnotations
from .transforms.pack_pixels import PackPixels
from .transforms.pack_timm import PackTimm
from .transforms.random_resized_crop_flip import RandomResizedCropFlip
from .transforms.timm_mixup import TimmMixup
from .transforms.timm_transform import TimmTransform
