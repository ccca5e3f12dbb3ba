"""Run an experiment of docs/evidence.md: small trainings on CIFAR-10 or CamVid, each by several seeds, and their table.

    python tools/analysis_tools/run_evidence.py pretraining --jobs 2

Images are looked for in data/cifar10/{train,test}/<class>/ and data/camvid/{images,annotations}/. Each training is a process of
its own, tools/train.py with a config of configs/evidence, into DIR/<training>/seed<N>; for some, settings of another config of
this repository are put on it, such as an ablation's. Called again, the command keeps what is finished and resumes what was begun,
and trainings that several experiments need are run once. At the end come the table, mean and standard deviation over the seeds,
and DIR/<experiment>.jsonl: command, result, curve and time of every training.
"""
import argparse
import json
import os
import random
import runpy
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from nepa_mm.engine.training_process import logged, train_to_the_end
from nepa_mm.errors import one_line_errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/evidence.md'
LISTS = {'10pct': 0.1, '1pct': 0.01}
POINTS = 40  # of a curve that is kept


@dataclass(frozen=True)
class Training:
    """A training, of which there is one for each seed.

    Args:
        name: Its folder in the work dir.
        config: Below configs/.
        change: Config below configs/ whose own settings, without those of its bases, are put on it.
        options: As for ``--cfg-options``.
        start: Pretraining that it begins from.
        start_epoch: Its epoch; None takes the last.
        labels: List of the images that keep their label; None leaves all.
    """
    name: str
    config: str
    change: str | None = None
    options: tuple[str, ...] = ()
    start: 'Training | None' = None
    start_epoch: int | None = None
    labels: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, what the paper reports, and by column the training and the number that it logged last."""
    name: str
    paper: str
    cells: dict[str, tuple[Training, str]]


# What is trained

SMALL = 'evidence/nepa_vit-micro-p4_1xb64-coslr'
LARGE = 'nepa_vit-base-p14_8xb512-amp-coslr-1600e_in1k-paper'
TUNED = 'nepa_vit-base-p14_8xb128-coslr-100e_in1k-paper'
TOP1 = 'accuracy/top1'
FINETUNINGS = {  # by the share of labels: config and list
    '100 %': (f'{SMALL}-3e_cifar10-32px.py', None),
    '10 %': (f'{SMALL}-12e_cifar10-10pct-32px.py', '10pct'),
    '1 %': (f'{SMALL}-40e_cifar10-1pct-32px.py', '1pct'),
}
SCRATCH = f'{SMALL}-3e_cifar10-32px-scratch.py'

# The released variant and recipe
NEPA = Training('nepa', f'{SMALL}-8e_cifar10-32px.py')
MAE = Training('mae', 'evidence/mae_nepa-vit-micro-p4_1xb64-coslr-8e_cifar10-32px.py')


def finetuned(name: str, share: str, start: Training | None, change: str | None = None, **settings) -> tuple[Training, str]:
    """Top-1 after fine-tuning by the release's recipe."""
    config, labels = FINETUNINGS[share]
    return Training(f'{name}_{labels or "100pct"}', config, change, start=start, labels=labels, **settings), TOP1


def pretraining() -> list[Row]:
    """Pretraining against none and against MAE, by the share of labels."""
    return [
        Row('from scratch', '', {share: finetuned('scratch', share, None, SCRATCH) for share in FINETUNINGS}),
        Row('MAE', 'in the paper', {share: finetuned('from_mae', share, MAE) for share in FINETUNINGS}),
        Row('**NEPA**', '83.8 on ImageNet', {share: finetuned('from_nepa', share, NEPA) for share in FINETUNINGS}),
    ]


def linear() -> list[Row]:
    """Linear probing, Table 6."""
    config, last = f'{SMALL}-3e_cifar10-32px-linear.py', 'classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k-linear-last.py'

    def probed(name: str, start: Training, **settings) -> dict:
        return {'average': (Training(f'linear_{name}', config, start=start, **settings), TOP1),
                'last': (Training(f'linear_last_{name}', config, last, start=start, **settings), TOP1)}

    return [
        Row('NEPA', 'poor; last below average', probed('nepa', NEPA)),
        Row('MAE', '', probed('mae', MAE, options=('model.backbone.causal=False',))),
    ]


