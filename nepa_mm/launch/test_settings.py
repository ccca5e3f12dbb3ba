"""What the command line of ``tools/test.py`` makes of a config."""
import argparse
import os
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import METRICS

from nepa_mm.errors import ConfigError
from nepa_mm.hosts.type_names import name_of
from nepa_mm.new_files import require_new

from .config_keys import arguments_of
from .config_parts import datasets_of, metrics_of, steps_of, value_at
from .read_config import set_loaders


def set_test(cfg: Config, args: argparse.Namespace) -> None:
    """Make of a config the test that is asked for; ConfigError if it has none, or --out cannot be written."""
    cfg.load_from, cfg.resume = args.checkpoint, False
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise ConfigError(f'{args.config} has no test_dataloader and test_evaluator, so there is nothing to test',
                          'test_dataloader', 'give another config; pretraining is judged by fine-tuning')
    cfg.test_cfg = dict(cfg.get('test_cfg') or {}, **(dict(fp16=True) if args.amp else {}))
    set_loaders(cfg, not args.no_pin_memory)
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    kind = predictions(cfg, args)
    if kind in ('scores', 'instances') and not args.out.endswith('.pkl'):
        model = dict(scores='classifier', instances='detector')[kind]
        raise ConfigError(f'{args.out}: predictions of a {model} go to a .pkl file', '--out',
                          'end it so; for a .json add --out-item metrics')
    if kind == 'maps':
        require_new(folder=Path(args.out))
        save_maps(cfg, args.out)
    elif args.out:
        require_new(Path(args.out), suffixes=('.json', '.pkl'))  # which a long test would find out at its end
    set_report(cfg, args.out_html)
    if all(metric.get('format_only') for _, metric in metrics_of(cfg, 'test')):
        leave_labels(cfg)
    if args.tta or is_augmented(cfg):
        augment(cfg)


def set_report(cfg: Config, out_html: str | None) -> None:
    """Let the test end with a report, whatever the config's own hooks are."""
    if out_html:
        require_new(Path(out_html), suffixes=('.html', '.htm'))
    hooks = dict(cfg.get('default_hooks') or {})
    report = dict(hooks.get('report') or dict(type='nepa_mm.ReportHook'), **(dict(out_html=out_html) if out_html else {}))
    cfg.default_hooks = dict(hooks, report=report)


def leave_labels(cfg: Config) -> None:
    """Ask for no label maps where predictions alone are written, as mmseg's ``format_only`` says.

    Raises:
        ConfigError: If nothing says where to, or something is there already.
    """
    for key, metric in metrics_of(cfg, 'test'):
        if not metric.get('output_dir'):
            raise ConfigError('True writes label maps, and no folder is named for them', f'{key}.format_only',
                              'give a new one by --out, or set output_dir')
        require_new(folder=Path(metric['output_dir']))
    for key, dataset in datasets_of(cfg, ('test', )):
        dataset['test_mode'] = True
        if isinstance(dataset.get('data_prefix'), dict):
            dataset['data_prefix'].pop('seg_map_path', None)
        for _, step in steps_of(dataset, key):
            if name_of(step) == 'LoadAnnotations':  # which needs a label map; ours does without
                step['type'] = 'nepa_mm.LoadSegAnnotations'


def predictions(cfg: Config, args: argparse.Namespace) -> str | None:
    """What --out is for: label 'maps' of a segmentation, 'instances' of a detection, 'scores' of a classification, or None."""
    if not args.out or args.out_item == 'metrics':
        return None
    return dict(mmseg='maps', mmdet='instances').get(cfg.get('default_scope'), 'scores')


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Switch on the visualization hook of mmpretrain, mmseg or mmdet, which name their settings differently."""
    hook = value_at(cfg, 'default_hooks.visualization')
    if hook is None:
        raise ConfigError('--show and --show-dir need it in the config', 'default_hooks.visualization',
                          'add it, or leave them out')
    if any(step.get('channels') for key, dataset in datasets_of(cfg, ('test', )) for _, step in steps_of(dataset, key)):
        raise ConfigError('the hook of mmpretrain and mmseg draws RGB, and images are read with channels of their own',
                          '--show-dir' if args.show_dir else '--show', 'classify_images.py --show-dir and segment_images.py '
                          '--out-dir in tools/inference draw them, and the report shows the worst and the best')
    hook.update(show=args.show, wait_time=args.wait_time, interval=args.interval)
    if cfg.get('default_scope') == 'mmseg':
        hook.draw = True
        if args.show_dir:
            cfg.visualizer = dict(cfg.get('visualizer') or dict(type='SegLocalVisualizer'), save_dir=args.show_dir)
    elif cfg.get('default_scope') == 'mmdet':
        hook.update(draw=True, test_out_dir=args.show_dir and os.path.abspath(args.show_dir))  # else in the work dir
    else:
        hook.update(enable=True, out_dir=args.show_dir)


def augment(cfg: Config) -> None:
    """Test by the config's ``tta_pipeline``, which its ``tta_model`` needs; for classification two mirror images by default."""
    dataset = cfg.test_dataloader.dataset
    if is_augmented(cfg):  # a -ms config
        cfg.tta_pipeline = dataset.pipeline
    if cfg.get('default_scope') == 'mmpretrain' and 'tta_pipeline' not in cfg and dataset.get('pipeline'):
        load, *pipeline = dataset.pipeline
        flips = [dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)]
        cfg.tta_pipeline = [load, dict(type='TestTimeAug', transforms=[flips, *([step] for step in pipeline)])]
        cfg.setdefault('tta_model', dict(type='mmpretrain.AverageClsScoreTTA'))
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise ConfigError('test-time augmentation needs both in the config', 'tta_model, tta_pipeline',
                          'set them, or leave --tta out')
    # The hook would look for its average under the names of the wrapped model; the checkpoint's state_dict is the average.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if not name_of(hook).endswith('EMAHook')]
    dataset.pipeline = cfg.tta_pipeline


def is_augmented(cfg: Config) -> bool:
    """Whether the config's own test is one of augmented images, for which the model is not wrapped yet."""
    steps = steps_of(cfg.test_dataloader.dataset, '')
    return 'module' not in cfg.model and any(name_of(step).endswith('TestTimeAug') for _, step in steps)


def wrap_model(cfg: Config, args: argparse.Namespace) -> None:
    """Put the model, which was checked as it is, into the one that averages over augmented images."""
    if args.tta or is_augmented(cfg):
        cfg.model = dict(cfg.tta_model, module=cfg.model)


def save_maps(cfg: Config, folder: str) -> None:
    """Let the first metric that can write label maps write them."""
    metrics = [metric for _, metric in metrics_of(cfg, 'test')]
    with METRICS.switch_scope_and_registry('mmseg') as registry:
        able = [metric for metric in metrics if 'output_dir' in arguments_of(registry.get(metric.get('type', '')))]
    if not able:
        raise ConfigError(f'{[metric.get("type") for metric in metrics]}: none writes label maps', 'test_evaluator',
                          "add dict(type='nepa_mm.ExactIoUMetric'), or leave --out out")
    able[0].update(output_dir=folder, keep_results=True)
