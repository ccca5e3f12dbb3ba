"""What models say of a batch of images, as arrays: features, classes, neighbours, labels of pixels.

Shapes: B images of a batch, N images to be searched, D width, C classes, K best, H x W pixels.
"""
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmpretrain.models import ClsHead, ImageClassifier
from torch import Tensor

from nepa_mm.evaluation.knn_accuracy import nearest

from .get_retriever import retriever_of

Vectors = Callable[[Tensor, list | None], Tensor]


def vectors_of(model: BaseModel) -> Vectors:
    """From inputs to features [B, D] of :class:`FeatureVector`, in float32."""
    encoder = retriever_of(model).image_encoder

    def vectors(inputs: Tensor, samples: list | None) -> Tensor:
        return encoder(preprocessed(model, inputs, samples)).float()

    return vectors


def features(vectors: Vectors) -> Callable:
    """``features`` [B, D]."""
    return lambda inputs, samples: dict(features=vectors(inputs, samples).cpu().numpy())


def best_classes(model: ImageClassifier, topk: int) -> Callable:
    """``scores`` and ``labels`` [B, K] of the best classes, best first."""
    # As they are in ClsHead, scores need no data sample for each image
    is_plain = (type(model).predict is ImageClassifier.predict and isinstance(model.head, ClsHead)
                and type(model.head).predict is ClsHead.predict and type(model.head)._get_predictions is ClsHead._get_predictions)

    def predict(inputs: Tensor, samples: list | None) -> dict[str, np.ndarray]:
        pixels = preprocessed(model, inputs, samples)
        if is_plain:
            scores = model(pixels).float().softmax(dim=1)
        else:
            scores = torch.stack([sample.pred_score.float() for sample in model(pixels, mode='predict')])
        scores, labels = scores.topk(topk)
        return dict(scores=scores.cpu().numpy(), labels=labels.cpu().numpy())

    return predict


def best_matches(vectors: Vectors, searched: Tensor, topk: int) -> Callable:
    """``scores`` and ``labels`` [B, K]: cosines with, and places of, the nearest of the features [N, D], nearest first."""
    searched = F.normalize(searched, dim=1)

    def predict(inputs: Tensor, samples: list | None) -> dict[str, np.ndarray]:
        with torch.autocast(inputs.device.type, enabled=False):  # neighbours differ by less than bfloat16 resolves
            scores, labels = nearest(searched, F.normalize(vectors(inputs, samples), dim=1), topk)
        return dict(scores=scores.cpu().numpy(), labels=labels.cpu().numpy())

    return predict


def label_maps(model: BaseModel) -> Callable:
    """``maps``: class numbers [H, W] of each image, uint8, of its own size. The data samples say that size."""
    def predict(inputs: Tensor, samples: list) -> dict[str, list[np.ndarray]]:
        results = model.test_step(dict(inputs=list(inputs), data_samples=samples))
        return dict(maps=[result.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8) for result in results])

    return predict


def preprocessed(model: BaseModel, inputs: Tensor, samples: list | None) -> Tensor:
    """Inputs as the model's data preprocessor leaves them, [B, C, H, W]."""
    return model.data_preprocessor(dict(inputs=inputs, data_samples=samples), False)['inputs']
