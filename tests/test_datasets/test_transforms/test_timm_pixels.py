"""Fine-tuning's pixels from files to the model's input, against timm's own: every kind of file, many images, any workers."""
import hashlib
import io
import random
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from PIL import Image, ImageOps
from timm.data import create_transform
from torch.utils.data import DataLoader, Dataset

from nepa_mm.datasets import DrawSampler, SeededDataset, collate_and_hold
from nepa_mm.datasets.transforms.timm_transform import posterize, timm_arguments
from nepa_mm.models import TimmDataPreprocessor
from tiny import ROOT, needs_sample, real_images

PILLOW = '13.0.0'  # whose pixels the stored hash is of: other versions resize in another order, or round otherwise
# Of 500 images under the release's recipe and seeds 0 to 499: their bytes, and the boxes that are erased
HASH = 'b725119b277010580ecb2229b429cd9af3c6438d03827a976f2e61d861a915c4'
CONFIG = Config.fromfile(ROOT / 'configs/_base_/datasets/imagenet_224.py')


def timm_of(steps: list[dict]):
    """timm's own transform for a pipeline, with one repair: before Pillow 13 posterize took 0 bits."""
    defaults = timm_arguments({})
    transform = create_transform(**{key: value for key, value in steps[1].items() if key in defaults})
    for op in getattr(transform.transforms[2], 'ops', []):
        op.aug_fn = posterize if 'Posterize' in op.name else op.aug_fn
    return transform


def pipeline_of(steps: list[dict], **settings) -> Compose:
    init_default_scope('mmpretrain')
    return Compose([steps[0], dict(steps[1], **settings), *steps[2:]])


def seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def model_input(packed: dict) -> torch.Tensor:
    inputs = TimmDataPreprocessor()(collate_and_hold([packed]))['inputs'][0]
    assert inputs.dtype == torch.float32 and not inputs.requires_grad and inputs.is_contiguous()
    return inputs


