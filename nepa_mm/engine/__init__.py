"""Hooks, loops, optimizers and the runner of trainings; configs name them with the prefix ``nepa_mm.``."""
from .checks.check_datasets_hook import CheckDatasetsHook
from .checks.check_seg_inputs_hook import CheckSegInputsHook
from .hooks.checkpoint_hooks import CheckpointRecordHook, DurableCheckpointHook, FitCheckpointHook
from .hooks.divergence_hook import StopOnDivergenceHook
from .hooks.hang_watch import HangWatchHook
from .hooks.interruptions import LoaderFaultsHook, StopOnSignalHook
from .hooks.layer_lr_hook import LayerLRHook
from .hooks.log_later import PatientRuntimeInfoHook
from .hooks.online_probe_hook import OnlineProbeHook
from .hooks.progress_hook import ProgressHook
from .hooks.query_patches_hook import QueryPatchesHook
from .hooks.report_hook import ReportHook
from .hooks.step_hooks import KeepZerosHook, StepSeedHook
from .loops.effective_batch import AccumulatingEpochLoop, AccumulatingIterLoop
from .optim.bf16_optim_wrapper import Bf16OptimWrapper
from .optim.foreach_ema import ForeachEMA
from .optim.layer_decay import LayerDecayCosineLR, LayerDecayOptimWrapperConstructor
from .parallel.data_parallel import CPUDistributedDataParallel, StaticDistributedDataParallel
from .parallel.fully_sharded import FullyShardedDataParallel
from .runner.reliable_runner import ReliableRunner
