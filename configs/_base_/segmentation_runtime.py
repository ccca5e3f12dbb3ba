# Runtime of segmentation, counted in iterations
runner_type = 'nepa_mm.ReliableRunner'
default_scope = 'mmseg'

default_hooks = dict(
    runtime_info=dict(type='nepa_mm.PatientRuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    keep_zeros=dict(type='nepa_mm.KeepZerosHook'),
    checkpoint=dict(type='nepa_mm.DurableCheckpointHook', by_epoch=False, interval=16000, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
    check_seg_inputs=dict(type='nepa_mm.CheckSegInputsHook'),
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
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, diff_rank_seed=True)

tta_model = dict(type='nepa_mm.SegTTAModel')
