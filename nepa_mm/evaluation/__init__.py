from .feature_val_loop import FeatureValLoop
from .knn_accuracy import KNNAccuracy, knn_predict

__all__ = ['FeatureValLoop', 'KNNAccuracy', 'knn_predict']
