"""Non-maximum suppression by torchvision."""
import torchvision
from torch import Tensor

from .gradients import wide


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices [K] of the boxes that stay, by falling score, of boxes [N, 4] as x1, y1, x2, y2.

    A box is x2 - x1 + offset wide.
    """
    boxes = wide(boxes)
    return torchvision.ops.nms(boxes + boxes.new_tensor([0, 0, offset, offset]), scores.to(boxes.dtype), iou_threshold)