def epochs() -> list[Row]:
    """Accuracy over pretraining epochs, Figure 4."""
    return [Row(f'{epoch}', 'rises', {'10 %': finetuned(f'from_nepa_{epoch}e', '10 %', NEPA, start_epoch=epoch)})
            for epoch in (1, 2, 4)] + [Row('8', 'rises', {'10 %': finetuned('from_nepa', '10 %', NEPA)})]


def sizes() -> list[Row]:
    """Accuracy over model size."""
    rows = []
    for name, width in (('nano', 32), ('micro', 64), ('mini', 128)):
        arch = dict(embed_dims=width, num_layers=4, num_heads=width // 32, feedforward_channels=4 * width)
        options = tuple(f'model.backbone.arch.{key}={value}' for key, value in arch.items())
        start, prefix = NEPA, ''
        if width != 64:
            prefix = f'{name}_'
            start = Training(f'{prefix}nepa', NEPA.config, options=options)
            options += (f'model.head.in_channels={width}',)
        else:
            options = ()
        rows.append(Row(f'{name}, width {width}', 'L above B', {
            'from scratch': finetuned(f'{prefix}scratch', '10 %', None, SCRATCH, options=options),
            'NEPA': finetuned(f'{prefix}from_nepa', '10 %', start, options=options)}))
    return rows


# The paper's variant and recipe, which its Table 1 and 8 ablate

PAPER = Training('paper', f'{SMALL}-2e_cifar10-32px-paper.py')


def ablated(name: str, change: str | None, tuning: str | None = None) -> dict[str, tuple[Training, str]]:
    """Numbers of a pretraining with a change, and top-1 after fine-tuning with another."""
    start = Training(f'paper_{name}', PAPER.config, change) if change else PAPER
    return {'loss': (start, 'loss'), 'collapse': (start, 'collapse'), 'top-1': tuned(name, start, tuning)}


def tuned(name: str, start: Training | None, change: str | None = None) -> tuple[Training, str]:
    """Top-1 after fine-tuning by the paper's recipe, with 10 % of the labels."""
    return Training(f'paper_{name}_10pct', f'{SMALL}-8e_cifar10-10pct-32px-paper.py', change, start=start, labels='10pct'), TOP1


def table1a() -> list[Row]:
    return [
        Row('NEPA', '', ablated('nepa', None)),
        Row('no shift', 'fails', ablated('no_shift', f'ablation/{LARGE}-no-shift.py')),
        Row('no causal mask', 'worse', ablated('no_causal', f'ablation/{LARGE}-no-causal.py')),
        Row('no stop-gradient', 'fails', ablated('no_stopgrad', f'ablation/{LARGE}-no-stopgrad.py')),
        Row('no pretraining', '', {'top-1': tuned('scratch', None, SCRATCH)}),
    ]


def table1b() -> list[Row]:
    steps = {'plain ViT': 'plain', '+ LayerScale': 'ls', '+ RoPE': 'ls-rope', '+ QK-norm': 'gelu'}
    rows = [Row(name, 'in the paper', ablated(part, f'ablation/{LARGE}-{part}.py', f'ablation/{TUNED}-{part}.py'))
            for name, part in steps.items()]
    return [*rows, Row('+ gated MLP (NEPA)', 'in the paper', ablated('nepa', None))]


def table1c() -> list[Row]:
    return [
        Row('0 % (NEPA)', 'best', ablated('nepa', None)),
        Row('40 %', 'worse', ablated('mask40', f'ablation/{LARGE}-mask40.py')),
        Row('60 %', 'worse', ablated('mask60', f'ablation/{LARGE}-mask60.py')),
    ]


def table1de() -> list[Row]:
    """Frozen embedding and attention in fine-tuning; Table 8 too, whose decay is fixed."""
    return [
        Row('embedding frozen, bidirectional, decay rising', '83.8', {'top-1': tuned('nepa', PAPER)}),
        Row('1d: embedding trained', 'in the paper', {'top-1': tuned('unfrozen', PAPER, f'ablation/{TUNED}-unfrozen.py')}),
        Row('1e: causal', '82.5', {'top-1': tuned('causal', PAPER, f'classification/{TUNED}-causal.py')}),
        Row('8: decay fixed at 0.65', 'in the paper', {'top-1': tuned('fixed_decay', PAPER, f'ablation/{TUNED}-fixed-decay.py')}),
    ]


# Dense prediction

def camvid() -> list[Row]:
    """UPerNet on CamVid, Table 3."""
    images, config = 'p8_1xb64-coslr-2e_camvid-cifar10-64px.py', 'evidence/nepa_vit-micro-p8_upernet_1xb4-400i_camvid-224x224'

    def trained(name: str, start: Training | None, change: str | None = None) -> dict[str, tuple[Training, str]]:
        return {'mIoU': (Training(f'camvid_from_{name}', f'{config}.py', change, start=start), 'mIoU')}

    return [
        Row('from scratch', '', trained('scratch', None, f'{config}-scratch.py')),
        Row('MAE', 'in the paper', trained('mae', Training('camvid_mae', f'evidence/mae_nepa-vit-micro-{images}'))),
        Row('**NEPA**', '48.3 on ADE20K', trained('nepa', Training('camvid_nepa', f'evidence/nepa_vit-micro-{images}'))),
    ]


EXPERIMENTS = {function.__name__: function
               for function in (pretraining, table1a, table1b, table1c, table1de, linear, epochs, sizes, camvid)}


# How it is trained

def configured(training: Training, folder: Path) -> Path:
    """The config of a training: the repository's, or one in ``folder`` that puts the change on it."""
    config = Path('configs') / training.config
    if training.change is None:
        return config
    settings = runpy.run_path(f'configs/{training.change}')
    settings = {key: value for key, value in settings.items() if isinstance(value, dict) and not key.startswith('_')}
    path = folder / f'{training.name}.py'
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'_base_ = {os.path.relpath(config, path.parent)!r}', *(f'{key} = {value!r}' for key, value in settings.items())]
    path.write_text('\n'.join(lines) + '\n')
    return path


