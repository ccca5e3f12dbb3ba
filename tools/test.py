"""Test a checkpoint: classification or segmentation."""
import argparse
from pathlib import Path

import mmengine
from mmengine.config import Config
from mmengine.evaluator import DumpResults

from nepa_mm.engine.data_checks import check_data, naming_data
from nepa_mm.engine.launch import (
    add_common_arguments,
    build_runner,
    check_checkpoint,
    load_config,
    naming_checkpoints,
    naming_keys,
)
from nepa_mm.engine.loop_checks import check_metrics
from nepa_mm.engine.segmentation_checks import check_segmentor
from nepa_mm.errors import ConfigError, one_line_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file; raw:FILE or ema:FILE for its raw or averaged weights')
    parser.add_argument('--out', help='predictions: a .pkl file for classification, a folder of label maps for segmentation')
    parser.add_argument('--out-item', choices=['metrics', 'pred'], help='what --out holds; metrics go to a .json or .pkl file')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder for pictures of predictions')
    parser.add_argument('--interval', type=int, default=1, help='draw every so many samples')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that a window stays')
    parser.add_argument('--amp', action='store_true', help="mmengine's mixed precision: float16 on a GPU")
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument('--no-pin-memory', action='store_true', help='the loader does not pin memory')
    add_common_arguments(parser)
    args = parser.parse_args()
    if args.out_item and not args.out:
        parser.error('--out-item needs --out')
    if args.out and Path(args.out).is_file():
        parser.error(f'--out {args.out} exists and would be written over; choose another file')
    return args


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Switch on the visualization hook of mmpretrain or mmseg, which name their settings differently."""
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise ConfigError('--show and --show-dir need it in the config', 'default_hooks.visualization',
                          'add it, or leave them out')
    hook.update(show=args.show, wait_time=args.wait_time, interval=args.interval)
    if cfg.default_scope == 'mmseg':
        hook.draw = True
        if args.show_dir:
            cfg.visualizer.save_dir = args.show_dir
    else:
        hook.update(enable=True, out_dir=args.show_dir)


def augment_at_test_time(cfg: Config) -> None:
    """Wrap the model in the config's ``tta_model``; for classification the two mirror images by default."""
    if cfg.default_scope == 'mmpretrain' and 'tta_pipeline' not in cfg:
        load, *pipeline = cfg.test_dataloader.dataset.pipeline
        flips = [dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)]
        cfg.tta_pipeline = [load, dict(type='TestTimeAug', transforms=[flips, *([step] for step in pipeline)])]
        cfg.setdefault('tta_model', dict(type='mmpretrain.AverageClsScoreTTA'))
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise ConfigError('test-time augmentation needs both in the config', 'tta_model, tta_pipeline',
                          'set them, or leave --tta out')
    # The hook would look for its average under the names of the wrapped model; the checkpoint's state_dict is the average.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if not hook.type.endswith('EMAHook')]
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def is_augmented(cfg: Config) -> bool:
    """Whether the config's own test is one of augmented images, for which the model is not wrapped yet."""
    steps = cfg.test_dataloader.dataset.get('pipeline', [])
    return 'module' not in cfg.model and any(step.type.endswith('TestTimeAug') for step in steps)


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = args.checkpoint
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise ConfigError(f'{args.config} has no test_dataloader and test_evaluator, so there is nothing to test',
                          'test_dataloader', 'give another config; pretraining is judged by fine-tuning')
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    check_segmentor(cfg)
    check_metrics(cfg, ('test', ))
    if is_augmented(cfg):  # a -ms config
        cfg.tta_pipeline = cfg.test_dataloader.dataset.pipeline
        args.tta = True
    if args.tta:
        augment_at_test_time(cfg)
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.no_pin_memory:
        cfg.test_dataloader.pin_memory = False
    if args.out and cfg.default_scope != 'mmseg' and args.out_item != 'metrics' and not args.out.endswith('.pkl'):
        raise ConfigError(f'{args.out}: predictions of a classifier go to a .pkl file', '--out',
                          'end it so; for a .json add --out-item metrics')
    save_maps = args.out and cfg.default_scope == 'mmseg' and args.out_item != 'metrics'
    if save_maps:
        cfg.test_evaluator.update(output_dir=args.out, keep_results=True)
    check_checkpoint(cfg, 'load_from')
    check_data(cfg, ('test', ))
    with naming_keys(cfg):
        runner = build_runner(cfg)
    if args.out and not save_maps and args.out_item != 'metrics':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    with naming_checkpoints(cfg), naming_data(cfg, ('test', )):
        metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    with one_line_errors():
        main()
