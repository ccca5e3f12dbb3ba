"""mIoU by whole numbers of pixels, which says what it knows nothing about."""
import numpy as np
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from torch import Tensor

from nepa_mm.errors import ConfigError
from nepa_mm.registry import METRICS

from .tallies import confusion, field_of


@METRICS.register_module()
class ExactIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric``, with its arguments and names, for images of any size.

    mmseg counts pixels in float32, which ends at 2^24: of a larger tile it gives a wrong number, another one for each number of
    threads. Here pixels are counted in int64 and ratios taken in float64.

    A class that is in no label and no prediction has no IoU, and the mean is that of the others, as in mmseg. The log says so,
    and where those others are perfect the mean is nan: a model that was never asked for a class is not known to be perfect.

    Args:
        head: Name of the head of a ``MultiHeadEncoderDecoder`` whose predictions are judged; give each a ``prefix``.
        **kwargs: Those of ``IoUMetric``. ``nan_to_num`` decides about classes without an IoU instead.

    Raises:
        ConfigError: For a dataset of one class, of which every label is: two are what labels tell; for a head that the model has
            not.
    """

    def __init__(self, *args, head: str | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.head, self.field = head, field_of(head)

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Count the pixels of a batch, and write label maps to ``output_dir`` where that is set."""
        if len(self.dataset_meta['classes']) < 2:
            raise ConfigError(f'{list(self.dataset_meta["classes"])} is one class, which every pixel is', 'metainfo.classes',
                              "name both that labels tell, such as ['background', 'road']")
        for sample in data_samples:
            if self.field not in sample:
                there = sorted(name.removeprefix('pred_sem_seg_') for name in sample if name.startswith('pred_sem_seg_'))
                raise ConfigError(f'{self.field.removeprefix("pred_sem_seg_")!r} is no head of the model, which has {there}',
                                  'val_evaluator.head', 'choose from these, or leave it out')
        super().process(data_batch, [dict(sample, pred_sem_seg=sample[self.field]) for sample in data_samples])

    @staticmethod
    def intersect_and_union(pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, ...]:
        """Pixels [num_classes] of intersection, union, prediction and label, of two maps [H, W]."""
        matrix = torch.from_numpy(confusion(pred_label, label, num_classes, ignore_index))
        intersection, label, predicted = (area[:-1] for area in (matrix.diagonal(), matrix.sum(1), matrix.sum(0)))
        return intersection, predicted + label - intersection, predicted, label

    @staticmethod
    def total_area_to_metrics(*areas: Tensor, **kwargs) -> dict[str, np.ndarray]:
        """mmseg's ratios of four areas [num_classes]."""
        return IoUMetric.total_area_to_metrics(*(area.double() if isinstance(area, Tensor) else area for area in areas), **kwargs)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """mmseg's means in percent, but for those that classes are missing from."""
        metrics = super().compute_metrics(results)
        if self.format_only or self.nan_to_num is not None:
            return metrics
        there = sum(result[1] for result in results) > 0
        if there.all():
            return metrics
        lacking = [name for name, is_there in zip(self.dataset_meta['classes'], there) if not is_there]
        MMLogger.get_current_instance().warning(
            f'{len(lacking)} of {len(there)} classes are in no label and in no prediction, so nothing is known about them: '
            f'{", ".join(lacking[:10])}{", ..." * (len(lacking) > 10)}. Means are over the others; one of 100 is given as nan')
        return {name: np.nan if name != 'aAcc' and value == 100 else value for name, value in metrics.items()}
