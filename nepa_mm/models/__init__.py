from importlib.util import find_spec

from .mae_nepa_vit import MAENEPAViT
from .nepa import NEPA
from .nepa_vit import NEPAViT
from .next_embedding_loss import NextEmbeddingLoss
from .rope2d import RoPE2D

__all__ = ['MAENEPAViT', 'NEPA', 'NEPAViT', 'NextEmbeddingLoss', 'RoPE2D']

if find_spec('mmseg'):  # which pretraining and classification do without
    from .padded_encoder_decoder import PaddedEncoderDecoder as PaddedEncoderDecoder
