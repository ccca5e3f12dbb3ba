"""Test a checkpoint: classification or segmentation."""
import argparse
from collections import Counter
from pathlib import Path

from nepa_mm.errors import ConfigError, end_on_interrupt, one_line_errors

if __name__ == '__main__':
    end_on_interrupt('the test has not come to its end; nothing is measured')

import mmengine
from mmengine.config import Config
from mmengine.evaluator import DumpResults
from mmengine.registry import METRICS
from torch.utils.data import Dataset

from nepa_mm.launch.config_keys import arguments_of
from nepa_mm.launch.launch import add_common_arguments, build_runner, load_config, set_loaders
from nepa_mm.launch.run_checks import check_run, naming


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
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError('--show and --show-dir need it in the config', 'default_hooks.visualization',
                          'add it, or leave them out')
    hook.update(show=args.show, wait_time=args.wait_time, interval=args.interval)
    if cfg.get('default_scope') == 'mmseg':
        hook.draw = True
        if args.show_dir:
            cfg.visualizer = dict(cfg.get('visualizer') or dict(type='SegLocalVisualizer'), save_dir=args.show_dir)
    else:
        hook.update(enable=True, out_dir=args.show_dir)


def augment_at_test_time(cfg: Config) -> None:
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
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if not hook.get('type', '').endswith('EMAHook')]
    dataset.pipeline = cfg.tta_pipeline


def is_augmented(cfg: Config) -> bool:
    """Whether the config's own test is one of augmented images, for which the model is not wrapped yet."""
    steps = cfg.test_dataloader.dataset.get('pipeline', [])
    return 'module' not in cfg.model and any(step.get('type', '').endswith('TestTimeAug') for step in steps)


def save_maps(cfg: Config, folder: str) -> None:
    """Let the first metric that can write label maps write them."""
    metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
    with METRICS.switch_scope_and_registry('mmseg') as registry:
        able = [metric for metric in metrics if 'output_dir' in arguments_of(registry.get(metric.get('type', '')))]
    if not able:
        raise ConfigError(f'{[metric.get("type") for metric in metrics]}: none writes label maps', 'test_evaluator',
                          "add dict(type='nepa_mm.ExactIoUMetric'), or leave --out out")
    able[0].update(output_dir=folder, keep_results=True)


def require_names(dataset: Dataset, option: str) -> None:
    """What the hosts write is named as the image, without its folder: the last of one name would be left of several.

    Raises:
        ConfigError: If two images have one name.
    """
    if not hasattr(dataset, 'get_data_info'):
        return
    paths = [Path(str(dataset.get_data_info(index).get('img_path', index))) for index in range(len(dataset))]
    names = [path.stem if option == '--out' else path.name for path in paths]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        same = [str(path) for path, its in zip(paths, names) if its == name][:2]
        raise ConfigError(f'{len(paths)} images have {len(set(names))} names, and what is written for {same[1]} would replace '
                          f'that for {same[0]}', option, 'classify_images.py --show-dir and segment_images.py --out-dir in '
                          'tools/inference/ keep the folders of images')


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise ConfigError(f'{args.config} has no test_dataloader and test_evaluator, so there is nothing to test',
                          'test_dataloader', 'give another config; pretraining is judged by fine-tuning')
    cfg.test_cfg = dict(cfg.get('test_cfg') or {}, **(dict(fp16=True) if args.amp else {}))
    set_loaders(cfg, not args.no_pin_memory)
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    is_segmentation, metrics_alone = cfg.get('default_scope') == 'mmseg', args.out_item == 'metrics'
    if args.out and not is_segmentation and not metrics_alone and not args.out.endswith('.pkl'):
        raise ConfigError(f'{args.out}: predictions of a classifier go to a .pkl file', '--out',
                          'end it so; for a .json add --out-item metrics')
    if args.out and is_segmentation and not metrics_alone:
        save_maps(cfg, args.out)
    augments = args.tta or is_augmented(cfg)
    if augments:
        augment_at_test_time(cfg)
    check_run(cfg, ('test', ))
    if augments:
        cfg.model = dict(cfg.tta_model, module=cfg.model)
    with naming(cfg, ('test', )):
        runner = build_runner(cfg)
        writes_maps = args.out and is_segmentation and not metrics_alone
        if args.show_dir or writes_maps:
            require_names(runner.test_loop.dataloader.dataset, '--out' if writes_maps else '--show-dir')
        if args.out and not is_segmentation and not metrics_alone:
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
        metrics = runner.test()
    if args.out and metrics_alone:
        mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    with one_line_errors():
        main()
