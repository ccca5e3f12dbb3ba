"""Start what a config describes: the runner, and the group of processes where there is no GPU."""
import atexit
import gc
from datetime import timedelta
from multiprocessing import active_children

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from nepa_mm.hosts.type_names import name_of

from .config_parts import value_at
from .freed_memory import keep_freed_memory


def build_runner(cfg: Config) -> Runner:
    """Build the runner; where a distributed launch meets a machine without a GPU, on gloo."""
    unused = dict(find_unused_parameters=cfg.get('find_unused_parameters', False))
    is_sharded = name_of(cfg.get('model_wrapper_cfg') or {}) == 'FullyShardedDataParallel'  # of CPUs too, unused ones or not
    if cfg.get('model_wrapper_cfg') and not is_sharded:
        cfg.model_wrapper_cfg = {**unused, **cfg.model_wrapper_cfg}  # mmengine would forget it
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        # mmengine would ask for a GPU here and when it wraps the model.
        timeout = value_at(cfg, 'env_cfg.dist_cfg.timeout')  # seconds, as of mmengine's own launch
        torch.distributed.init_process_group('gloo', timeout=timeout and timedelta(seconds=timeout))
        atexit.register(end_process_group)
        if not is_sharded:
            cfg.model_wrapper_cfg = {**(cfg.get('model_wrapper_cfg') or unused), 'type': 'nepa_mm.CPUDistributedDataParallel'}
    if get_device() == 'cpu':
        keep_freed_memory()
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def end_process_group() -> None:
    """Stop gloo's threads, which otherwise now and then abort a process that has done its work."""
    for worker in active_children():  # their queues are collected before their loader, which then waits 5 s for each
        worker.terminate()
    gc.collect()  # the wrapped model holds the group, and the runner, in a cycle with its hooks, the model
    torch.distributed.destroy_process_group()
