"""Read every image and label map as a training would, and list those that it would stop at.

One line on standard output for each broken file: its path, a tab, the reason. The exit code is 3 if there is any. What is strange
about all of them, such as a class that no label map has, is said on standard error.
"""
import argparse
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path

from nepa_mm.analysis.figures import add_json
from nepa_mm.arguments import Options, require_least
from nepa_mm.errors import ConfigError, DataError, ProcessError, run_command


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='a config, for all of its datasets; or a folder of images: of class folders as ImageNet, '
                        'or with images/ and annotations/ as ADE20K')
    parser.add_argument('--max-label', type=int, help='of a folder with label maps: the largest class number beside 255; 150 for '
                        'ADE20K')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes (default: %(default)s)')
    add_json(parser)
    parser.add_argument('--cfg-options', nargs='+', action=Options, help='override settings of the config')
    args = parser.parse_args()
    require_least(args, 1, 'workers')
    if not Path(args.source).exists():
        raise DataError('it is neither a folder nor a config', args.source, 'give one')
    if not Path(args.source).is_dir():
        from nepa_mm.launch.checks import DATA, check_config  # 0.2 s, which --help does without
        from nepa_mm.launch.config_parts import SPLITS
        from nepa_mm.launch.read_config import read_config
        args.cfg = read_config(args.source, args.cfg_options)
        check_config(args.cfg, SPLITS, DATA)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from rich.console import Console
from rich.progress import track

from nepa_mm.datasets import LoadImage, LoadSegAnnotations
from nepa_mm.datasets.tiff_windows import TiffWindows
from nepa_mm.datasets.transforms.load_image import with_own_loader
from nepa_mm.engine.checks.built_parts import transforms_in
from nepa_mm.engine.checks.label_survey import LabelSurvey, loader_of, pixels_of
from nepa_mm.find_images import images_under
from nepa_mm.hosts.type_names import name_of
from nepa_mm.launch.config_parts import SPLITS, datasets_of, dicts_in, steps_of
from nepa_mm.launch.naming_errors import naming

IGNORED = frozenset({255})  # by mmseg's heads that are not told otherwise
LOADERS = ('LoadSegAnnotations', 'LoadImage', 'LoadImageFromFile')
worker = {}  # what a process checks, and with what


class Folder:
    """Facts about the images of a folder, as mm's datasets give them."""
    metainfo, pipeline = {}, None

    def __init__(self, root: Path) -> None:
        maps = root / 'annotations'
        self.has_labels = maps.is_dir() and (root / 'images').is_dir()
        images = root / 'images' if self.has_labels else root
        self.facts = []
        for path in images_under(images):
            label_map = dict(seg_map_path=str((maps / path.relative_to(images)).with_suffix('.png')), reduce_zero_label=False)
            self.facts.append(dict(img_path=str(path), seg_fields=[], **label_map if self.has_labels else {}))

    def __len__(self) -> int:
        return len(self.facts)

    def get_data_info(self, index: int) -> dict:
        return dict(self.facts[index])


def ignored_by(cfg: Config) -> frozenset[int]:
    """Labels that heads and metrics of a segmentation ignore, 255 if its config names no other."""
    told = {name: {part.get('ignore_index') for _, part in dicts_in({name: cfg.get(name)})} - {None}
            for name in ('model', 'val_evaluator', 'test_evaluator')}
    return frozenset((told.pop('model') or IGNORED).union(*told.values()))


def datasets(args: argparse.Namespace) -> Iterator[tuple[str, object, int | None, frozenset[int]]]:
    """Name, dataset, largest label and those that are ignored of each, each list of files once."""
    source = Path(args.source)
    if source.is_dir():
        yield str(source), Folder(Path(os.path.normpath(source))), args.max_label, IGNORED
        return
    cfg, known = args.cfg, []
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    for key, config in datasets_of(cfg, SPLITS):
        files = {name: value for name, value in config.items() if name not in ('pipeline', 'test_mode')}
        if files in known or 'dataset' in config or 'datasets' in config:  # wrappers give what they hold
            continue
        known.append(files)
        with naming(cfg):
            loads = [step for _, step in steps_of(config, key) if name_of(step) in LOADERS]
            dataset = DATASETS.build(with_own_loader(dict(config, pipeline=loads)))
            dataset.full_init()
        classes = dataset.metainfo.get('classes')
        yield key, dataset, len(classes) - 1 if classes else None, ignored_by(cfg)


