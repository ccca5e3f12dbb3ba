"""Measure what a command costs before it does anything, beside mmpretrain's own tools/train.py: processor seconds.

    python tools/analysis_tools/benchmark_startup.py --json startup.json

Each command is a process of its own, and all take turns: --help, a wrong argument, errors of a config, and from the launch to the
end of the first training step. That step is of the demo's pretraining, without the picture that it draws before, and of
mmpretrain's MAE with a model of the same size, on the same two images, without workers. Ratios are between neighbours of one
turn, median (lowest to highest).
"""
import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from nepa_mm.analysis.figures import add_json, markdown, ratios, spread
from nepa_mm.arguments import require_least
from nepa_mm.errors import ConfigError, one_line_errors

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py'
# Ends the process after the first step, for whichever runner
FIRST_STEP = '''
import os
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class EndAtFirstStep(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        print('first step', float(outputs['loss']), flush=True)
        os._exit(0)
'''
SHORT = '''
custom_imports = dict(imports='first_step', allow_failed_imports=False)
custom_hooks = [*{hooks}, dict(type='EndAtFirstStep', priority='VERY_LOW')]
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, drop_last=False,
                        dataset=dict({dataset}))
'''
OURS = "_base_ = '{base}'\nauto_scale_lr = dict(base_batch_size=2)\n"
MAE = """_base_ = '{base}'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512), img_size=64,
                  patch_size=8),
    neck=dict(num_patches=64, patch_size=8, embed_dim=128, decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4),
    head=dict(patch_size=8))
optim_wrapper = dict(_delete_=True, optimizer=dict(type='AdamW', lr=1e-3))
resume = False
"""
IMAGES = "type='CustomDataset', data_root='{images}', data_prefix='', with_label=False"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=5, help='turns; default: 5')
    add_json(parser)
    args = parser.parse_args()
    require_least(args, 1, 'repeats')
    return args


def write_configs(folder: Path, theirs: Path) -> None:
    """Two images, and the configs that are launched and refused."""
    from PIL import Image
    (folder / 'images').mkdir()
    for i in range(2):
        Image.effect_noise((72, 72), 50).convert('RGB').save(folder / f'images/{i}.jpg')
    (folder / 'first_step.py').write_text(FIRST_STEP)
    images = IMAGES.format(images=folder / 'images')
    (folder / 'ours.py').write_text(OURS.format(base=DEMO) + SHORT.format(hooks='_base_.custom_hooks[:1]', dataset=images))
    scaled = ", pipeline=[dict(step, scale=64) if 'scale' in step else step for step in _base_.train_pipeline]"
    dataset = f"_delete_=True, {images}{scaled}"
    mae = theirs / 'configs/mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'
    (folder / 'mae.py').write_text(MAE.format(base=mae) + SHORT.format(hooks='[]', dataset=dataset))
    (folder / 'misspelt.py').write_text(OURS.format(base=DEMO) + 'train_dataloder = dict()\n')
    (folder / 'syntax.py').write_text('model = (\n')


def commands(folder: Path) -> Iterator[tuple[str, list, int, str | None]]:
    """Name, command, exit code and, for a ratio, the name of what it is held against."""
    theirs = Path(find_spec('mmpretrain').origin).parent / '.mim'
    write_configs(folder, theirs)
    own, others = ROOT / 'tools/train.py', theirs / 'tools/train.py'
    yield 'mmpretrain: --help', [others, '--help'], 0, None
    yield '--help', [own, '--help'], 0, 'mmpretrain: --help'
    yield 'a wrong option', [own, 'ours.py', '--amb'], 2, None
    yield 'no such config', [own, 'gone.py'], 2, None
    yield 'a syntax error in the config', [own, 'syntax.py'], 2, None
    yield 'a misspelt key', [own, 'misspelt.py'], 2, None
    yield 'a data set that is not there', [own, DEMO, '--cfg-options', 'train_dataloader.dataset.data_root=gone'], 3, None
    yield 'mmpretrain: first step of MAE', [others, 'mae.py', '--work-dir', 'mae'], 0, None
    yield 'first step of NEPA', [own, 'ours.py', '--work-dir', 'ours', '--overwrite'], 0, 'mmpretrain: first step of MAE'


def seconds(command: list, folder: Path, code: int) -> float:
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join([str(folder), str(ROOT)])}
    with open(folder / 'printed.log', 'w') as log:
        process = subprocess.Popen([sys.executable, *map(str, command)], cwd=folder, env=env, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        print((folder / 'printed.log').read_text()[-3000:], file=sys.stderr)
        raise ConfigError(f'it ended with exit code {process.returncode}, not {code}', ' '.join(map(str, command)),
                          'see what it says above')
    return usage.ru_utime + usage.ru_stime


def main(args: argparse.Namespace) -> None:
    with TemporaryDirectory() as name:
        listed = list(commands(Path(name)))
        turns = [{key: seconds(command, Path(name), code) for key, command, code, _ in listed} for _ in range(args.repeats)]
    figures, rows = {}, []
    for key, _, _, against in listed:
        times = [turn[key] for turn in turns]
        figures[key] = dict(seconds=times, median=statistics.median(times))
        found = against and ratios(times, [turn[against] for turn in turns])
        if found:
            figures[key].update(against=against, ratios=found['pairs'])
        rows.append([key, f'{figures[key]["median"]:.2f}', spread(found) if found else ''])
    print(markdown('command | processor seconds | ratio', rows))
    args.json.write(figures)


if __name__ == '__main__':
    with one_line_errors():
        main(parse_args())
