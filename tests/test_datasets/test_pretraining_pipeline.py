import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from PIL import Image
from torchvision import transforms

from tiny import ROOT


@pytest.fixture
def pipeline():
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/images_224.py')
    yield Compose(cfg.train_dataloader.dataset.pipeline)
    DefaultScope._instance_dict.clear()


@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_pixels_are_torchvisions_on_pillow(mode, pipeline, tmp_path):
    """The release's training transform: RandomResizedCrop(224) and a flip on ``Image.open(...).convert('RGB')``."""
    path = str(tmp_path / 'a.jpg')
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (260, 320, 3), dtype=np.uint8)).convert(mode).save(path)
    release = transforms.Compose([
        transforms.RandomResizedCrop(224, scale=(0.08, 1.), interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(), transforms.PILToTensor()])
    normalise = transforms.Compose([transforms.ConvertImageDtype(torch.float32), transforms.Normalize([0.5] * 3, [0.5] * 3)])
    model = Config.fromfile(ROOT / 'configs/_base_/models/nepa.py').model
    preprocessor = MODELS.build(model.data_preprocessor)
    for seed in range(10):
        torch.manual_seed(seed)
        inputs = pipeline(dict(img_path=path))['inputs']
        torch.manual_seed(seed)
        expected = release(Image.open(path).convert('RGB'))
        assert inputs.dtype == torch.uint8 and torch.equal(inputs.flip(0), expected)  # mm's BGR
        batch = preprocessor(dict(inputs=inputs[None], data_samples=[]))['inputs']
        torch.testing.assert_close(batch[0], normalise(expected), rtol=0, atol=1e-6)
