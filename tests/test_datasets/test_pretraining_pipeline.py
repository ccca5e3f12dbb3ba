"""The pretraining pipeline: its crops, its pixels beside the release's, and what a batch carries."""
import copy
import hashlib

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from PIL import Image
from PIL import __version__ as PILLOW
from torch.utils.data import DataLoader
from torchvision import transforms

from nepa_mm.datasets import DrawSampler, SeededDataset
from nepa_mm.datasets.transforms import encoded_jpeg
from nepa_mm.datasets.transforms.encoded_jpeg import codec
from tiny import ROOT, needs_sample, real_images

RELEASE = transforms.Compose([
    transforms.RandomResizedCrop(224, scale=(0.08, 1.), interpolation=transforms.InterpolationMode.BILINEAR),
    transforms.RandomHorizontalFlip(), transforms.PILToTensor()])
STORED = '58721ee2b01c9e57009458282a3f9b8d48f2d4604eeb38d69ea1d2ebced6b395'  # of 125 images, by Pillow 13.0.0
NORMALISE = transforms.Compose([transforms.ConvertImageDtype(torch.float32), transforms.Normalize([0.5] * 3, [0.5] * 3)])


@pytest.fixture(params=['torchvision', 'pillow'])
def backend(request):
    return request.param


@pytest.fixture
def pipeline(backend):
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/images_224.py')
    cfg.merge_from_dict({'train_dataloader.dataset.pipeline.1.backend': backend})  # the switch that it documents
    yield Compose(cfg.train_dataloader.dataset.pipeline)
    DefaultScope._instance_dict.clear()


def photo(path, size=(320, 260), mode='RGB', **kwargs) -> str:
    """A file of smooth colours and noise, ``size`` (W, H)."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    pixels = np.stack([x, y, 255 - x], axis=-1) + np.random.default_rng(0).normal(0, 20, (*size[::-1], 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode).save(path, **kwargs)
    return str(path)


def compare(pipeline, path, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences from the release's pixels, uint8 RGB [3, 224, 224], and its pixels; random numbers must stay in step."""
    torch.manual_seed(seed)
    packed = pipeline(dict(img_path=path))
    after = torch.rand(1)
    torch.manual_seed(seed)
    expected = RELEASE(Image.open(path).convert('RGB'))
    assert torch.rand(1) == after
    inputs = packed['inputs']
    assert inputs.dtype == torch.uint8 and inputs.shape == (3, 224, 224) and inputs.is_contiguous()
    return (inputs.flip(0).int() - expected.int()).abs(), expected  # mm's BGR


def check(differences: torch.Tensor, backend: str) -> None:
    if backend == 'pillow':
        assert differences.max() == 0
    else:
        # Within 1 of 255. Both round after each axis, torchvision with shorter weights, so that one value in a million is 2 off.
        assert (differences > 1).float().mean() < 3e-6 and differences.max() <= 2 and differences.float().mean() < 0.06


@pytest.mark.parametrize('kind', [
    dict(), dict(mode='L'), dict(mode='CMYK'), dict(size=(1200, 900)), dict(size=(30, 20)), dict(size=(900, 40)),
    dict(size=(1, 1)), dict(form='png'), dict(form='png', mode='P')])
def test_pixels_are_torchvisions_on_pillow(kind, pipeline, backend, tmp_path):
    """The release's training transform: RandomResizedCrop(224) and a flip on ``Image.open(...).convert('RGB')``."""
    kind = dict(kind)
    path = photo(tmp_path / f'a.{kind.pop("form", "jpg")}', **kind)
    differences = torch.stack([compare(pipeline, path, seed)[0] for seed in range(10)])
    check(differences, backend)


