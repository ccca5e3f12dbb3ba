"""The whole of NEPA in a few minutes on a laptop: pretrain, fine-tune, segment, evaluate and draw, on drawn shapes.

Every stage goes through tools/train.py with a config file, as a real run does. What needs no result of another runs beside it. A
finished stage is kept.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from nepa_mm.launch.training_process import logged

ROOT = Path(__file__).parents[2]
CONFIGS = dict(
    pretrain='configs/pretrain/nepa_vit-mini-p8_1xb64-coslr-18e_shapes-48px.py',
    classification='configs/classification/nepa_vit-mini-p8_1xb32-coslr-10e_shapes-48px.py',
    segmentation='configs/segmentation/nepa_vit-mini-p8_upernet_1xb8-300i_shapes-76x76.py')
# "Epoch(train)  [3][20/37]" or "Iter(train) [ 20/300]", then "loss: -0.87"
EPOCH = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+)/(\d+)\]')
ITERATION = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/(\d+)\]')
LOSS = re.compile(r'\bloss: (\S+)')
MAX_EPOCHS = re.compile(r'-(\d+)e_')

MARKER = 'made_by_demo'  # only folders that hold it are ever removed

console = Console()


@dataclass
class Stage:
    """A training of the demo, through tools/train.py, into a folder of its own."""
    title: str
    config: str
    work_dir: Path
    options: list[str]

    def is_done(self) -> bool:
        """Whether an earlier demo did it, which is then said."""
        done = (self.work_dir / 'done').exists()
        if done:
            console.print(f'{self.title}: finished before, kept ({self.work_dir})')
        return done

    def clear(self) -> None:
        """Remove what an interrupted demo left."""
        if self.work_dir.exists():
            if not (self.work_dir / MARKER).exists():
                sys.exit(f'nepa_mm: error: it is not of a demo and is left alone | {self.work_dir} | give another --out')
            shutil.rmtree(self.work_dir)

    def start(self, env: dict[str, str]) -> subprocess.Popen:
        self.work_dir.mkdir(parents=True)
        (self.work_dir / MARKER).touch()
        command = [sys.executable, '-W', 'ignore', 'tools/train.py', self.config, '--work-dir', str(self.work_dir)]
        command += ['--cfg-options', *self.options] if self.options else []
        console.print(f'[bold]{self.title}[/bold]: python {" ".join(command[3:])}', soft_wrap=True)
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)

    @property
    def log(self) -> Path:
        return self.work_dir / 'output.log'

    def follow(self, process: subprocess.Popen, progress: Progress) -> int:
        """A bar on a terminal and lines elsewhere, until it ends with an exit code; all that it prints goes into its log."""
        task = progress.add_task(self.title, total=1., place='starting', loss='')
        with open(self.log, 'w') as file:
            for line in process.stdout:
                file.write(line)
                done, place = progress_of(line, self.config)
                if place and LOSS.search(line):
                    loss = LOSS.search(line)[1]
                    progress.update(task, completed=done, place=place, loss=loss)
                    if not console.is_terminal:
                        print(f'  {self.title}: {place}, loss {loss}', flush=True)
        return process.wait()


def run_stages(*stages: Stage) -> None:
    """Run trainings beside each other, each with its share of the cores: a second core adds little to one so small."""
    stages = [stage for stage in stages if not stage.is_done()]
    if not stages:
        return
    for stage in stages:
        stage.clear()
    share = {'OMP_NUM_THREADS': str(max(1, os.cpu_count() // len(stages)))} if len(stages) > 1 else {}
    processes = [stage.start({**share, **os.environ}) for stage in stages]
    columns = [TextColumn('  {task.description:<36} {task.fields[place]:<16} loss {task.fields[loss]:<8}'), BarColumn(),
               TimeElapsedColumn()]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, \
            ThreadPoolExecutor(len(stages)) as pool:
        followed = {pool.submit(stage.follow, process, progress): stage for stage, process in zip(stages, processes)}
        for ended in as_completed(followed):
            stage = followed[ended]
            if ended.result():
                for process in processes:
                    process.terminate()
                console.print(stage.log.read_text()[-3000:], markup=False, highlight=False)
                sys.exit(f'nepa_mm: error: the demo stopped in "{stage.title}" | {stage.log} | see the end of this log')
            (stage.work_dir / 'done').touch()


def draw_pictures(out: Path, data: Path, checkpoint: Path) -> None:
    """Draw what the pretraining sees in some images, and what the segmentor makes of others."""
    images = [data / f'imagenet/val/{kind}/00000.jpg' for kind in ('arrow', 'cross', 'star')]
    with open(out / 'figures.log', 'w') as log:
        processes = [
            subprocess.Popen([sys.executable, '-W', 'ignore', *map(str, command)], stdout=log, stderr=subprocess.STDOUT)
            for command in ([ROOT / 'tools/visualization/vis_nepa.py', *images, checkpoint, '-o', out / 'query_patches.png',
                             '--overwrite', '--queries', '2,2', '3,3', '4,3', '--layers', '2'],
                            [ROOT / 'tools/demo/draw_figures.py', out, data])]
        if any([process.wait() for process in processes]):
            sys.exit(f'nepa_mm: error: a picture could not be drawn | {log.name} | see the end of this log')


def progress_of(line: str, config: str) -> tuple[float, str]:
    """Share done and place of a line of the log; an empty place for lines that tell none."""
    if match := EPOCH.search(line):
        epoch, step, steps = map(int, match.groups())
        epochs = int(MAX_EPOCHS.search(config)[1])
        return (epoch - 1 + step / steps) / epochs, f'epoch {epoch}/{epochs}'
    if match := ITERATION.search(line):
        step, steps = map(int, match.groups())
        return step / steps, f'iteration {step}/{steps}'
    return 0., ''


def scalars(work_dir: Path, key: str) -> list[float]:
    return [record[key] for record in logged(work_dir) if key in record]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('demo_out'), help='folder for everything that the demo makes')
    parser.add_argument('--data', type=Path, default=Path('data/shapes'), help='folder for the drawn data')
    parser.add_argument(
        '--quick', action='store_true', help='a few steps of each stage on a little data: does it run? Results mean nothing')
    args = parser.parse_args()
    start, out, data = time.time(), args.out.resolve(), args.data.resolve()

    sizes = ['--train', '10', '--val', '2', '--seg-train', '10', '--seg-val', '3'] if args.quick else []
    subprocess.run([sys.executable, str(ROOT / 'tools/demo/draw_shapes.py'), str(data), *sizes], check=True)
    imagenet, ade = data / 'imagenet', data / 'ADEChallengeData2016'
    quick = ['default_hooks.logger.interval=1'] if args.quick else []
    short = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4'] if args.quick else []
    train = f'train_dataloader.dataset.data_root={imagenet}'
    val = f'val_dataloader.dataset.data_root={imagenet}'
    seg = [f'{split}_dataloader.dataset.data_root={ade}' for split in ('train', 'val')]

    pretrain, checkpoint = out / 'pretrain', out / 'pretrain/epoch_18.pth'
    pretrained = f'model.backbone.init_cfg.checkpoint={checkpoint}'
    run_stages(
        Stage('1/4 Pretrain without labels', CONFIGS['pretrain'], pretrain, [train, *quick]),
        Stage('2/4 Classification from scratch', CONFIGS['classification'], out / 'scratch',
              [train, val, *quick, 'model.backbone.init_cfg=None']))
    run_stages(
        Stage('3/4 The same after pretraining', CONFIGS['classification'], out / 'finetune', [train, val, *quick, pretrained]),
        Stage('4/4 Fine-tune for segmentation', CONFIGS['segmentation'], out / 'segmentation',
              [*seg, *quick, *short, pretrained]))
    console.print('Drawing pictures')
    draw_pictures(out, data, checkpoint)

    losses, times = scalars(pretrain, 'loss'), scalars(pretrain, 'time')
    table = Table(Column(), Column(overflow='fold'), title='NEPA on drawn shapes', show_header=False)
    table.add_row('pretraining loss, first and last (-1 is perfect)', f'{losses[0]:.3f}  {losses[-1]:.3f}')
    table.add_row('top-1, pretrained and fine-tuned', f"{scalars(out / 'finetune', 'accuracy/top1')[-1]:.1f} %")
    table.add_row('top-1, from scratch with the same budget', f"{scalars(out / 'scratch', 'accuracy/top1')[-1]:.1f} %")
    table.add_row('mIoU, pretrained and fine-tuned', f"{scalars(out / 'segmentation', 'mIoU')[-1]:.1f} %")
    table.add_row('images/s while pretraining', f'{64 / sorted(times)[len(times) // 2]:.0f}')
    table.add_row('wall time of this call', f'{time.time() - start:.0f} s')
    table.add_row('logs and checkpoints', str(args.out))
    for path in sorted(args.out.glob('*.png')):
        table.add_row('picture', str(path))
    console.print(table)


if __name__ == '__main__':
    main()
