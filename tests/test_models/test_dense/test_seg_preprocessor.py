import mmseg.models as theirs
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from nepa_mm.models import SegDataPreProcessor

SETTINGS = dict(mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, size=(12, 16))


def batch(dtype, seg_pad_val=255) -> dict:
    """Two images with label maps, of two sizes."""
    torch.manual_seed(0)
    sizes = [(10, 16), (12, 9)]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 256, (1, *size)).to(dtype))) for size in sizes]
    return dict(inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes], data_samples=samples)


@pytest.mark.parametrize('seg_pad_val', [255, 11, 300, -1])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_labels_become_those_that_mmseg_gives(dtype, seg_pad_val):
    given = batch(dtype)
    ours = SegDataPreProcessor(**SETTINGS, seg_pad_val=seg_pad_val)(given, training=True)
    expected = theirs.SegDataPreProcessor(**SETTINGS, seg_pad_val=seg_pad_val)(batch(torch.int64), training=True)
    assert torch.equal(ours['inputs'], expected['inputs'])
    for mine, other in zip(ours['data_samples'], expected['data_samples']):
        assert mine.gt_sem_seg.data.dtype == torch.int64 and torch.equal(mine.gt_sem_seg.data, other.gt_sem_seg.data)
        assert mine.metainfo == other.metainfo
    assert all(sample.gt_sem_seg.data.dtype == dtype for sample in given['data_samples'])  # the loader's own stay


def test_images_without_labels():
    images = torch.zeros(2, 3, 12, 16, dtype=torch.uint8)
    made = SegDataPreProcessor(**SETTINGS)(dict(inputs=list(images)))
    assert made['data_samples'] is None and made['inputs'].shape == images.shape
    made = SegDataPreProcessor(**SETTINGS)(dict(inputs=list(images), data_samples=[SegDataSample(), SegDataSample()]))
    assert len(made['data_samples']) == 2
