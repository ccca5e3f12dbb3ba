"""Measure inference of many images: what an image costs the main process, its memory, bfloat16 and compiling, and timm's loop.

    OMP_NUM_THREADS=1 python tools/analysis_tools/benchmark_inference.py data/imagenet/val --json inference.json

On a classifier with random weights, through what the tools of inference run (nepa_mm/apis/run_model.py):

    main       processor time of the main process for an image, with a model that has its answers ready, and how its memory grows
               over --images images; and mmpretrain's inferencers on the same images, which do everything in that process
    timm       a loop as timm's inference.py has it, over timm's loader: the same model, workers and batches, in turns.
               Processor time of all processes, of the model that has its answers ready, of ViT-Ti and of ViT-B
    faster     bfloat16 (--amp) and compiled models (--compile) against neither, in turns

On a GPU times are those of the clock, over whole runs. Ratios are between neighbouring turns: median, least and most.
"""
import argparse
import os
import resource
import statistics
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from nepa_mm.analysis.figures import add_json, markdown, ratios, spread
from nepa_mm.arguments import require_least
from nepa_mm.errors import ConfigError, run_command
from nepa_mm.find_images import find_images


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', metavar='DATA_DIR', type=Path, help='folder of images in folders of classes')
    parser.add_argument('--only', nargs='+', choices=['main', 'timm', 'faster'], default=['main', 'timm', 'faster'])
    parser.add_argument('--images', type=int, default=10_000, help='of main, taken again where there are fewer; default: 10000')
    parser.add_argument('--archs', nargs='+', default=['tiny', 'base'], help='of timm and faster; default: tiny base')
    parser.add_argument('--turns', type=int, default=8, help='of timm and faster; default: 8')
    parser.add_argument('--turn-images', type=int, default=64, help='images of a turn, of base an eighth on a CPU; default: 64')
    parser.add_argument('--batch-size', type=int, default=64, help='most images at once; default: 64')
    parser.add_argument('--workers', type=int, default=2, help='default: 2')
    parser.add_argument('--device', help='default: cuda where there is one')
    add_json(parser)
    args = parser.parse_args()
    require_least(args, 1, 'images', 'turns', 'turn_images', 'batch_size')
    require_least(args, 0, 'workers')
    least = 6 * max(args.batch_size, 8)
    if 'main' in args.only and args.images < least:
        raise ConfigError(f'{args.images} is less than six batches, of which main leaves out four', '--images',
                          f'give {least} or more')
    args.paths = find_images([args.data])
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain import FeatureExtractor, ImageClassificationInferencer
from mmpretrain.models import ImageClassifier
from mmpretrain.utils import progress as host_progress
from timm.data import ImageDataset, create_loader

from nepa_mm.analysis.cost.turns import take_turns
from nepa_mm.apis.get_retriever import retriever_of
from nepa_mm.apis.images import load_image, loader_of, preparation_of
from nepa_mm.apis.load_model import device_of
from nepa_mm.apis.predictions import best_classes, features, vectors_of
from nepa_mm.apis.run_model import Inference
from nepa_mm.apis.unfinished import Rows
from nepa_mm.variants import arch_settings

CONFIG = Path(__file__).resolve().parents[2] / 'configs/classification/nepa_vit-base-p14_8xb128-coslr-100e_in1k.py'
TOPK = 5
STUB = dict(embed_dims=768, num_layers=1, num_heads=12, feedforward_channels=3072)  # whose width counts, and nothing else
WAYS = dict(float32={}, amp=dict(amp=True), compiled=dict(compile=True), both=dict(amp=True, compile=True))


def classifier(arch: str | dict, device: torch.device) -> ImageClassifier:
    """The recipe's classifier of a size; as a stub it has features and scores ready, and only its data preprocessor works."""
    cfg = Config.fromfile(CONFIG)
    width = cfg.model.head.in_channels = arch_settings(arch)['embed_dims']
    cfg.model.backbone.update(arch=arch, init_cfg=None)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model).to(device)
    model._config, model._dataset_meta = cfg, {}
    if arch is STUB:
        vectors, scores = torch.rand(1024, width, device=device), torch.rand(1024, 1000, device=device)
        model.backbone.forward = lambda inputs: (vectors[:len(inputs)], )
        model.head.forward = lambda vectors: scores[:len(vectors[-1])]
    return model.train(False)


def inference(model: ImageClassifier, batch_size: int, workers: int, **ways) -> Inference:
    return Inference(model, loader_of(model), preparation_of(model), batch_size, workers, **ways)


