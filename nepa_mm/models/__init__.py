from importlib.util import find_spec

from .causal_backbone import CausalBackbone, check_causal
from .causal_timm_backbone import CausalTIMMBackbone
from .causal_vits import CausalBEiTViT, CausalVisionTransformer
from .fused_preprocessor import FusedSelfSupDataPreprocessor
from .mae_nepa_vit import MAENEPAViT
from .nepa import NEPA
from .nepa_vit import NEPAViT
from .next_embedding_loss import NextEmbeddingLoss
from .rope2d import RoPE2D
from .simmim_nepa_vit import SimMIMNEPAViT
from .simple_pyramid import SimplePyramid
from .supervised_nepa import SupervisedNEPA

__all__ = [
    'CausalBEiTViT',
    'CausalBackbone',
    'CausalTIMMBackbone',
    'CausalVisionTransformer',
    'FusedSelfSupDataPreprocessor',
    'MAENEPAViT',
    'NEPA',
    'NEPAViT',
    'NextEmbeddingLoss',
    'RoPE2D',
    'SimMIMNEPAViT',
    'SimplePyramid',
    'SupervisedNEPA',
    'check_causal',
]

if find_spec('mmseg'):  # which pretraining and classification do without
    from .padded_encoder_decoder import PaddedEncoderDecoder as PaddedEncoderDecoder
    from .seg_tta_model import SegTTAModel as SegTTAModel
