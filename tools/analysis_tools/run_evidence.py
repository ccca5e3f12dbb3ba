"""Run an experiment of docs/evidence.md or beyond.md: small trainings on CIFAR-10 or CamVid, by several seeds, and their table.

    python tools/analysis_tools/run_evidence.py pretraining --jobs 2

Images are looked for in data/cifar10/{train,test}/<class>/ and data/camvid/{images,annotations}/. Each training is a process of
its own, tools/train.py with a config of configs/evidence, into DIR/<training>/seed<N>; for some, settings of another config of
this repository are put on it, such as an ablation's. Called again, the command keeps what is finished and resumes what was begun,
and trainings that several experiments need are run once; with --keep-records it trains nothing of which
docs/evidence/<experiment>.jsonl tells, so that a new clone can add a seed. At the end come the table, mean and standard deviation
over the seeds, DIR/<experiment>.jsonl with command, result, curve and time of every training, and for some a picture.
"""
import argparse
import os
from pathlib import Path

from nepa_mm.analysis.runs.experiment import Row, Training
from nepa_mm.analysis.runs.paper_figures import figure
from nepa_mm.arguments import require_least
from nepa_mm.errors import run_command

DOCS = Path(__file__).resolve().parents[2] / 'docs'

SMALL = 'evidence/nepa_vit-micro-p4_1xb64-coslr'
SHORT = 'evidence/nepa_vit-micro-p4_1xb32-amp-coslr'
LARGE = 'nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper'
TUNED = 'nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper'
TOP1 = 'accuracy/top1'
FINETUNINGS = {  # by the share of labels: config and list
    '100 %': (f'{SMALL}-3e_cifar10-32px.py', None),
    '10 %': (f'{SMALL}-12e_cifar10-10pct-32px.py', '10pct'),
    '1 %': (f'{SMALL}-40e_cifar10-1pct-32px.py', '1pct'),
}
SCRATCH = f'{SMALL}-3e_cifar10-32px-scratch.py'  # spares random weights what would handicap them
RANDOM = ('model.backbone.init_cfg=None',)
FOUR_EPOCHS = ('train_cfg.max_epochs=4', 'param_scheduler.end=4')  # instead of one

# The released variant and recipe
NEPA = Training('nepa', f'{SMALL}-8e_cifar10-32px.py')
MAE = Training('mae', 'evidence/mae_nepa-vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py')


def finetuned(name: str, share: str, start: Training | None, change: str | None = None, options: tuple[str, ...] = ()
              ) -> tuple[Training, str]:
    """Top-1 after fine-tuning by the release's recipe."""
    config, labels = FINETUNINGS[share]
    return Training(f'{name}_{labels or "100pct"}', config, change, options, start, labels=labels), TOP1


def pretraining() -> list[Row]:
    """Pretraining against none and against MAE, by the share of labels."""
    ends = 'train_cfg.max_epochs', 'train_cfg.val_interval', 'param_scheduler.end', 'default_hooks.checkpoint.interval'
    longer_ones = {share: finetuned('long_scratch', share, None, SCRATCH, tuple(f'{key}={epochs}' for key in ends))
                   for share, epochs in {'10 %': 36, '1 %': 120}.items()}
    return [
        Row('from scratch', '', {share: finetuned('scratch', share, None, SCRATCH) for share in FINETUNINGS}),
        Row('from scratch, three times as long', '', longer_ones),
        Row('MAE', f"{figure('2', 'MAE, B')} on ImageNet (MAE)", {
            share: finetuned('from_mae', share, MAE) for share in FINETUNINGS}),
        Row('**NEPA**', f"{figure('2', 'NEPA, bidirectional, B')} on ImageNet", {
            share: finetuned('from_nepa', share, NEPA) for share in FINETUNINGS}),
    ]


def linear() -> list[Row]:
    """Linear probing, Table 6."""
    config, last = f'{SMALL}-1e_cifar10-32px-linear.py', 'classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-linear-last.py'

    def probed(name: str, start: Training | None, *options: str) -> dict[str, tuple[Training, str]]:
        return {'average': (Training(f'linear_{name}', config, options=options, start=start), TOP1),
                'last': (Training(f'linear_last_{name}', config, last, options=options, start=start), TOP1)}

    return [
        Row('random weights', '', probed('random', None, *RANDOM)),
        Row('**NEPA**', f"{figure('6', 'mean token, B')} and {figure('6', 'last token, B')}", probed('nepa', NEPA)),
        Row('NEPA, second block of four', '', probed('middle', NEPA, 'model.backbone.out_indices=1')),
    ]


