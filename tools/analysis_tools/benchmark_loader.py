"""Measure what an image costs a loader: CPU time to decode and augment it, and to bring it to the training process.

    OMP_NUM_THREADS=1 python tools/analysis_tools/benchmark_loader.py data/imagenet/val --json loader.json

On the same images and crops, one thread each, image by image in turn, so that what else the machine does hits all alike:

    authors        Pillow -> torchvision's crop and flip -> float32 -> normalised, as the release does in its workers
    mm             the same to uint8, by mmpretrain's own transforms and PackInputs
    before         images that torchvision decodes whole and resizes, as this repository had it
    torchvision    configs/_base_/datasets/images_224.py with its switch to torchvision's resizing
    whole          configs/_base_/datasets/images_224.py without nvImageCodec, by which torchvision decodes whole images
    images_224.py  as it is; crops alone are decoded if nvImageCodec is installed

and what peers/decoders.py finds installed: decoders of whole images in the same pipeline, DALI's loader with crops of its own.

Fine-tuning and its validation likewise, with what imagenet_224.py has timm do:

    timm           timm's create_transform on Pillow's image, as the authors have it
    before         LoadImage, a copy to Pillow, timm's create_transform, as this repository had it
    libraries      configs/_base_/datasets/imagenet_224.py with compile=False, all by libraries
    kernels        configs/_base_/datasets/imagenet_224.py

With --segmentation, a folder in ADE20K's layout, its training images and label maps likewise, under the same random numbers:

    before         configs/_base_/datasets/ade20k_512.py with mmseg's RandomCrop, PhotoMetricDistortion and PackSegInputs, and
                   images as their decoders leave them in memory
    mmseg          the same by mmseg's own loaders too
    ade20k_512.py  as it is

Then the CPU time that the training process spends on an image in each form in which a worker can send it; decoding takes no part.
Ratios are to the first row, median (lowest to highest) over five repeats with at most 250 images, for segmentation 50.
"""
import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from nepa_mm.analysis.figures import add_json, markdown, ratios, spread
from nepa_mm.errors import DataError, first_line, run_command
from nepa_mm.find_images import find_images


def labelled_images(folder: Path) -> list[dict[str, str]]:
    """Training images and their label maps in ADE20K's layout."""
    return [dict(img_path=str(image), seg_map_path=str(folder / 'annotations/training' / f'{image.stem}.png'))
            for image in find_images([folder / 'images/training'])]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', metavar='DATA_DIR', type=Path, nargs='?',
                        help='folder of images, in folders of their own or not; left out, --segmentation alone is measured')
    parser.add_argument('--pretraining', action='store_true', help="measure no more of DATA_DIR than pretraining's loader")
    add_json(parser)
    parser.add_argument('--segmentation', type=Path, metavar='ADE_DIR', help="folder in ADE20K's layout")
    args = parser.parse_args()
    if args.data is None and args.segmentation is None:
        parser.error('give DATA_DIR, --segmentation, or both')
    args.paths = find_images([args.data]) if args.data else []
    args.labelled = labelled_images(args.segmentation) if args.segmentation else []
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate, pseudo_collate
from mmengine.registry import init_default_scope
from mmpretrain.datasets import PackInputs
from peers.decoders import loaders, measure_dali  # beside this file
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nepa_mm.datasets import LoadImage, PackPixels, PackTimm, TimmTransform, collate_and_hold
from nepa_mm.datasets.erased_patches import ErasedPatches
from nepa_mm.datasets.transforms import load_image
from nepa_mm.models import TimmDataPreprocessor
from nepa_mm.seeding import seed_all

DATASETS = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets'
IMAGES, FINE_TUNING, ADE = (DATASETS / name for name in ('images_224.py', 'imagenet_224.py', 'ade20k_512.py'))
COUNT, REPEATS = 250, 5
MM = [
    dict(type='nepa_mm.LoadImage'),
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='torchvision/RandomResizedCrop', size=224, scale=(0.08, 1.0), interpolation='bilinear'),
    dict(type='torchvision/RandomHorizontalFlip', p=0.5),
    dict(type='PILToNumpy', to_bgr=True),
    dict(type='PackInputs'),
]


