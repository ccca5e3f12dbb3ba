"""The method, and what it is mixed with; configs name the classes with the prefix ``nepa_mm.``."""
from importlib import import_module

from .beyond.multi_embedding_loss import MultiEmbeddingLoss
from .beyond.packed_images import PackedDataPreprocessor, PackedNEPA, PackedNEPAViT
from .beyond.projected_losses import ProjectedLosses, Projector
from .beyond.sigreg import SIGReg
from .causal_backbone import CausalBackbone, check_causal
from .dense.simple_pyramid import SimplePyramid
from .fused_preprocessor import FusedSelfSupDataPreprocessor
from .mixing.causal_naflex_vit import CausalNaFlexViT
from .mixing.causal_timm_backbone import CausalTIMMBackbone
from .mixing.causal_vits import CausalBEiTViT, CausalVisionTransformer
from .mixing.kept_patches import CAENEPAViT, MAENEPAViT, MFFNEPAViT, MILANNEPAViT
from .mixing.mask_tokens import BEiTNEPAViT, MaskFeatNEPAViT, SimMIMNEPAViT
from .mixing.supervised_nepa import SupervisedNEPA
from .mixing.vit5 import ViT5
from .nepa import NEPA
from .nepa_vit import NEPAViT
from .next_embedding_loss import NextEmbeddingLoss
from .rope2d import RoPE2D
from .timm_preprocessor import TimmDataPreprocessor

WITH_MMSEG = ('AdaptedEncoderDecoder', 'DMHead', 'EncoderDecoder', 'EoMT', 'EoMTHead', 'MultiHeadEncoderDecoder', 'NamedHeads',
              'PaddedCascadeEncoderDecoder', 'PaddedEncoderDecoder', 'SegDataPreProcessor', 'SegTTAModel', 'ViTAdapter')


def __getattr__(name: str):
    if name in WITH_MMSEG:  # which pretraining and classification do without
        return getattr(import_module('.dense.with_mmseg', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