def list_of_labels(name: str, seed: int, folder: Path) -> Path:
    """Draw the training images of CIFAR-10 that keep their label, as many of each class, and write their list once."""
    path = folder / 'lists' / f'{name}_seed{seed}.txt'
    if not path.exists():
        images, draw = Path('data/cifar10/train'), random.Random(seed)
        classes = sorted(entry for entry in images.iterdir() if entry.is_dir())
        lines = []
        for label, entry in enumerate(classes):
            names = sorted(os.listdir(entry))
            lines += [f'{entry.name}/{name_} {label}' for name_ in draw.sample(names, round(LISTS[name] * len(names)))]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(lines) + '\n')
    return path


def settings_of(training: Training, seed: int, folder: Path) -> tuple[Path, Path, list[str]]:
    """Config, work dir and options of one training of one seed; the one that it starts from has ended."""
    options = [f'randomness.seed={seed}', *training.options]
    if training.labels:
        options.append(f'train_dataloader.dataset.ann_file={list_of_labels(training.labels, seed, folder)}')
    if training.start:
        start = folder / training.start.name / f'seed{seed}'
        checkpoint = Path((start / 'last_checkpoint').read_text()).name
        if training.start_epoch:
            checkpoint = f'epoch_{training.start_epoch}.pth'
        options.append(f'model.backbone.init_cfg.checkpoint={start / checkpoint}')
    return configured(training, folder), folder / training.name / f'seed{seed}', options


