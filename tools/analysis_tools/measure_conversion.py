"""Measure the conversion of full-size checkpoints: time, peak memory, size, and whether the way back gives the same bytes.

    OMP_NUM_THREADS=1 python tools/analysis_tools/measure_conversion.py conversion.md

The checkpoints have the release's sizes and names, and random float32 weights, and lie in the folder for temporary files, TMPDIR,
which needs 7 GB. Each conversion is a process of its own, run as a user runs it. The table, in Markdown, gives its peak memory
twice: as the system counts it (Linux: with the pages of mapped files and libraries), and above that of a process that only
imports nepa_mm. Both are held against the targets.
"""
import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

CONVERTERS = Path(__file__).resolve().parents[1] / 'model_converters'
SECONDS, FILES = 10, 2.5  # targets: less than this time, and peak memory less than this many times the file
MODELS = {'pretraining': None, 'classification': 1000}  # number of classes
HEADER = ['model', 'conversion', 'seconds', 'of CPU', 'file, MB', 'peak, MB', 'peak / file', 'met',
          'above import, MB', 'above import / file', 'met']


# A process starts with the peak of the one that started it. So this one stays small: PyTorch is imported in processes apart.
def write_released(folder: Path, arch: str, num_classes: int | None) -> None:
    """Write a checkpoint as the authors publish them: random weights of all names and shapes, and ``config.json``."""
    import torch
    from safetensors.torch import save_file

    from nepa_mm import NEPAViT
    from nepa_mm.checkpoints import released_state_dict
    from nepa_mm.checkpoints.release.released_config import released_config
    backbone = dict(arch=arch, img_size=224, patch_size=14, qk_norm='affine' if num_classes or arch == 'large' else 'plain')
    if num_classes:
        backbone.update(causal=False, out_type='avg_featmap')
    shapes = {f'backbone.{name}': value.shape for name, value in NEPAViT(**backbone).state_dict().items()}
    if num_classes:
        shapes.update({'head.fc.weight': (num_classes, shapes['backbone.norm.weight'][0]), 'head.fc.bias': (num_classes, )})
    weights = released_state_dict({name: torch.randn(shape) for name, shape in shapes.items()})
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / 'model.safetensors', dict(format='pt'))
    (folder / 'config.json').write_text(json.dumps(released_config(dict(backbone=backbone), num_classes)))


def check_identical(one: Path, other: Path) -> None:
    """Refuse two safetensors that differ in a name, a type, a shape or a value."""
    import torch
    from safetensors.torch import load_file
    torch.testing.assert_close(load_file(one), load_file(other), rtol=0, atol=0)


def measure(*command) -> tuple[float, float, float]:
    """Run Python; seconds from start to end, those on a CPU, and peak resident memory in MB, of this process alone."""
    os.sync()  # what was written before is on the disk and slows nothing down
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        sys.exit(f'{" ".join(map(str, command))} failed with exit code {os.waitstatus_to_exitcode(status)}')
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6  # Linux counts KiB


def conversions(folder: Path) -> dict[str, tuple[Path, Path, Path, Path]]:
    """Converter, source, destination and file of weights of each conversion by its name, in an order that they can run in."""
    to_mm, to_hf = CONVERTERS / 'nepa_hf_to_mm.py', CONVERTERS / 'nepa_mm_to_hf.py'
    result = {}
    for suffix in ('.safetensors', '.pth'):
        ours, back = folder / f'ours{suffix}', folder / f'back_from{suffix}'
        result[f'released to {suffix}'] = to_mm, folder / 'released', ours, ours
        result[f'{suffix} to released'] = to_hf, ours, back, back / 'model.safetensors'
    return result


def met(seconds: float, files: float) -> str:
    return 'yes' if seconds < SECONDS and files < FILES else '**no**'


def rows() -> Iterator[list[str]]:
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as apart:
        # Without the end of Python, where PyTorch's clean-up maps 130 MB more of its libraries and would hide as much.
        seconds, cpu, imported = measure('-c', 'import os, nepa_mm; os._exit(0)')
        yield ['', '`import nepa_mm` alone', f'{seconds:.1f}', f'{cpu:.1f}', '', f'{imported:.0f}', *[''] * 5]
        for arch, (kind, num_classes) in product(('base', 'large'), MODELS.items()):
            with TemporaryDirectory() as name:
                folder = Path(name)
                apart.apply(write_released, (folder / 'released', arch, num_classes))
                for conversion, (converter, src, dst, weights) in conversions(folder).items():
                    seconds, cpu, peak = measure(converter, src, dst)
                    if dst.is_dir():
                        apart.apply(check_identical, (folder / 'released/model.safetensors', weights))
                    size, above = weights.stat().st_size / 1e6, peak - imported
                    yield [f'{arch}, {kind}', conversion, f'{seconds:.1f}', f'{cpu:.1f}', f'{size:.0f}',
                           f'{peak:.0f}', f'{peak / size:.2f}', met(seconds, peak / size),
                           f'{above:.0f}', f'{above / size:.2f}', met(seconds, above / size)]


def page() -> Iterator[str]:
    """Lines of Markdown: the machine, the table, and what was checked on the way."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9
    yield (f'{os.cpu_count()} CPU cores ({platform.machine()}), {memory:.0f} GB, OMP_NUM_THREADS='
           f'{os.environ.get("OMP_NUM_THREADS", "unset")}, Python {platform.python_version()}, PyTorch {version("torch")}, '
           f'safetensors {version("safetensors")}. Targets: less than {SECONDS} s, and less than {FILES} times the file.\n')
    yield f'| {" | ".join(HEADER)} |\n| --- | --- {"| ---: " * (len(HEADER) - 2)}|'
    yield from (f'| {" | ".join(cells)} |' for cells in rows())
    yield '\nEvery way back gave the released tensors again, byte by byte.'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dst', metavar='DST', type=Path, nargs='?', help='file to write the table to as well')
    args = parser.parse_args()
    os.environ['PYTHONWARNINGS'] = 'ignore'  # of the hosts, once in every process
    lines = []
    for line in page():
        print(line, flush=True)
        lines.append(line)
    if args.dst is not None:
        args.dst.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
