"""Train a model: pretraining, classification, segmentation, or any other mm config."""
import argparse

from nepa_mm.arguments import add_run, require_config
from nepa_mm.errors import end_on_interrupt, run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run(parser)
    parser.add_argument('--resume', nargs='?', const='auto', help='continue from a checkpoint, or the newest in the work dir')
    parser.add_argument('--overwrite', action='store_true', help='start anew where a run is, which is moved aside')
    parser.add_argument('--amp', action='store_true', help='train in bfloat16 (nepa_mm.Bf16OptimWrapper)')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale lr by batch / auto_scale_lr.base_batch_size')
    parser.add_argument('--no-persistent-workers', action='store_true', help='loader processes end with each epoch')
    parser.add_argument('--allow-resume-change', action='store_true',
                        help='resume with other processes, batch, images, seed, length, optimizer or schedules')
    args = parser.parse_args()
    if args.resume and args.overwrite:
        parser.error('--resume goes on with a run, and --overwrite moves it aside: choose one')
    require_config(args.config)
    return args


if __name__ == '__main__':
    end_on_interrupt()

args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.launch.checks import check_config
from nepa_mm.launch.read_config import load_config
from nepa_mm.launch.train_settings import set_training
from nepa_mm.launch.work_dir import check_work_dir, sole_run


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args)
    splits = set_training(cfg, args)
    with sole_run(cfg):
        check_work_dir(cfg, must_resume=args.resume == 'auto', overwrite=args.overwrite)
        check_config(cfg, splits)
        from nepa_mm.launch.build_runner import build_runner  # with torch and the hosts, once the config is right
        from nepa_mm.launch.naming_errors import naming
        with naming(cfg, splits):
            build_runner(cfg).train()


run_command(main, args)
