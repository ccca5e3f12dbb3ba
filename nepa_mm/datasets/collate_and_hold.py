"""Stack a batch in a worker, and let the worker give its memory back."""
from collections import deque

from mmengine.dataset import default_collate
from mmengine.structures import BaseDataElement
from torch.utils.data import default_collate as torch_collate
from torch.utils.data import get_worker_info

from nepa_mm.registry import FUNCTIONS

from .erased_patches import ErasedPatches
from .packed_samples import PackedSamples

HELD = deque()  # of this process: a worker serves one loader


@FUNCTIONS.register_module()
def collate_and_hold(samples: list, batches: int = 2):
    """mmengine's ``default_collate``; a worker holds its newest batches in memory that it shares with the training process.

    Whoever is the last to let go of a batch returns its pages to the system, which takes five times as long as all else that the
    training process does to receive it (docs/performance.md). The worker holds a batch until the training process
    has most likely let go; if it has not, nothing happens but that it does that work.

    Args:
        samples: What the dataset gives; their ``erased`` patches, of :class:`PackTimm`, are joined to those of the batch.
        batches: How many to hold: the loader's ``prefetch_factor``. Those wait to be fetched anyway, so that at most one batch
            of each worker takes memory longer.
    """
    erased = None
    if isinstance(samples[0], dict) and 'erased' in samples[0]:
        erased = [sample['erased'] for sample in samples]
        samples = [{key: value for key, value in sample.items() if key != 'erased'} for sample in samples]
    batch = default_collate(samples)
    if erased is not None:
        batch['erased'] = ErasedPatches.joined(erased)
        # Stacked as a batch of one, and so in memory that the training process shares
        batch['erased'].values = torch_collate([batch['erased'].values])[0]
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if isinstance(samples, list) and samples and isinstance(samples[0], BaseDataElement):
        batch['data_samples'] = PackedSamples(samples)
    if get_worker_info() is not None:
        HELD.append(batch)
        while len(HELD) > batches:
            HELD.popleft()
    return batch
