"""Hooks, loops, optimizers and the runner of trainings; configs name them with the prefix ``nepa_mm.``."""
from .checks.check_datasets_hook import CheckDatasetsHook
from .checks.check_seg_inputs_hook import CheckSegInputsHook
from .hooks.divergence_hook import StopOnDivergenceHook
from .hooks.durable_checkpoint_hook import DurableCheckpointHook
from .hooks.fit_checkpoint_hook import CheckpointRecordHook, FitCheckpointHook
from .hooks.keep_zeros_hook import KeepZerosHook
from .hooks.layer_lr_hook import LayerLRHook
from .hooks.loader_faults_hook import LoaderFaultsHook
from .hooks.log_later import PatientRuntimeInfoHook
from .hooks.progress_hook import ProgressHook
from .hooks.query_patches_hook import QueryPatchesHook
from .hooks.signal_hook import StopOnSignalHook
from .hooks.step_seed_hook import StepSeedHook
from .loops.effective_batch import AccumulatingEpochLoop, AccumulatingIterLoop
from .optim.bf16_optim_wrapper import Bf16OptimWrapper
from .optim.foreach_ema import ForeachEMA
from .optim.layer_decay import LayerDecayOptimWrapperConstructor
from .optim.layer_decay_lr import LayerDecayCosineLR
from .parallel.data_parallel import CPUDistributedDataParallel, StaticDistributedDataParallel
from .parallel.sharded_ema_hook import ShardedEMAHook
from .runner.reliable_runner import ReliableRunner

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
