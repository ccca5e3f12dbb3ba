import numpy as np
from mmpretrain.datasets import PackInputs
from mmpretrain.registry import TRANSFORMS


def test_marks_what_was_packed():
    image = dict(img=np.zeros((4, 4, 3), np.uint8), gt_label=2)
    bank, query = PackInputs()(dict(image)), PackInputs()(dict(image))
    bank = TRANSFORMS.build(dict(type='nepa_mm.KNNBank'))(bank)
    assert bank['data_samples'].knn_bank is True and bank['data_samples'].gt_label.item() == 2
    assert 'knn_bank' not in query['data_samples']