def shortly_tuned(name: str, start: Training | None, options: tuple[str, ...] = (), change: str | None = None,
                  start_epoch: int | None = None) -> tuple[Training, str]:
    """Top-1 after a short fine-tuning with 10 % of the labels, as a short pretraining has."""
    config = f'{SHORT}-5e_cifar10-10pct-32px.py'
    return Training(f'{name}_short_10pct', config, change, options, start, start_epoch, '10pct'), TOP1


def epochs() -> list[Row]:
    """Accuracy over pretraining epochs, Figure 4."""
    return [Row(f'epoch {epoch}', 'rises', {'top-1': shortly_tuned(f'from_nepa_{epoch}e', NEPA, start_epoch=epoch)})
            for epoch in (1, 2, 4, 8)]


def sizes() -> list[Row]:
    """Accuracy over model size."""
    return [sized('nano', 32), sized('micro', 64), sized('mini', 128)]


def sized(name: str, width: int) -> Row:
    """A size against the same from scratch."""
    arch = dict(embed_dims=width, num_layers=4, num_heads=width // 32, feedforward_channels=4 * width)
    options = tuple(f'model.backbone.arch.{key}={value}' for key, value in arch.items())
    start = Training(f'{name}_nepa', f'{SHORT}-1e_cifar10-32px.py', options=options)
    options += f'model.head.in_channels={width}',
    base, large = (figure('2', f'NEPA, bidirectional, {size}') for size in 'BL')
    return Row(f'{name}, width {width}', f'B {base}, L {large}', {
        'from scratch': shortly_tuned(f'{name}_scratch', None, options, SCRATCH),
        'NEPA': shortly_tuned(f'{name}_from_nepa', start, options)})


def targets() -> list[Row]:
    """MAE with and without its normalised pixels against NEPA, by short trainings: is it the target that puts MAE ahead?"""
    config = 'evidence/mae_nepa-vit-micro-p4_1xb32-amp-coslr-1e_cifar10-32px.py'
    plain = Training('short_mae_plain', config, options=('model.head.norm_pix=False',))
    return [
        Row('MAE', '', {'top-1': shortly_tuned('from_mae', Training('short_mae', config))}),
        Row('MAE, pixels as they are', 'lower (MAE)', {'top-1': shortly_tuned('from_mae_plain', plain)}),
        Row('**NEPA**', '', {'top-1': sized('micro', 64).cells['NEPA']}),
    ]


# The paper's variant and recipe, which its Table 1 and 8 ablate

PAPER = Training('paper', f'{SHORT}-1e_cifar10-32px-paper.py')


def ablated(name: str, change: str | None, tuning: str | None = None, options: tuple[str, ...] = (),
            tuning_options: tuple[str, ...] = ()) -> dict[str, tuple[Training, str]]:
    """Numbers of a pretraining with a change, and top-1 after fine-tuning with another."""
    start = Training(f'paper_{name}', PAPER.config, change, options) if change or options else PAPER
    return {'loss': (start, 'loss'), 'collapse': (start, 'collapse'), 'top-1': tuned(name, start, tuning, tuning_options)}


def tuned(name: str, start: Training | None, change: str | None = None, options: tuple[str, ...] = ()) -> tuple[Training, str]:
    """Top-1 after fine-tuning by the paper's recipe, with 10 % of the labels."""
    config = f'{SHORT}-5e_cifar10-10pct-32px-paper.py'
    return Training(f'paper_{name}_10pct', config, change, options, start, labels='10pct'), TOP1


def table1a() -> list[Row]:
    """Shift, causal mask and stop-gradient."""
    return [
        Row('NEPA', figure('1a', 'all three'), ablated('nepa', None)),
        Row('no shift', figure('1a', 'no shift'), ablated('no_shift', f'ablation/{LARGE}-no-shift.py')),
        Row('no causal mask', figure('1a', 'no causal mask'), ablated('no_causal', f'ablation/{LARGE}-no-causal.py')),
        Row('no stop-gradient', figure('1a', 'no stop-gradient'), ablated('no_stopgrad', f'ablation/{LARGE}-no-stopgrad.py')),
        Row('no pretraining, fine-tuned likewise', '', {'top-1': tuned('random', None, options=RANDOM)}),
        Row('no pretraining, spared what handicaps it', '', {'top-1': tuned('scratch', None, SCRATCH)}),
    ]


def longer() -> list[Row]:
    """The causal mask of Table 1a in a longer pretraining."""
    return [
        Row('NEPA', figure('1a', 'all three'), ablated('nepa_4e', None, options=FOUR_EPOCHS)),
        Row('no causal mask', figure('1a', 'no causal mask'), ablated(
            'no_causal_4e', f'ablation/{LARGE}-no-causal.py', options=FOUR_EPOCHS)),
    ]


def table1b() -> list[Row]:
    """Parts of the ViT, step by step; and what tells apart what RoPE and QK-norm do."""
    no_rope, fixed_rope = ('model.backbone.rope=None',), ('model.backbone.rope.theta=100.', 'model.backbone.rope.rescale=None')
    steps = {'plain ViT': 'plain', '+ LayerScale': 'ls', '+ RoPE': 'ls-rope', '+ QK-norm': 'gelu'}
    cells = {part: ablated(part, f'ablation/{LARGE}-{part}.py', f'ablation/{TUNED}-{part}.py') for part in steps.values()}
    rope, _ = cells['ls-rope']['loss']
    return [
        *(Row(name, figure('1b', name), cells[part]) for name, part in steps.items()),
        Row('+ gated MLP (NEPA)', figure('1b', '+ QK-norm, gated MLP'), ablated('nepa', None)),
        Row('plain ViT, no pretraining', '', {'top-1': tuned('plain_random', None, f'ablation/{TUNED}-plain.py', RANDOM)}),
        Row('LayerScale, RoPE not rescaled in fine-tuning', '', {
            'top-1': tuned('ls-rope_fixed', rope, f'ablation/{TUNED}-ls-rope.py', fixed_rope)}),
        Row('LayerScale, QK-norm', '', ablated(
            'ls-qk', f'ablation/{LARGE}-gelu.py', f'ablation/{TUNED}-gelu.py', no_rope, no_rope)),
    ]


def table1c() -> list[Row]:
    return [
        Row('0 % (NEPA)', figure('1c', 'nothing masked'), ablated('nepa', None)),
        Row('40 %', figure('1c', '40 % masked'), ablated('mask40', f'ablation/{LARGE}-mask40.py')),
        Row('60 %', figure('1c', '60 % masked'), ablated('mask60', f'ablation/{LARGE}-mask60.py')),
    ]


def table1de() -> list[Row]:
    """Frozen embedding and attention in fine-tuning; Table 8 too, whose decay is fixed."""
    full, frozen = figure('8', 'decay rising from 0.35 to 1'), figure('1d', 'embedding frozen')
    return [
        Row('embedding frozen, bidirectional, decay rising', f"1d {frozen}, 1e {figure('1e', 'bidirectional')}, 8 {full}", {
            'top-1': tuned('nepa', PAPER)}),
        Row('1d: embedding trained', figure('1d', 'embedding trained'), {
            'top-1': tuned('unfrozen', PAPER, f'ablation/{TUNED}-unfrozen.py')}),
        Row('1e: causal', figure('1e', 'causal'), {'top-1': tuned('causal', PAPER, f'classification/{TUNED}-causal.py')}),
        Row('8: decay fixed at 0.65', figure('8', 'decay fixed at 0.65'), {
            'top-1': tuned('fixed_decay', PAPER, f'ablation/{TUNED}-fixed-decay.py')}),
    ]


# Dense prediction

UNLABELLED = 'p8_1xb32-amp-coslr-1e_camvid-cifar10-64px.py'
DENSE = Training('camvid_nepa', f'evidence/nepa_vit-micro-{UNLABELLED}')


def camvid() -> list[Row]:
    """UPerNet on CamVid, Table 3."""
    config = 'evidence/nepa_vit-micro-p8_upernet_1xb4-amp-400i_camvid-224x224.py'

    def trained(name: str, start: Training | None, *options: str) -> dict[str, tuple[Training, str]]:
        return {'mIoU': (Training(f'camvid_from_{name}', config, options=options, start=start), 'mIoU')}

    return [
        Row('from scratch', '', trained('scratch', None, *RANDOM, 'model.backbone.layer_scale_init_value=0.1')),
        Row('MAE', f"{figure('3', 'MAE, B')} on ADE20K (MAE)", trained(
            'mae', Training('camvid_mae', f'evidence/mae_nepa-vit-micro-{UNLABELLED}'))),
        Row('**NEPA**', f"{figure('3', 'NEPA, B')} on ADE20K", trained('nepa', DENSE)),
        Row('NEPA, pretrained for 4 epochs', '', trained(
            'nepa_4e', Training('camvid_nepa_4e', DENSE.config, options=FOUR_EPOCHS))),
        Row('NEPA, target without mean and contrast', '', trained(
            'normalised', Training('camvid_normalised', DENSE.config, options=('model.target=normalised',)))),
    ]


def heads() -> list[Row]:
    """Heads on the frozen backbone of NEPA, CamVid; beside them the parameters that they train."""
    def trained(head: str, *options: str, name: str | None = None) -> Training:
        config = f'evidence/nepa_vit-micro-p8_{head}_1xb4-amp-400i_camvid-224x224.py'
        return Training(f'camvid_{name or head}', config, options=options, start=DENSE)

    together, adapter, eomt = map(trained, ('linear-dpt-upernet', 'adapter-upernet', 'eomt'))
    queries = trained('eomt', 'model.backbone.frozen_stages=4', name='eomt_frozen')
    return [Row(name, parameters, {'mIoU': (training, key)}) for name, parameters, training, key in (
        ('linear, last block', '715', together, 'linear/mIoU'),
        ('linear, all four blocks', '2,827', together, 'linear4/mIoU'),
        ('DPT', '488,091', together, 'dpt/mIoU'),
        ('UPerNet', '328,411', together, 'upernet/mIoU'),
        ('UPerNet on ViT-Adapter', '460,283', adapter, 'mIoU'),
        ('EoMT, queries and masks alone', '32,972', queries, 'mIoU'),
        ('EoMT, with the two blocks that the queries pass', '133,452', eomt, 'mIoU'))]


# What came after NEPA, docs/beyond.md

def beyond() -> list[Row]:
    """Other losses and targets in NEPA's place: top-1 with 10 % of the labels, and of a linear classifier on frozen features."""
    probe = f'{SMALL}-1e_cifar10-32px-linear.py'

    def loss(**settings) -> tuple[str, ...]:
        settings = dict(type='nepa_mm.MultiEmbeddingLoss', embed_dims=64, **settings)
        return tuple(f'model.head.{key}={value}' for key, value in settings.items())

    def row(name: str, source: str, start: Training) -> Row:
        return Row(name, source, {
            '10 %': finetuned(f'from_{start.name}', '10 %', start),
            'linear': (Training(f'linear_{start.name}', probe, start=start), TOP1),
            'RankMe': (start, 'rankme'), 'LiDAR': (start, 'lidar')})

    def changed(name: str, *options: str) -> Training:
        return Training(name, NEPA.config, options=options)

    return [
        row('**NEPA**', '83.1', NEPA),
        row('next 4', '', changed('next4', *loss(num_predictions=4))),
        row('all that follow, 64', '', changed('next64', *loss(num_predictions=64))),
        row('mean squared error', '82.6', changed('mse', *loss(distance='mse'))),
        row('InfoNCE', '81.7', changed('infonce', *loss(distance='infonce'))),
        row('target without mean and contrast', '', changed('normalised', 'model.target=normalised')),
        row('SIGReg, no stop-gradient', '', Training('sigreg', f'{SMALL}-8e_cifar10-32px-sigreg.py')),
        row('MAE', '', MAE),
    ]


EXPERIMENTS = {function.__name__: function for function in (
    pretraining, targets, table1a, longer, table1b, table1c, table1de, linear, epochs, sizes, camvid, heads, beyond)}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('experiment', choices=EXPERIMENTS)
    parser.add_argument('--seeds', type=int, default=3, help='default: 3')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time, each with its share of the cores; default: 1')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/evidence'), help='DIR; default: work_dirs/evidence')
    parser.add_argument('--docs', action='store_true', help='write the results into docs/evidence and their page, too')
    parser.add_argument('--keep-records', action='store_true', help='train nothing of which docs/evidence has a record')
    args = parser.parse_args()
    require_least(args, 1, 'seeds', 'jobs')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import torch