def start_worker(dataset, max_label: int | None, ignored: frozenset[int]) -> None:
    """Keep what a process checks; it is forked, so that a list of millions of files is not copied."""
    torch.set_num_threads(1)
    load_labels = (loader_of(dataset) or LoadSegAnnotations()) if find_spec('mmseg') else None
    if load_labels is not None:
        load_labels.palette = dataset.metainfo.get('palette')
    load_image = next((step for step in transforms_in(dataset.pipeline) if isinstance(step, LoadImage)), LoadImage())
    load_image.whole = True  # a pretraining's would decode crops alone
    load_image.ignore_empty = False  # or it would pass over what is broken
    worker.update(dataset=dataset, max_label=max_label, ignored=list(ignored), load_image=load_image, load_labels=load_labels)


def broken(index: int) -> tuple[tuple[str, str] | None, np.ndarray | None, bool]:
    """Path and reason of an image or a label map that cannot be used, None if both can; with labels, the pixels of each, and
    whether the image is turned.
    """
    info, max_label = worker['dataset'].get_data_info(index), worker['max_label']
    path, pixels, turned = str(info.get('img_path', f'image {index}')), None, False
    try:
        info = worker['load_image'](info)
        if isinstance(info['img'], TiffWindows):
            for _ in info['img'].rows():  # it is never whole in memory
                pass
        if 'seg_map_path' in info:
            path, turned = str(info['seg_map_path']), info['orientation'] != 1
            pixels = pixels_of(worker['load_labels'](info)['gt_seg_map'])
            labels = np.flatnonzero(pixels)
            above = labels > max_label if max_label is not None else np.zeros_like(labels, bool)
            wrong = labels[above & ~np.isin(labels, worker['ignored'])].tolist()
            if wrong:
                return (path, f'labels {wrong[:5]} are above {max_label}, the last class'), pixels, turned
    except DataError as error:
        return (path, error.what), None, turned
    return None, pixels, turned


def read_all(args: argparse.Namespace, *of_dataset) -> Iterator[tuple]:
    """What :func:`broken` says of each image, in order, by several processes."""
    try:
        with ProcessPoolExecutor(args.workers, multiprocessing.get_context('fork'), start_worker, of_dataset) as pool:
            yield from pool.map(broken, range(len(of_dataset[0])), chunksize=64)
    except BrokenProcessPool as error:  # a decoder crashed, or memory ran out
        raise ProcessError('a process died while it read an image', args.source, 'look at the memory, or try fewer --workers'
                           ) from error


def main(args: argparse.Namespace) -> None:
    found, total = [], 0
    console = Console(stderr=True)
    for name, dataset, max_label, ignored in datasets(args):
        total += len(dataset)
        labels = LabelSurvey(dataset.metainfo.get('classes') or (), len(dataset))
        results = read_all(args, dataset, max_label, ignored)
        for result, pixels, turned in track(results, f'{name}: {len(dataset)} images', len(dataset), console=console):
            labels.turned += turned
            if pixels is not None:
                labels.add(pixels)
            if result is not None and result not in found:
                found.append(result)
                print('\t'.join(result), flush=True)
        if labels.turned:
            console.print(f'{name}: {labels.turned} images carry an EXIF orientation, by which they and their label maps are '
                          "turned (orientation='shown' of nepa_mm.LoadSegAnnotations leaves maps as they are)", markup=False)
        if labels.classes and labels.said():
            console.print(f'{name}: {" | ".join(labels.said())}', markup=False)
    if not total:
        raise ConfigError('it has no dataset, so there is nothing to verify', args.source, 'give the config of a training')
    args.json.write([dict(path=path, reason=reason) for path, reason in found])
    if found:
        raise DataError(f'{len(found)} of {total} images are broken', args.source, 'mend the files listed, or take them out')
    console.print(f'{total} images, none is broken')


run_command(main, args)
