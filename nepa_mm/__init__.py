"""NEPA, next-embedding predictive autoregression (arXiv 2512.16922), for OpenMMLab."""
from .apis import get_model
from .models import NEPA, NEPAViT, NextEmbeddingLoss
from .version import __version__

__all__ = ['NEPA', 'NEPAViT', 'NextEmbeddingLoss', '__version__', 'get_model']
