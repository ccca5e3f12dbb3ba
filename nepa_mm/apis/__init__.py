from .get_retriever import get_retriever
from .load_model import get_model
