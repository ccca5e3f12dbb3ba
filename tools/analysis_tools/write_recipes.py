"""Write the recipes as they come out of the built optimizers and schedulers, in Markdown: docs/recipes.md.

    python tools/analysis_tools/write_recipes.py docs/recipes.md
"""
import argparse
import re
from collections import defaultdict
from pathlib import Path

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('page', type=Path, help='file to write')
    args = parser.parse_args()  # before the imports, which take seconds

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from torch.utils.data import DataLoader

from nepa_mm.engine import LayerDecayCosineLR
from nepa_mm.engine.loops.effective_batch import StepLoader, accumulation, warmup_iters

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
IMAGES, GPUS = 1_281_167, 8
SHARES = (0, 25, 50, 75, 100)
RECIPES = {
    'Pretraining': 'pretrain/nepa_vit-{}-p14_8xb*-amp-coslr-*e_in1k.py',
    'Fine-tuning, release': 'classification/nepa_vit-{}-p14_8xb128-coslr-*e_in1k.py',
    'Fine-tuning, paper': 'classification/nepa_vit-{}-p14_8xb128-coslr-*e_in1k-paper.py',
    'Segmentation': 'segmentation/nepa_vit-{}-p14_upernet_8xb2-amp-160k_ade20k-512x512.py',
}
INTRODUCTION = f"""# Recipes

Learning rate and weight decay of every parameter group, read from the optimizers and schedulers that the configs build, at the
first step, at 25, 50 and 75 % of training, and at its end. Lengths are those of {GPUS} GPUs, {IMAGES:,} images of ImageNet-1k
and 160,000 iterations of ADE20K. Groups with the same rates share a row. Depth is the exponent of the layer-wise decay. Weight
decay is that of matrices (and tokens); biases, norms and LayerScale take none: a test asserts it. What is not listed is frozen.
Where these recipes differ from the release's, [tables.md](tables.md#where-release-and-ours-differ) says.

This page is made by `python tools/analysis_tools/write_recipes.py docs/recipes.md`; a test makes it again and compares."""


def part_of(name: str) -> str:
    """What the table calls the part of the model that a parameter belongs to."""
    block = re.match(r'backbone\.layers\.(\d+)\.', name)
    if block:
        return f'block {int(block[1]) + 1}'
    parts = name.split('.')
    return parts[1] if parts[0] == 'backbone' else parts[0]


def build(cfg: Config):
    """Optimizer wrapper, schedulers, names of all parameters by their identity, steps in an epoch and in all."""
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    cfg.optim_wrapper.optimizer.pop('fused', None)  # the rates are the same, and PyTorch 2.4 fuses no parameters without memory
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    loader = cfg.train_dataloader
    count = accumulation(cfg.auto_scale_lr.base_batch_size, GPUS, loader.batch_size)
    share = DataLoader(range(-(-IMAGES // GPUS)), loader.batch_size, drop_last=loader.get('drop_last', False))
    epoch = len(StepLoader(share, count, cfg.train_cfg.get('take_rest', False)))
    total = cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs * epoch
    schedules = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    in_epochs = [dict(epoch_length=epoch) if schedule.get('convert_to_iter_based') else {} for schedule in schedules]
    schedules = [PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=wrapper, **length))
                 for schedule, length in zip(schedules, in_epochs)]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return wrapper, schedules, names, epoch, total


def rates(wrapper, schedules: list, total: int) -> list[list[float]]:
    """Learning rate of each group at the shares of training."""
    groups, steps = wrapper.optimizer.param_groups, [total * share // 100 for share in SHARES]
    if all(isinstance(schedule, LayerDecayCosineLR) for schedule in schedules):
        result = []
        for step in steps:
            for schedule in schedules:  # its values come from the step alone: it may jump
                schedule.last_step = step - 1
                schedule.step()
            result.append([group['lr'] for group in groups])
        return result
    # mmengine's go on from their last value, by one factor for all groups: one group stands for all in the many steps.
    initial, others = [group['initial_lr'] for group in groups], groups[1:]
    del groups[1:]
    factors = {}
    for step in range(total + 1):
        factors[step] = groups[0]['lr'] / initial[0]
        for schedule in schedules:
            schedule.step()
    groups += others
    return [[factors[step] * lr for lr in initial] for step in steps]


def table(path: Path) -> list[str]:
    cfg = Config.fromfile(path)
    wrapper, schedules, names, epoch, total = build(cfg)
    steps = rates(wrapper, schedules, total)
    rows = defaultdict(lambda: (set(), set(), set()))  # depths, parts and weight decays by rates
    for index, group in enumerate(wrapper.optimizer.param_groups):
        if 'layer_depth' not in group:  # mmengine's, for the log
            continue
        depths, parts, decays = rows[tuple(step[index] for step in steps)]
        depths.add(group['layer_depth'])
        parts.update(part_of(names[id(parameter)]) for parameter in group['params'])
        if any(parameter.ndim > 1 for parameter in group['params']):
            decays.add(group['weight_decay'])
    batch = cfg.auto_scale_lr.base_batch_size
    lines = ['', f'Batch {batch}, {total:,} iterations' + (f', {epoch:,} an epoch' if 'max_epochs' in cfg.train_cfg else '') +
             f', warm-up {warmup_iters(schedules, epoch):,}. `configs/{path.relative_to(CONFIGS)}`', '',
             '| depth | parameters | weight decay | ' + ' | '.join(f'lr at {share} %' for share in SHARES) + ' |',
             '| ---: | --- | ---: | ' + ' | '.join(['---:'] * len(SHARES)) + ' |']
    for lrs, (depths, parts, decays) in sorted(rows.items(), key=lambda row: (min(row[1][0]), sorted(row[1][1]))):
        depth = f'{min(depths)} to {max(depths)}' if len(depths) > 1 else min(depths)
        parts = sorted(parts, key=lambda part: (part.startswith('block'), [int(n) for n in re.findall(r'\d+', part)], part))
        blocks = [part for part in parts if part.startswith('block')]
        if len(blocks) > 2:
            parts = [part for part in parts if part not in blocks] + [f'blocks {blocks[0][6:]} to {blocks[-1][6:]}']
        decay = ', '.join(f'{value:g}' for value in sorted(decays)) or '0'
        lines.append(f'| {depth} | {", ".join(parts)} | {decay} | ' + ' | '.join(f'{lr:.3g}' for lr in lrs) + ' |')
    return lines


def page() -> str:
    lines = [INTRODUCTION]
    for arch, title in (('base', 'ViT-B/14'), ('large', 'ViT-L/14')):
        for recipe, pattern in RECIPES.items():
            path = min(CONFIGS.glob(pattern.format(arch)), key=lambda path: int(re.search(r'-(\d+)[ek]_', path.name)[1]))
            lines += ['', f'## {title}: {recipe[0].lower() + recipe[1:]}', *table(path)]
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    args.page.write_text(page())