def pipelines() -> dict:
    """Each takes a path and gives an image [3, 224, 224]."""
    release = transforms.Compose([
        transforms.RandomResizedCrop(224, scale=(0.08, 1.)), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3)])

    def authors(path: str) -> torch.Tensor:
        with open(path, 'rb') as file:
            try:
                return release(Image.open(file).convert('RGB'))
            except OSError as error:
                raise DataError(f'it cannot be read as an image ({first_line(error)})', str(path),
                                'take it out of DATA_DIR') from error

    def of(steps: list[dict]) -> Callable[[str], torch.Tensor]:
        pipeline = Compose(steps)
        return lambda path: pipeline(dict(img_path=path))['inputs']

    result = dict(authors=authors, mm=of(MM))
    steps = Config.fromfile(IMAGES).train_dataloader.dataset.pipeline
    whole, by_torch = dict(steps[0], whole=True), dict(steps[1], backend='torchvision')
    result['before'], result['torchvision'] = of([whole, by_torch, *steps[2:]]), of([steps[0], by_torch, *steps[2:]])
    result['whole'], result['images_224.py'] = of([whole, *steps[1:]]), of(steps)
    return {**result, **loaders(steps[1:])}


def compare(ways: dict[str, Callable], samples: list, repeats: int, pixels: Callable[[object], torch.Tensor]
            ) -> tuple[dict[str, list[float]], dict[str, dict[str, float]]]:
    """Microseconds of CPU a sample in each repeat, of ways that take turns at each sample under the same random numbers.

    Args:
        pixels: Of what a way gives, numbers in steps of 255. How far those of the others are from those of the
            first comes second, the largest difference and the mean.
    """
    names = list(ways)
    times, off = {name: [0.] * repeats for name in names}, {name: [] for name in names[1:]}
    for repeat in range(-1, repeats):  # the first is to warm up, and compares
        for i, sample in enumerate(samples):
            made = {}
            for name in names[i % len(names):] + names[:i % len(names)]:
                seed_all('benchmark', repeat, i)
                begin = time.thread_time()
                made[name] = ways[name](sample)
                times[name][repeat] += (time.thread_time() - begin) / len(samples) * 1e6 if repeat >= 0 else 0
            for name, found in off.items() if repeat < 0 else ():
                difference = (pixels(made[name]) - pixels(made[names[0]])).abs()
                found.append((difference.max().item(), difference.mean().item()))
    return times, {name: dict(max=max(most), mean=statistics.mean(mean)) for name, (most, mean) in (
        (name, zip(*found)) for name, found in off.items())}


def measure_pipelines(paths: list[str], repeats: int) -> tuple[dict, dict]:
    def pixels(image: torch.Tensor) -> torch.Tensor:  # the authors' are normalised, the others BGR
        return image.add(1).mul(127.5).round() if image.is_floating_point() else image.flip(0).float()

    return compare(pipelines(), paths, repeats, pixels)


def fine_tuning(split: str) -> dict[str, Callable[[str], dict]]:
    """Each takes a path and gives ``inputs`` [3, 224, 224] for the recipe's data preprocessor, and what goes with it."""
    load, timm, pack = Config.fromfile(FINE_TUNING)[f'{split}_pipeline']
    floats = TimmTransform(**{key: value for key, value in timm.items() if key not in ('type', 'on_device', 'compile')}).timm

    def of(compile: bool) -> Callable[[str], dict]:
        pipeline = Compose([load, dict(timm, compile=compile), pack])
        return lambda path: pipeline(dict(img_path=path, gt_label=0))

    def authors(path: str) -> dict:
        with open(path, 'rb') as file:
            return dict(inputs=floats(Image.open(file).convert('RGB')))

    loader = LoadImage()

    def before(path: str) -> dict:
        img = loader(dict(img_path=path))['img']
        return PackInputs()(dict(img=floats(Image.fromarray(np.ascontiguousarray(img[..., ::-1]))), gt_label=0))

    return dict(timm=authors, before=before, libraries=of(False), kernels=of(True))


def measure_fine_tuning(paths: list[str], repeats: int, split: str) -> tuple[dict, dict]:
    """Differences are those of the model's inputs."""
    preprocessor = TimmDataPreprocessor()

    def pixels(sample: dict) -> torch.Tensor:
        return preprocessor(collate_and_hold([sample]))['inputs'][0] * 127.5

    return compare(fine_tuning(split), paths, repeats, pixels)


