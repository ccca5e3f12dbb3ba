import pytest
import torch
from mmseg.models.decode_heads import DMHead as MMSegDMHead

from nepa_mm.models import DMHead


def test_a_map_of_tokens_gives_what_mmseg_s_gives_for_a_copy_in_its_order():
    config = dict(filter_sizes=(1, 3), in_channels=16, channels=8, num_classes=3, norm_cfg=dict(type='BN'))
    ours, theirs = DMHead(**config).eval(), MMSegDMHead(**config).eval()
    theirs.load_state_dict(ours.state_dict())
    featmap = torch.randn(2, 20, 16).transpose(1, 2).unflatten(2, (4, 5))  # [B, L, D] -> [B, D, h, w]
    torch.testing.assert_close(ours([featmap]), theirs([featmap.contiguous()]))
    with pytest.raises(RuntimeError, match='view size is not compatible'):
        theirs([featmap])
