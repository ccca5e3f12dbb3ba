"""Train a model: pretraining, classification, segmentation, or any other mm config."""
import argparse

from nepa_mm.errors import ConfigError, end_on_interrupt, one_line_errors

if __name__ == '__main__':
    end_on_interrupt()

from nepa_mm.checkpoints import path_of
from nepa_mm.launch.launch import add_common_arguments, build_runner, load_config, set_loaders
from nepa_mm.launch.run_checks import check_run, naming
from nepa_mm.launch.work_dir import check_work_dir, sole_run


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--resume', nargs='?', const='auto', help='continue from a checkpoint, or the newest in the work dir')
    parser.add_argument('--overwrite', action='store_true', help='start anew where a run is, which is moved aside')
    parser.add_argument('--amp', action='store_true', help='train in bfloat16 (nepa_mm.Bf16OptimWrapper)')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale lr by batch / auto_scale_lr.base_batch_size')
    parser.add_argument('--no-pin-memory', action='store_true', help='loaders do not pin memory')
    parser.add_argument('--no-persistent-workers', action='store_true', help='loader processes end with each epoch')
    parser.add_argument('--allow-resume-change', action='store_true',
                        help='resume with other processes, batch, images, seed, length, optimizer or schedules')
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'nepa_mm.Bf16OptimWrapper'
        for key in ('loss_scale', 'dtype'):  # AmpOptimWrapper's
            cfg.optim_wrapper.pop(key, None)
    if args.resume is not None:
        if args.resume != path_of(args.resume):
            raise ConfigError(f'{args.resume} would lose the other weights', '--resume', 'give the file without raw: or ema:')
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.allow_resume_change:
        cfg.allow_resume_change = True
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ConfigError(f'--auto-scale-lr needs it, and {args.config} does not set it', 'auto_scale_lr.base_batch_size',
                              'set it to the batch that the learning rate is for')
        cfg.auto_scale_lr.enable = True
    set_loaders(cfg, not args.no_pin_memory, not args.no_persistent_workers)
    splits = ('train', ) if args.no_validate else ('train', 'val')
    with sole_run(cfg):
        check_work_dir(cfg, must_resume=args.resume == 'auto', overwrite=args.overwrite)
        check_run(cfg, splits)
        with naming(cfg, splits):
            build_runner(cfg).train()


if __name__ == '__main__':
    with one_line_errors():
        main()