def measure_segmentation(pairs: list[dict[str, str]], repeats: int) -> tuple[dict, dict]:
    """Differences are those of the image and of the label map together."""
    steps = Config.fromfile(ADE).train_pipeline
    mmsegs = [dict(step, type=step.type.removeprefix('nepa_mm.')) for step in steps[2:]]
    loaders = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True)]

    def of(pipeline: list[dict]) -> Callable[[dict], dict]:
        built = Compose(pipeline)
        return lambda pair: built(dict(pair, seg_fields=[], reduce_zero_label=True, label_map=None))

    def before(pair: dict) -> dict:
        with mock.patch.object(load_image, 'side_by_side', lambda img: img):
            return as_before(pair)

    def pixels(sample: dict) -> torch.Tensor:
        return torch.cat([sample['inputs'], sample['data_samples'].gt_sem_seg.data]).float()

    as_before = of([*steps[:2], *mmsegs])
    ways = {'before': before, 'mmseg': of([*loaders, *mmsegs]), 'ade20k_512.py': of(steps)}
    return compare(ways, [pairs[i % len(pairs)] for i in range(COUNT // 5)], repeats, pixels)


class Packed(Dataset):
    """Copies of one image, packed as a pipeline ends."""

    def __init__(self, pack, dtype: type, erased: ErasedPatches | None = None) -> None:
        self.pack, self.image = pack, np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8).astype(dtype)
        self.erased = {} if erased is None else dict(erased=erased)

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, i: int) -> dict:
        return self.pack(dict(img=self.image, img_path=f'data/imagenet/train/n01440764/n01440764_{i}.JPEG', sample_idx=i,
                              ori_shape=(500, 375), img_shape=(224, 224), gt_label=i % 1000, **self.erased))


def stacked(batch: dict) -> torch.Tensor:
    """What a data_preprocessor begins with."""
    return batch['inputs'] if torch.is_tensor(batch['inputs']) else torch.stack(batch['inputs'])


def measure_transport(repeats: int, batch_size: int = 256, count: int = 5) -> dict[str, list[float]]:
    """Microseconds of CPU that the training process, with one worker, spends on an image in each repeat."""
    # What the recipe erases of an image in the mean: one in four, by 18 %
    patches = ErasedPatches([(0, 47, 0, 47)], torch.zeros(3 * 47 * 47))
    forms = {
        'float32, PackInputs, pseudo_collate': (PackInputs(), np.float32, pseudo_collate),
        'float32, PackInputs, default_collate': (PackInputs(), np.float32, default_collate),
        'uint8, PackInputs, pseudo_collate': (PackInputs(), np.uint8, pseudo_collate),
        'uint8, PackInputs, default_collate': (PackInputs(), np.uint8, default_collate),
        'uint8 and patches, PackTimm, collate_and_hold': (PackTimm(), np.uint8, collate_and_hold, patches),
        'uint8, PackPixels, default_collate': (PackPixels(), np.uint8, default_collate),
        'uint8, PackPixels, collate_and_hold': (PackPixels(), np.uint8, collate_and_hold)}
    times = {name: [] for name in forms}
    for _ in range(repeats):
        for name, (pack, dtype, collate, *erased) in forms.items():
            # One loader at a time: unstacked, each image in flight holds an open file.
            batches = iter(DataLoader(Packed(pack, dtype, *erased), batch_size, num_workers=1, collate_fn=collate))
            stacked(next(batches))
            begin = time.process_time()
            for _ in range(count):
                stacked(next(batches))
            times[name].append((time.process_time() - begin) / count / batch_size * 1e6)
    return times


def show(title: str, times: dict[str, list[float]], differences: dict | None = None) -> dict[str, dict]:
    first, result, rows = next(iter(times.values())), {}, []
    for name, each in times.items():
        faster, off, us = ratios(first, each), (differences or {}).get(name), statistics.median(each)
        result[name] = dict(us=us, ratio=faster['median'], ratios=faster['pairs'], pixels_off=off)
        pixels = f'{off["max"]:.0f}, {off["mean"]:.3f}' if off else ''
        rows.append([name, f'{us:.0f}', f'{1e6 / us:,.0f}', spread(faster), pixels])
    print('\n' + markdown(f'{title} | us of CPU an image | images/s of a core | times as fast | pixels off: largest, mean', rows))
    return result


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    result = {}
    if args.paths:
        init_default_scope('mmpretrain')
        chosen = np.linspace(0, len(args.paths) - 1, min(COUNT, len(args.paths))).astype(int)
        chosen = [str(args.paths[i]) for i in chosen]
        times, differences = measure_pipelines(chosen, REPEATS)
        times.update(measure_dali(chosen, REPEATS))
        result = dict(pipelines=show(f'pipeline, {len(chosen)} images', times, differences))
        result.update({} if args.pretraining else dict(
            fine_tuning=show('fine-tuning', *measure_fine_tuning(chosen, REPEATS, 'train')),
            validation=show('validation', *measure_fine_tuning(chosen, REPEATS, 'test')),
            transport=show('from worker to training process', measure_transport(REPEATS))))
    if args.labelled:
        init_default_scope('mmseg')
        result['segmentation'] = show('segmentation', *measure_segmentation(args.labelled, REPEATS))
    args.json.write(result)


run_command(main, args)