def drawn(i: int) -> np.ndarray:
    """An image of 20 to 250 pixels a side: ramps of colour, a step and noise, in whole numbers alone, which are any machine's."""
    generator = np.random.default_rng(i)
    height, width = generator.integers(20, 250, 2)
    y, x = np.mgrid[:height, :width]
    ramps = [abs((x * a + y * b) // 8 % 320 - 160) for a, b in generator.integers(-20, 20, (3, 2))]
    pixels = np.stack(ramps, axis=-1) + generator.integers(0, 40, (height, width, 3))
    pixels[:height // 3] //= 2
    return pixels.clip(0, 255).astype(np.uint8)


def test_pixels_of_500_images():
    """timm's, of each tenth; and those that were stored, so that no version of timm, torch or Pillow changes them unseen."""
    fast, plain = (pipeline_of(CONFIG.train_pipeline, compile=compile) for compile in (True, False))
    timm, total = timm_of(CONFIG.train_pipeline), hashlib.sha256()
    for i in range(500):
        image = drawn(i)
        seed(i)
        found = fast(dict(img=image[..., ::-1]))
        total.update(found['inputs'].numpy().tobytes() + repr(found['erased'].boxes).encode())  # torch's noise is its version's
        if i % 10 == 0:
            seed(i)
            expected = timm(Image.fromarray(image))
            seed(i)
            assert torch.equal(model_input(plain(dict(img=image[..., ::-1]))), expected)
            assert torch.equal(model_input(found), expected)
    if PIL.__version__.partition('.')[0] != PILLOW.partition('.')[0]:
        pytest.skip(f'the stored hash is of Pillow {PILLOW}, which resizes otherwise than {PIL.__version__}')
    assert total.hexdigest() == HASH


@pytest.fixture
def files(tmp_path):
    """One of each kind: what it shows in colour, grey, CMYK, a palette and with transparency, turned, progressive, tiny."""
    base = Image.fromarray(drawn(3)).resize((130, 90))
    orientations = [Image.Exif() for _ in range(8)]
    for i, exif in enumerate(orientations):
        exif[0x0112] = i + 1
    kinds = {
        'colour.jpg': (base, {}), 'grey.jpg': (base.convert('L'), {}), 'cmyk.jpg': (base.convert('CMYK'), {}),
        'palette.png': (base.convert('P'), {}), 'grey.png': (base.convert('L'), {}), 'grey_alpha.png': (base.convert('LA'), {}),
        'progressive.jpg': (base, dict(progressive=True)), 'sampled.jpg': (base, dict(subsampling=0)),
        'pixel.jpg': (base.resize((1, 1)), {}), 'line.png': (base.resize((1, 40)), {}), 'tiny.jpg': (base.resize((9, 5)), {}),
        **{f'turned{i + 1}.jpg': (base, dict(exif=exif)) for i, exif in enumerate(orientations)}}
    transparent = base.convert('RGBA')
    transparent.putalpha(Image.fromarray(drawn(5)).resize(base.size).convert('L'))
    kinds['alpha.png'] = (transparent, {})
    for name, (image, settings) in kinds.items():
        image.save(tmp_path / name, **settings)
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize('compile', [False, True])
def test_every_kind_of_file(compile, files):
    check_files(files, compile)


@needs_sample
@pytest.mark.parametrize('compile', [False, True])
def test_real_images(compile):
    check_files(real_images()[:24], compile)


def content_of(image: Path | bytes) -> dict:
    return dict(img_bytes=image) if isinstance(image, bytes) else dict(img_path=str(image))


def check_files(images: list[Path] | list[bytes], compile: bool) -> None:
    for steps in (CONFIG.train_pipeline, CONFIG.test_pipeline):
        pipeline, timm = pipeline_of(steps, compile=compile), timm_of(steps)
        for i, image in enumerate(images):
            for value in (i, i + 100) if isinstance(image, Path) else (i, ):
                seed(value)
                found = model_input(pipeline(dict(content_of(image), gt_label=1)))
                after = random.random(), np.random.rand(), torch.rand(1)
                seed(value)
                opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
                assert torch.equal(found, timm(ImageOps.exif_transpose(opened).convert('RGB'))), image
                assert after == (random.random(), np.random.rand(), torch.rand(1))


class Images(Dataset):
    """Files through the training pipeline."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.pipeline = paths, pipeline_of(CONFIG.train_pipeline)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> dict:
        return self.pipeline(dict(img_path=str(self.paths[i]), gt_label=i))


def test_any_number_of_workers_and_resuming_give_the_same_batches(files):
    dataset = SeededDataset(Images(files), seed=7)
    sampler = DrawSampler(dataset, dict(type='DefaultSampler', shuffle=True), seed=7)
    preprocessor = TimmDataPreprocessor(to_onehot=True, num_classes=len(files), batch_augments=dict(
        augments=[dict(type='nepa_mm.TimmMixup', mixup_alpha=0.8, cutmix_alpha=1., num_classes=len(files))]))

    def batches(workers: int, begin: int = 0) -> list[dict]:
        sampler.set_epoch(3)
        sampler.begin_after(begin)
        loader = DataLoader(dataset, 4, sampler=sampler, num_workers=workers, collate_fn=collate_and_hold, drop_last=True)
        result = []
        for i, batch in enumerate(loader, begin // 4):
            seed(i)  # of mixup, which the training process draws
            result.append(preprocessor(batch, training=True))
        return result

    expected = batches(0)
    assert len(expected) == len(files) // 4
    for found, begin in ((batches(1), 0), (batches(4), 0), (batches(2, begin=8), 2)):
        for one, other in zip(found, expected[begin:], strict=True):
            assert torch.equal(one['inputs'], other['inputs'])
            for sample, wanted in zip(one['data_samples'], other['data_samples'], strict=True):
                assert torch.equal(sample.gt_score, wanted.gt_score)
