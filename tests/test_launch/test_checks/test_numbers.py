import pytest
from mmengine.config import Config

from nepa_mm.errors import ConfigError
from nepa_mm.launch.checks.numbers import check_frozen, check_numbers


def test_a_frozen_embedding_must_come_from_a_checkpoint():
    backbone = dict(type='nepa_mm.NEPAViT', frozen_stages=0)
    with pytest.raises(ConfigError, match=r'0 freezes a patch embedding that no checkpoint gives \| '
                                          r'model.backbone.frozen_stages'):
        check_frozen(Config(dict(model=dict(backbone=dict(backbone, init_cfg=None)))))
    for fine in (dict(model=dict(backbone=dict(backbone, init_cfg=dict(type='Pretrained', checkpoint='a.pth')))),
                 dict(model=dict(backbone=backbone), load_from='a.pth'), dict(model=dict(backbone=backbone), resume=True),
                 dict(model=dict(backbone=dict(backbone, frozen_stages=-1))),
                 dict(model=dict(backbone=dict(backbone, type='ResNet')))):
        check_frozen(Config(fine))


def test_numbers_of_the_model_that_contradict_each_other():
    for rate in (1.0, -0.1, 'x'):
        with pytest.raises(ConfigError, match=rf'^{rate!r} is not in \[0, 1\).* \| model.backbone.drop_path_rate'):
            check_numbers(Config(dict(model=dict(backbone=dict(type='mmpretrain.BEiTViT', drop_path_rate=rate)))))
    model = dict(head=dict(num_classes=10), data_preprocessor=dict(num_classes=1000))
    with pytest.raises(ConfigError, match=r'10 differs from model.data_preprocessor.num_classes=1000 \| model.head.num_classes'):
        check_numbers(Config(dict(model=model)))
    check_numbers(Config(dict(model=dict(head=dict(num_classes=10), backbone=dict(drop_path_rate=0.9)))))
