from importlib.util import find_spec

from .feature_val_loop import FeatureValLoop
from .knn_accuracy import KNNAccuracy, knn_predict

if find_spec('mmseg'):  # which pretraining and classification do without
    from .exact_iou_metric import ExactIoUMetric
