"""The method, and what it is mixed with; configs name the classes with the prefix ``nepa_mm.``."""
from importlib.util import find_spec

from .causal_backbone import CausalBackbone, check_causal
from .dense.simple_pyramid import SimplePyramid
from .fused_preprocessor import FusedSelfSupDataPreprocessor
from .mixing.causal_timm_backbone import CausalTIMMBackbone
from .mixing.causal_vits import CausalBEiTViT, CausalVisionTransformer
from .mixing.mae_nepa_vit import MAENEPAViT
from .mixing.simmim_nepa_vit import SimMIMNEPAViT
from .mixing.supervised_nepa import SupervisedNEPA
from .nepa import NEPA
from .nepa_vit import NEPAViT
from .next_embedding_loss import NextEmbeddingLoss
from .rope2d import RoPE2D

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
    from .dense.padded_encoder_decoder import PaddedEncoderDecoder as PaddedEncoderDecoder
    from .dense.seg_tta_model import SegTTAModel as SegTTAModel
