"""A model that finds the images most like an image, of any checkpoint."""
import torch
from mmengine.model import BaseModel
from mmpretrain.models import BaseSelfSupervisor, ImageToImageRetriever
from torch import Tensor, nn

from .load_model import get_model


class FeatureVector(nn.Module):
    """One vector for each image: what a classifier classifies, of a pretrained model the mean patch token.

    Args:
        model: A classifier, or a pretraining model with ``out_type='featmap'``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] to vectors [B, D]."""
        features = self.model.extract_feat(inputs)[-1]
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def get_retriever(address: str, **overrides) -> ImageToImageRetriever:
    """Build mmpretrain's retriever over the model of a checkpoint, for ``mmpretrain.ImageRetrievalInferencer``.

    ``ImageRetrievalInferencer(get_retriever('hf:...'), prototype='photos/')('dog.jpg', topk=3)`` finds the three images below
    ``photos/`` that are most like ``dog.jpg``, by the cosine of their :class:`FeatureVector`. Arguments and errors are those of
    :func:`get_model`, of a checkpoint of pretraining or classification.
    """
    return retriever_of(get_model(address, **overrides))


def retriever_of(model: BaseModel) -> ImageToImageRetriever:
    """mmpretrain's retriever over a model with a test pipeline; a pretraining gives features of its patches, not all tokens."""
    if isinstance(model, BaseSelfSupervisor) and getattr(model.backbone, 'out_type', None) == 'raw':
        model.backbone.out_type = 'featmap'  # which has no weights of its own
    retriever = ImageToImageRetriever(FeatureVector(model), prototype=torch.empty(0))  # the inferencer brings its own
    retriever.data_preprocessor = model.data_preprocessor
    retriever._config, retriever._dataset_meta = model._config, model._dataset_meta
    return retriever.train(False)
