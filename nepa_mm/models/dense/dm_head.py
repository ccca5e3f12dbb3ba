"""mmseg's DMHead, for feature maps as a vision transformer has them."""
from collections.abc import Sequence

from mmseg.models.decode_heads import DMHead as MMSegDMHead
from torch import Tensor

from nepa_mm.registry import MODELS


@MODELS.register_module()
class DMHead(MMSegDMHead):
    """mmseg's ``DMHead``, which views its map [B, D, h, w] with batch and channels as one, from a map that lies in any order.

    A map of tokens has its channels last in memory. It stays so for all other heads, whose convolutions are faster by it.
    """

    def _transform_inputs(self, inputs: Sequence[Tensor]) -> Tensor:
        return super()._transform_inputs(inputs).contiguous()
