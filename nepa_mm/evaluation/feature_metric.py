"""What metrics of features share: each image's comes from ``nepa_mm.FeatureValLoop``, and all must be finite."""
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from nepa_mm.errors import ConfigError


class FeatureMetric(BaseMetric):
    """A metric whose results are tuples, one for each image, that begin with its feature; ConfigError if one is not finite."""

    def feature_of(self, sample: dict) -> np.ndarray:
        """The feature [D] of a data sample, as an array: a pickled tensor would carry the whole batch of which it is a row."""
        if 'feature' not in sample:
            raise ConfigError(f'{type(self).__name__} found no features', 'val_evaluator',
                              "set val_cfg.type='nepa_mm.FeatureValLoop'")
        return sample['feature'].numpy()

    def features_of(self, results: Sequence[tuple]) -> Tensor:
        """Features [N, D] of all results."""
        features = torch.from_numpy(np.stack([feature for feature, *_ in results]))
        if not features.isfinite().all():
            raise ConfigError(f'{type(self).__name__} found features that are not finite: training has diverged',
                              'optim_wrapper.optimizer.lr', 'continue from an earlier checkpoint with a smaller one')
        return features
