from .bf16_optim_wrapper import Bf16OptimWrapper
from .check_datasets_hook import CheckDatasetsHook
from .check_seg_inputs_hook import CheckSegInputsHook
from .data_parallel import CPUDistributedDataParallel, StaticDistributedDataParallel
from .divergence_hook import StopOnDivergenceHook
from .durable_checkpoint_hook import DurableCheckpointHook
from .effective_batch import AccumulatingEpochLoop, AccumulatingIterLoop
from .fit_checkpoint_hook import CheckpointRecordHook, FitCheckpointHook
from .foreach_ema import ForeachEMA
from .keep_zeros_hook import KeepZerosHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .layer_decay_lr import LayerDecayCosineLR
from .layer_lr_hook import LayerLRHook
from .loader_faults_hook import LoaderFaultsHook
from .log_later import PatientRuntimeInfoHook
from .progress_hook import ProgressHook
from .query_patches_hook import QueryPatchesHook
from .reliable_runner import ReliableRunner
from .sharded_ema_hook import ShardedEMAHook
from .signal_hook import StopOnSignalHook
from .step_seed_hook import StepSeedHook

__all__ = [
    'AccumulatingEpochLoop',
    'AccumulatingIterLoop',
    'Bf16OptimWrapper',
    'CPUDistributedDataParallel',
    'CheckDatasetsHook',
    'CheckSegInputsHook',
    'CheckpointRecordHook',
    'DurableCheckpointHook',
    'FitCheckpointHook',
    'ForeachEMA',
    'KeepZerosHook',
    'LayerDecayCosineLR',
    'LayerDecayOptimWrapperConstructor',
    'LayerLRHook',
    'LoaderFaultsHook',
    'PatientRuntimeInfoHook',
    'ProgressHook',
    'QueryPatchesHook',
    'ReliableRunner',
    'ShardedEMAHook',
    'StaticDistributedDataParallel',
    'StepSeedHook',
    'StopOnDivergenceHook',
    'StopOnSignalHook',
]
