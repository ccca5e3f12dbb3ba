"""Test a checkpoint: classification, segmentation or detection.

It ends with a table of classes, worst first, and of what they were taken for. The same with pictures of the worst and the best
images is in report.html beside the log, or where --out-html says.

Images without labels: of a segmentation, --out FOLDER --cfg-options test_evaluator.format_only=True writes label maps alone;
classes of images are named by tools/inference/classify_images.py.
"""
import argparse

from nepa_mm.arguments import add_run, require_config, require_least
from nepa_mm.errors import end_on_interrupt, run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run(parser)
    parser.add_argument('checkpoint', help='checkpoint file; raw:FILE or ema:FILE for its raw or averaged weights')
    parser.add_argument('--out', help='predictions: a folder of label maps for segmentation, a .pkl file for all else')
    parser.add_argument('--out-item', choices=['metrics', 'pred'], help='what --out holds; metrics go to a .json or .pkl file')
    parser.add_argument('--out-html', metavar='FILE',
                        help='report with pictures, one .html file that needs nothing else; default: report.html beside the log')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder for pictures of predictions')
    parser.add_argument('--interval', type=int, default=1, help='draw every so many samples')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that a window stays')
    parser.add_argument('--amp', action='store_true', help="mmengine's mixed precision: float16 on a GPU")
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    args = parser.parse_args()
    if args.out_item and not args.out:
        parser.error('--out-item needs --out')
    require_least(args, 1, 'interval')
    require_config(args.config)
    return args


if __name__ == '__main__':
    end_on_interrupt('ended at once; nothing is measured')

args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.launch import test_settings
from nepa_mm.launch.checks import check_config
from nepa_mm.launch.read_config import load_config


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args)
    test_settings.set_test(cfg, args)
    check_config(cfg, ('test', ))
    test_settings.wrap_model(cfg, args)
    from nepa_mm.launch.build_runner import build_runner  # with torch and the hosts, once the config is right
    from nepa_mm.launch.naming_errors import naming
    from nepa_mm.launch.test_outputs import write_metrics, write_predictions
    with naming(cfg, ('test', )):
        runner = build_runner(cfg)
        write_predictions(runner, cfg, args)
        metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        write_metrics(metrics, args.out)


run_command(main, args)