def train(training: Training, seed: int, folder: Path) -> None:
    """Run one training of one seed to its end."""
    config, place, options = settings_of(training, seed, folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    train_to_the_end(config, place, options, output=place.with_suffix('.log'))


def train_all(wanted: list[Training], seeds: int, jobs: int, folder: Path) -> None:
    """Run trainings, ``jobs`` at a time, pretrainings first.

    Raises:
        SystemExit: Of the first that failed; those that run then are finished, no other is begun.
    """
    starts = list(dict.fromkeys(training.start for training in wanted if training.start))
    for stage in (starts, [training for training in wanted if training not in starts]):
        with ThreadPoolExecutor(jobs) as pool:
            runs = [pool.submit(train, training, seed, folder) for seed in range(seeds) for training in stage]
            try:
                for run in runs:
                    run.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


# What came of it

def record_of(training: Training, seed: int, folder: Path) -> dict:
    """Command, last numbers, curve and wall time, in seconds, of a training that has ended."""
    config, place, options = settings_of(training, seed, folder)
    records = logged(place)
    last = dict(chain.from_iterable(record.items() for record in records))
    curve = [{key: record[key] for key in ('step', 'loss', 'collapse') if key in record}
             for record in records if 'loss' in record]
    return dict(
        training=training.name,
        seed=seed,
        command=f'python tools/train.py {config} --work-dir {place} --cfg-options {" ".join(options)}',
        results={key: last[key] for key in ('loss', 'cosine', 'collapse', TOP1, 'mIoU') if key in last},
        wall_s=round(sum(map(duration, place.glob('2*_*')))),
        curve=curve[::-max(1, len(curve) // POINTS)][::-1])  # thinned from its end


def duration(start: Path) -> float:
    """Seconds from the start of a process of a training, which its folder is named after, to its last line."""
    return max(path.stat().st_mtime for path in start.rglob('*')) - datetime.strptime(start.name, '%Y%m%d_%H%M%S').timestamp()


def spread(numbers: list[float]) -> str:
    """Mean and, of several, sample standard deviation; percentages with one digit, others with three."""
    digits = 1 if max(map(abs, numbers)) > 1.5 else 3
    text = f'{statistics.mean(numbers):.{digits}f}'
    return text if len(numbers) == 1 else f'{text} ± {statistics.stdev(numbers):.{digits}f}'


def table_of(rows: list[Row], records: list[dict]) -> str:
    """Markdown table of an experiment."""
    found = {}
    for record in records:
        for key, value in record['results'].items():
            found.setdefault((record['training'], key), []).append(value)
    columns = list(rows[0].cells)
    lines = [f"| | {' | '.join(columns)} | paper |", f"| --- |{' ---: |' * len(columns)} --- |"]
    for row in rows:
        numbers = [spread(found[row.cells[column][0].name, row.cells[column][1]]) if column in row.cells else ''
                   for column in columns]
        lines.append(f"| {' | '.join([row.name, *numbers, row.paper])} |")
    return '\n'.join(lines)


def summary_of(records: list[dict], seeds: int) -> str:
    """What it took."""
    hours = sum(record['wall_s'] for record in records) / 3600
    return f'{len(records)} trainings, {seeds} seeds, {hours:.1f} hours of one core.'


def write_page(experiment: str, text: str) -> None:
    """Put the results of an experiment in their place in docs/evidence.md."""
    begin, end = f'<!-- results of {experiment} -->\n', '<!-- end of results -->'
    before, rest = PAGE.read_text().split(begin)
    PAGE.write_text(before + begin + text + end + rest.split(end, 1)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('experiment', choices=EXPERIMENTS)
    parser.add_argument('--seeds', type=int, default=3, help='default: 3')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time, each with its share of the cores; default: 1')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/evidence'), help='DIR; default: work_dirs/evidence')
    parser.add_argument('--docs', action='store_true', help='write the results into docs/evidence and docs/evidence.md, too')
    args = parser.parse_args()
    rows = EXPERIMENTS[args.experiment]()
    cells = list(dict.fromkeys(training for row in rows for training, _ in row.cells.values()))
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, len(os.sched_getaffinity(0)) // args.jobs)))
    train_all(cells, args.seeds, args.jobs, args.work_dir)
    starts = [training.start for training in cells if training.start]
    records = [record_of(training, seed, args.work_dir)
               for training in dict.fromkeys(starts + cells) for seed in range(args.seeds)]
    table = table_of(rows, records)
    Console().print(Markdown(table))
    summary = summary_of(records, args.seeds)
    print(summary)
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    for folder in [args.work_dir, *([PAGE.with_suffix('')] if args.docs else [])]:
        (folder / f'{args.experiment}.jsonl').write_text(lines)
    if args.docs:
        write_page(args.experiment, f'{table}\n\n{summary}\n')


if __name__ == '__main__':
    with one_line_errors():
        main()
