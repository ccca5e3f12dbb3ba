from .get_model import get_model

__all__ = ['get_model']
