"""mmseg's transforms of training, to the bit and with the same random numbers, in less time."""
import cv2
import mmcv
import mmseg.datasets as theirs
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.structures import PixelData

from nepa_mm.registry import TRANSFORMS

MOST_COUNTED = 2**24  # pixels that float32, in which OpenCV gives histograms, counts one by one


@TRANSFORMS.register_module()
class RandomCrop(theirs.RandomCrop):
    """mmseg's ``RandomCrop``, which looks at the classes of a crop by a histogram; mmseg sorts the pixels.

    Args:
        **kwargs: ``crop_size``, ``cat_max_ratio`` and ``ignore_index`` of mmseg's.
    """

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Top, bottom, left and right of a crop, drawn up to ten times more while one class covers too much of it."""
        box = self.draw(*results['img'].shape[:2])
        for _ in range(10 if self.cat_max_ratio < 1 else 0):
            if self.is_mixed(self.crop(results['gt_seg_map'], box)):
                break
            box = self.draw(*results['img'].shape[:2])
        return box

    def draw(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, bottom, left and right of any crop."""
        top, left = (np.random.randint(0, max(side - crop, 0) + 1) for side, crop in zip((height, width), self.crop_size))
        return top, top + self.crop_size[0], left, left + self.crop_size[1]

    def is_mixed(self, labels: np.ndarray) -> bool:
        """Whether labels [H, W] are of two classes or more, and none is of ``cat_max_ratio`` of the pixels."""
        if labels.dtype == np.uint8 and labels.size <= MOST_COUNTED:
            pixels = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel().astype(np.int64)
            if 0 <= self.ignore_index < 256:
                pixels[self.ignore_index] = 0
        else:
            classes, pixels = np.unique(labels, return_counts=True)
            pixels = pixels[classes != self.ignore_index]
        return np.count_nonzero(pixels) > 1 and pixels.max() / pixels.sum() < self.cat_max_ratio


@TRANSFORMS.register_module()
class CutWindow(BaseTransform):
    """Cut the window out of an image and its label map that the dataset names, as ``nepa_mm.SegPairs(window=...)`` does.

    It takes what loaders with ``whole=False`` leave in the file. An image without window, as inference has, stays as it is.
    """

    def transform(self, results: dict) -> dict:
        """Replace ``img`` and ``gt_seg_map`` by the part in ``window``: top, bottom, left, right."""
        if 'window' not in results:
            return results
        top, bottom, left, right = results['window']
        for key in ('img', *results.get('seg_fields', [])):
            results[key] = results[key][top:bottom, left:right]
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]  # predictions are of this size
        return results


@TRANSFORMS.register_module()
class PhotoMetricDistortion(theirs.PhotoMetricDistortion):
    """mmseg's ``PhotoMetricDistortion`` by tables of the 256 values of a byte, for images of uint8.

    What ``RandomFlip`` mirrored is a view, which OpenCV would copy slowly at each step: it is mirrored in memory first. Changed
    before it is mirrored, it would differ by 1 here and there: OpenCV rounds the last pixels of a row in another way.

    Args:
        **kwargs: ``brightness_delta``, ``contrast_range``, ``saturation_range`` and ``hue_delta`` of mmseg's.
    """

    def transform(self, results: dict) -> dict:
        """Change ``img``, BGR [H, W, 3]."""
        if results['img'].strides[1] < 0:
            results['img'] = cv2.flip(results['img'][:, ::-1], 1)
        return super().transform(results)

    def convert(self, img: np.ndarray, alpha: float = 1, beta: float = 0) -> np.ndarray:
        """``img * alpha + beta`` within 0 to 255, uint8, of an image of any shape."""
        if img.dtype != np.uint8:
            return super().convert(img, alpha, beta)
        return cv2.LUT(img, super().convert(np.arange(256, dtype=np.uint8), alpha, beta)).reshape(img.shape)

    def saturation(self, img: np.ndarray) -> np.ndarray:
        """Scale the saturation, or leave it."""
        if img.dtype != np.uint8:
            return super().saturation(img)
        if not np.random.randint(2):
            return img
        scale = np.random.uniform(self.saturation_lower, self.saturation_upper)
        return self.changed_hsv(img, 1, super().convert(np.arange(256, dtype=np.uint8), alpha=scale))

    def hue(self, img: np.ndarray) -> np.ndarray:
        """Turn the hue, half degrees of a circle of 180, or leave it."""
        if img.dtype != np.uint8:
            return super().hue(img)
        if not np.random.randint(2):
            return img
        turn = np.random.randint(-self.hue_delta, self.hue_delta)
        return self.changed_hsv(img, 0, ((np.arange(256) + turn) % 180).astype(np.uint8))

    @staticmethod
    def changed_hsv(img: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
        """An image BGR [H, W, 3] of which one of hue, saturation and value is replaced by its entry in a table [256]."""
        hsv = mmcv.bgr2hsv(img)
        cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
        return mmcv.hsv2bgr(hsv)


@TRANSFORMS.register_module()
class PackSegInputs(theirs.PackSegInputs):
    """mmseg's ``PackSegInputs`` that leaves labels in the bytes that they are: an eighth of what a worker sends.

    The model's data preprocessor makes int64 of them on its device, if it is ``nepa_mm.SegDataPreProcessor``.

    Args:
        **kwargs: ``meta_keys`` of mmseg's.
    """

    def transform(self, results: dict) -> dict:
        """Pack ``img`` [H, W, C] as ``inputs`` [C, H, W], and ``gt_seg_map`` [H, W] as ``gt_sem_seg`` [1, H, W]."""
        rest = dict(results)
        img, labels = rest.get('img'), rest.get('gt_seg_map')
        is_colour = img is not None and img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] == 3
        is_bytes = labels is not None and labels.dtype == np.uint8 and labels.ndim == 2
        if is_colour:
            del rest['img']
        if is_bytes:
            del rest['gt_seg_map']
        packed = super().transform(rest)
        if is_colour:
            packed['inputs'] = torch.from_numpy(planes(img))
        if is_bytes:
            packed['data_samples'].gt_sem_seg = PixelData(data=torch.from_numpy(np.ascontiguousarray(labels[None])))
        return packed


def planes(img: np.ndarray) -> np.ndarray:
    """Channels [3, H, W], each for itself in memory, of an image of uint8 [H, W, 3], which may be a mirrored view."""
    mirrored = img.strides[1] < 0
    pixels = np.empty((3, *img.shape[:2]), np.uint8)
    cv2.split(img[:, ::-1] if mirrored else img, list(pixels))  # into these, as they are of the size and type that it gives
    if mirrored:
        rows = pixels.reshape(-1, img.shape[1])  # of all channels
        cv2.flip(rows, 1, rows)
    return pixels
