# Runtime of pretraining and classification
runner_type = 'nepa_mm.ReliableRunner'
default_scope = 'mmpretrain'

default_hooks = dict(
    runtime_info=dict(type='nepa_mm.PatientRuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    keep_zeros=dict(type='nepa_mm.KeepZerosHook'),
    checkpoint=dict(type='nepa_mm.DurableCheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
    check_datasets=dict(type='nepa_mm.CheckDatasetsHook'),
    layer_lr=dict(type='nepa_mm.LayerLRHook'),  # for tools/analysis_tools/plot_run.py
    progress=dict(type='nepa_mm.ProgressHook'),  # on a terminal only
    report=dict(type='nepa_mm.ReportHook'),  # once, at the end
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
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=1337, diff_rank_seed=True)  # the release's seed