@pytest.mark.skipif(codec() is None, reason='nvImageCodec is not installed')
def test_decoding_crops_alone_changes_no_bit(pipeline, tmp_path, monkeypatch):
    path = photo(tmp_path / 'a.jpg', size=(500, 375))
    for seed in range(10):
        torch.manual_seed(seed)
        found, after = pipeline(dict(img_path=path))['inputs'], torch.rand(1)
        with monkeypatch.context() as patch:
            patch.setattr(encoded_jpeg, 'codec', lambda: None)
            torch.manual_seed(seed)
            assert torch.equal(pipeline(dict(img_path=path))['inputs'], found) and torch.rand(1) == after


@needs_sample
@pytest.mark.skipif(int(PILLOW.split('.')[0]) < 13, reason='Pillow resizes otherwise since version 13')
def test_real_images_have_the_pixels_that_are_stored(pipeline, backend):
    if backend == 'torchvision':
        pytest.skip('its last bits depend on the processor')
    digest = hashlib.sha256()
    for seed, content in enumerate(real_images()[::2]):
        torch.manual_seed(seed)
        digest.update(pipeline(dict(img_bytes=content))['inputs'].numpy().tobytes())
    assert digest.hexdigest() == STORED


@needs_sample
def test_pixels_of_real_images(pipeline, backend, tmp_path):
    differences = []
    for seed, content in enumerate(real_images()[::3]):
        (tmp_path / 'a.jpg').write_bytes(content)
        differences.append(compare(pipeline, tmp_path / 'a.jpg', seed)[0])
    check(torch.stack(differences), backend)


def test_the_preprocessor_makes_them_the_releases_inputs(pipeline, backend, tmp_path):
    preprocessor = MODELS.build(Config.fromfile(ROOT / 'configs/_base_/models/nepa.py').model.data_preprocessor)
    path = photo(tmp_path / 'a.jpg')
    torch.manual_seed(3)
    batch = preprocessor(default_collate([pipeline(dict(img_path=path))] * 2))
    expected = NORMALISE(compare(pipeline, path, 3)[1])
    torch.testing.assert_close(batch['inputs'][1], expected, rtol=0, atol=1e-6 + (1 / 127.5 if backend == 'torchvision' else 0))
    assert batch['data_samples'] == []


def test_a_batch_is_one_tensor_of_bytes_and_nothing_else(pipeline, tmp_path):
    samples = [dict(img_path=photo(tmp_path / f'{i}.jpg', size=(40 + i, 30))) for i in range(4)]

    class Images(torch.utils.data.Dataset):

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return pipeline(copy.deepcopy(samples[i]))

    batch = next(iter(DataLoader(Images(), 4, num_workers=1, collate_fn=default_collate)))
    assert batch.keys() == {'inputs', 'data_samples'} and batch['data_samples'] == []
    assert batch['inputs'].shape == (4, 3, 224, 224) and batch['inputs'].dtype == torch.uint8
    assert batch['inputs'].is_shared()  # stacked by the worker, in memory that both see


def test_any_number_of_workers_and_a_resumed_epoch_see_the_same_bits(pipeline, tmp_path):
    paths = [photo(tmp_path / f'{i}.jpg', size=(90 + 7 * i, 80)) for i in range(12)]

    class Images(torch.utils.data.Dataset):

        def __len__(self):
            return len(paths)

        def __getitem__(self, i):
            return pipeline(dict(img_path=paths[i]))

    def epoch(workers: int, begin: int = 0) -> torch.Tensor:
        dataset = SeededDataset(Images(), seed=5)
        sampler = DrawSampler(dataset, dict(type='DefaultSampler', shuffle=True), 5)
        sampler.set_epoch(1)
        sampler.begin = begin
        loader = DataLoader(dataset, 4, num_workers=workers, sampler=sampler, collate_fn=default_collate)
        return torch.cat([batch['inputs'] for batch in loader])

    expected = epoch(0)
    assert len(expected) == 12
    for workers in (1, 4):
        assert torch.equal(epoch(workers), expected)
        assert torch.equal(epoch(workers, begin=4), expected[4:])
