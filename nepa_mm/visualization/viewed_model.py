"""A model to look at: from a checkpoint, on a device, with the images that it takes."""
import torch
from mmengine.model import BaseModel

from nepa_mm.apis import get_model
from nepa_mm.errors import ConfigError
from nepa_mm.models.causal_backbone import check_protocol


def viewed_model(checkpoint: str, device: str = 'cpu') -> BaseModel:
    """The model of a checkpoint, whatever :func:`nepa_mm.get_model` takes, on a device.

    Raises:
        ConfigError: If the device is not there, or the backbone is none that NEPA can train.
        CheckpointError: As of :func:`nepa_mm.get_model`.
    """
    try:
        torch.empty(0, device=device)
    except Exception as error:  # RuntimeError, AssertionError, AcceleratorError, as the build of torch has it
        raise ConfigError(f'{device!r} is not there ({str(error).splitlines()[0]})', 'device', "choose 'cpu'") from error
    model = get_model(checkpoint).to(device)
    check_protocol(model.backbone)
    return model


def image_size(model: BaseModel, size: list[int] | None = None) -> tuple[int, int]:
    """Height and width in pixels: those given, one for a square, or those that the model was made for.

    Raises:
        ConfigError: For what is no size, or one that the backbone does not take.
    """
    backbone = model.backbone
    usual = usual_size(backbone)
    if size is None:
        return usual
    height, width = size * 2 if len(size) == 1 else size if len(size) == 2 else (0, 0)
    if min(height, width) < 1:
        raise ConfigError(f'{" ".join(map(str, size))} is no size', 'size',
                          'give a height and a width in pixels, or one of them for a square')
    is_fixed = hasattr(backbone, 'timm_model') and not backbone.timm_model.dynamic_img_size
    if is_fixed and (height, width) != usual:
        raise ConfigError(f'{height} {width}: this backbone takes one size alone (dynamic_img_size=False)', 'size',
                          f'give {usual[0]} {usual[1]}')
    return height, width


def usual_size(backbone: torch.nn.Module) -> tuple[int, int]:
    """Height and width in pixels of the images that a backbone was made for."""
    if hasattr(backbone, 'stored_grid'):  # NEPAViT
        return tuple(cells * backbone.patch_size for cells in backbone.stored_grid)
    return tuple(backbone.timm_model.patch_embed.img_size if hasattr(backbone, 'timm_model') else backbone.img_size)
