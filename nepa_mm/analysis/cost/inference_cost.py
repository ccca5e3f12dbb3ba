"""What a model costs to use: parameters, and multiply-adds for an image, as tables of models give them."""
import torch
from mmengine.config import Config

from .counted_step import size, without_content, work
from .training_step import give_memory, shape_of_model, without_checkpoints


def image_size(cfg: Config) -> tuple[int, int]:
    """Height and width of the images that a config trains on; of the crop, for segmentation."""
    side = cfg.model.data_preprocessor.get('size') or cfg.model.backbone.img_size
    return (side, side) if isinstance(side, int) else tuple(side)


def inference_cost(cfg: Config) -> tuple[int, int]:
    """Multiply-adds of ``model(image)`` for one image, and all parameters of the model.

    Counted are matrix products, attention's in full, and convolutions. A pretraining model gives its backbone's features there,
    without masks or decoders; a segmentor one window's logits, without the auxiliary head.
    """
    cfg = without_checkpoints(cfg)
    model = shape_of_model(cfg)
    parameters = size(model)
    with without_content() as mode, torch.no_grad():
        give_memory(model)
        model.train(False)
        image = mode.from_tensor(torch.empty(1, 3, *image_size(cfg)))
        return work(lambda: model(image, mode='tensor')) // 2, parameters
