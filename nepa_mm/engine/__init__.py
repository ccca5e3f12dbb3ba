from .bf16_optim_wrapper import Bf16OptimWrapper
from .check_seg_inputs_hook import CheckSegInputsHook
from .data_parallel import CPUDistributedDataParallel, StaticDistributedDataParallel
from .effective_batch import AccumulatingEpochLoop, AccumulatingIterLoop
from .fit_checkpoint_hook import CheckpointRecordHook, FitCheckpointHook
from .foreach_ema import ForeachEMA
from .layer_decay import LayerDecayOptimWrapperConstructor
from .layer_decay_lr import LayerDecayCosineLR
from .layer_lr_hook import LayerLRHook
from .log_later import PatientRuntimeInfoHook
from .progress_hook import ProgressHook
from .query_patches_hook import QueryPatchesHook
from .sharded_ema_hook import ShardedEMAHook

__all__ = [
    'AccumulatingEpochLoop',
    'AccumulatingIterLoop',
    'Bf16OptimWrapper',
    'CPUDistributedDataParallel',
    'CheckSegInputsHook',
    'CheckpointRecordHook',
    'FitCheckpointHook',
    'ForeachEMA',
    'LayerDecayCosineLR',
    'LayerDecayOptimWrapperConstructor',
    'LayerLRHook',
    'PatientRuntimeInfoHook',
    'ProgressHook',
    'QueryPatchesHook',
    'ShardedEMAHook',
    'StaticDistributedDataParallel',
]
