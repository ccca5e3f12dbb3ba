import importlib.util

from .feature_val_loop import FeatureValLoop
from .knn_accuracy import KNNAccuracy, knn_predict

if importlib.util.find_spec('mmseg'):  # which pretraining and classification do without
    from .exact_iou_metric import ExactIoUMetric