from rich.console import Console
from rich.markdown import Markdown

from nepa_mm.analysis.runs import experiment_results as results

PICTURES = dict(
    **dict.fromkeys(('table1a', 'table1b', 'table1c'), results.draw_curves),
    **dict.fromkeys(('epochs', 'sizes'), results.draw_points),
    beyond=results.draw_ranks)
# Title of the last column, where its figures are not the paper's
COMPARED = dict(beyond='arXiv 2610.02203', heads='parameters trained')


def main(args: argparse.Namespace) -> None:
    rows = EXPERIMENTS[args.experiment]()
    name = f'{args.experiment}.jsonl'
    kept = results.records_in(DOCS / 'evidence' / name) if args.keep_records else {}
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.jobs)))
    if not torch.cuda.is_available():  # there torch's fused attention has a backward pass that is slow in bfloat16
        os.environ.setdefault('TIMM_FUSED_ATTN', '0')
    records = results.records_of(rows, range(args.seeds), args.work_dir, args.jobs, kept)
    table = results.table_of(rows, records, COMPARED.get(args.experiment, 'paper'))
    Console().print(Markdown(table))
    for folder in [args.work_dir, *([DOCS / 'evidence'] if args.docs else [])]:
        folder.mkdir(parents=True, exist_ok=True)
        results.write_records(folder / name, records)
        if args.experiment in PICTURES:
            PICTURES[args.experiment](rows, records).savefig(folder / f'{args.experiment}.png')
    if args.docs:
        begin, end = f'<!-- results of {args.experiment} -->\n', '<!-- end of results -->'
        page = DOCS / ('beyond.md' if args.experiment == 'beyond' else 'evidence.md')
        before, rest = page.read_text().split(begin)
        page.write_text(before + begin + table + end + rest.split(end, 1)[1])


run_command(main, args)
