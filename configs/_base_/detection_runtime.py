# Runtime of detection, counted in iterations; nepa_mm.ops has the operators that PyPI's mmcv lacks
custom_imports = dict(imports=['nepa_mm.ops'], allow_failed_imports=False)
runner_type = 'nepa_mm.ReliableRunner'
default_scope = 'mmdet'

default_hooks = dict(
    runtime_info=dict(type='nepa_mm.PatientRuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    keep_zeros=dict(type='nepa_mm.KeepZerosHook'),
    checkpoint=dict(type='nepa_mm.DurableCheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='DetVisualizationHook'),
    layer_lr=dict(type='nepa_mm.LayerLRHook'),
    progress=dict(type='nepa_mm.ProgressHook'),  # on a terminal only
    loader_faults=dict(type='nepa_mm.LoaderFaultsHook', max_bad_images=0),
    stop_on_divergence=dict(type='nepa_mm.StopOnDivergenceHook'),
    stop_on_signal=dict(type='nepa_mm.StopOnSignalHook'),
    fit_checkpoint=dict(type='nepa_mm.FitCheckpointHook'),
    checkpoint_record=dict(type='nepa_mm.CheckpointRecordHook'))

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
model_wrapper_cfg = dict(type='nepa_mm.StaticDistributedDataParallel')

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, diff_rank_seed=True)