def resident() -> float:
    """MB that this process has in memory."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def measure_main(paths: list[Path], args: argparse.Namespace) -> dict[str, dict]:
    """Processor time of the main process and growth of its memory, after its first batches."""
    model = classifier(STUB, args.device)
    run = inference(model, args.batch_size, args.workers)
    tasks = dict(features=features(vectors_of(model)), classes=best_classes(model, TOPK))
    hosts = dict(features=FeatureExtractor(retriever_of(model)), classes=ImageClassificationInferencer(model))
    result = {}
    many = (paths * -(-args.images // len(paths)))[:args.images]
    for name, predict in tasks.items():
        with TemporaryDirectory() as folder:
            rows, seen = Rows(len(many), Path(folder, 'out'), {}), []

            def receive(indices, columns, rows=rows, seen=seen):
                rows.add(indices, columns)
                seen.append((indices[-1] + 1, time.process_time(), resident()))

            run.run(many, predict, receive)
        result[name] = growth(seen[4:])
    for name, host in hosts.items():
        seen, kept = [], []
        for first in range(0, min(500, len(many)), 8):
            images = [load_image(path, run.load) for path in many[first:first + 8]]
            kept += host(images, batch_size=len(images), **(dict(return_datasamples=True) if name == 'classes' else {}))
            seen.append((first + len(images), time.process_time(), resident()))
        result[f'{name}, mmpretrain'] = growth(seen[4:])
    return result


def growth(seen: list[tuple[int, float, float]]) -> dict[str, float]:
    """Between the first and the last of (images, seconds, MB): us an image, and how far memory went above where it was."""
    (count, begin, before), (last, end, _) = seen[0], seen[-1]
    return dict(images=last - count, us=(end - begin) / (last - count) * 1e6, mb=max(mb for *_, mb in seen) - before)


def seconds() -> float:
    """Of the processor, of this process and of workers that have ended; on a GPU of the clock."""
    if torch.cuda.is_available():
        return time.perf_counter()
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in both)


def like_timm(model: ImageClassifier, data: Path, count: int, batch_size: int, workers: int, device: torch.device) -> None:
    step = next(step for step in model._config.test_dataloader.dataset.pipeline if 'TimmTransform' in str(step['type']))
    dataset = ImageDataset(str(data))
    dataset.reader.samples = dataset.reader.samples[:count]
    loader = create_loader(
        dataset, input_size=(3, 224, 224), batch_size=batch_size, use_prefetcher=device.type == 'cuda', num_workers=workers,
        device=device, **{key: step[key] for key in ('interpolation', 'mean', 'std', 'crop_pct') if key in step})
    labels, scores = [], []
    with torch.no_grad():
        for inputs, _ in loader:
            best, places = model(inputs.to(device)).softmax(-1).topk(TOPK)
            labels.append(places.cpu().numpy())
            scores.append(best.cpu().numpy())
    np.concatenate(labels), np.concatenate(scores)


def ours(run: Inference, paths: list[Path]) -> None:
    with TemporaryDirectory() as folder:
        rows = Rows(len(paths), Path(folder, 'out'), {})
        run.run(paths, best_classes(run.model, TOPK), rows.add)
        rows.write()
        if not rows.done.all():
            raise RuntimeError('some images failed, as standard error says')


def turns_of(arch: str, count: int, args: argparse.Namespace) -> tuple[int, int]:
    """Images of a turn, and at once."""
    images = min(count, max(1, args.turn_images // 8) if arch == 'base' and args.device.type == 'cpu' else args.turn_images)
    return images, min(args.batch_size, max(1, images // 2))


def measure_timm(paths: list[Path], args: argparse.Namespace) -> dict[str, dict]:
    result = {}
    for arch in ('stub', *args.archs):
        is_stub = arch == 'stub'
        model = classifier(STUB if is_stub else arch, args.device)
        count, batch = (min(len(paths), 4 * args.turn_images), args.batch_size) if is_stub else turns_of(arch, len(paths), args)
        run = inference(model, batch, args.workers)
        times = take_turns(dict(
            ours=partial(ours, run, paths[:count]),
            timm=partial(like_timm, model, args.data, count, batch, args.workers, args.device)), args.turns, seconds)
        result[arch] = dict(images=count, batch_size=batch, ours=statistics.median(times['ours']) / count,
                            timm=statistics.median(times['timm']) / count, ours_of_timm=ratios(times['ours'], times['timm']))
    return result


def measure_faster(paths: list[Path], args: argparse.Namespace) -> dict[str, dict]:
    """Times of the main process, without those of the workers: of each way, and how many times faster it is."""
    result = {}
    clock = time.perf_counter if args.device.type == 'cuda' else time.process_time
    for arch in args.archs:
        count, batch = turns_of(arch, len(paths), args)
        torch.manual_seed(0)
        runs = {name: partial(ours, inference(classifier(arch, args.device), batch, 1, **way), paths[:count])
                for name, way in WAYS.items()}
        times = take_turns(runs, args.turns, clock)  # the first compiles
        result[arch] = dict(images=count, batch_size=batch, **{name: dict(
            images_per_s=count / statistics.median(each), faster=ratios(times['float32'], each)) for name, each in times.items()})
    return result


def main(args: argparse.Namespace) -> None:
    args.device = device_of(args.device)
    host_progress.disable_progress_bar = True
    result = dict(device=str(args.device), threads=torch.get_num_threads(), cores=os.cpu_count())
    if 'main' in args.only:
        found = result['main'] = measure_main(args.paths, args)
        print('\n' + markdown('main process | images | us an image | MB more', (
            [name, f'{each["images"]}', f'{each["us"]:.0f}', f'{each["mb"]:.1f}'] for name, each in found.items())))
    if 'timm' in args.only:
        found = result['timm'] = measure_timm(args.paths, args)
        print('\n' + markdown('model | ours, ms an image | timm | ours / timm', (
            [name, f'{each["ours"] * 1e3:.2f}', f'{each["timm"] * 1e3:.2f}', spread(each['ours_of_timm'])]
            for name, each in found.items())))
    if 'faster' in args.only:
        found = result['faster'] = measure_faster(args.paths, args)
        print('\n' + markdown('model | images/s | times as fast', (
            [f'{arch}, {way}', f'{each[way]["images_per_s"]:.2f}', spread(each[way]['faster'])]
            for arch, each in found.items() for way in WAYS)))
    args.json.write(result)


run_command(main, args)
