from importlib import import_module

from .feature_rank import LiDAR, RankMe
from .feature_val_loop import FeatureValLoop
from .knn_accuracy import KNNAccuracy, knn_predict


def __getattr__(name: str):
    if name == 'ExactIoUMetric':  # with mmseg, which pretraining and classification do without
        return import_module('.exact_iou_metric', __name__).ExactIoUMetric
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
