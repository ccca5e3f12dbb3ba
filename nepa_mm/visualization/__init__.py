from .query_patches import attention_weights, draw_query_patches, prediction_similarity
from .segmentation import draw_segmentation

__all__ = ['attention_weights', 'draw_query_patches', 'draw_segmentation', 'prediction_similarity']
