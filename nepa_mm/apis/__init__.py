from .get_model import get_model
from .get_retriever import get_retriever

__all__ = ['get_model', 'get_retriever']
