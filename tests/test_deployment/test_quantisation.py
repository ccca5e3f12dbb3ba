"""onnxruntime quantises an exported classifier as it is written."""
import importlib.util

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from torch.torch_version import TorchVersion

from nepa_mm import NEPAViT
from nepa_mm.deployment import Graph, Source, export_onnx
from tiny import ROOT

pytest.importorskip('onnxruntime')
PIXELS = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True)
DEMO = dict(arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512), img_size=64, patch_size=8)


def demo_images(count):
    """Images of the demo [N, 3, 64, 64], normalised, and their classes."""
    spec = importlib.util.spec_from_file_location('draw_shapes', ROOT / 'tools/demo/draw_shapes.py')
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    rng = np.random.default_rng(0)
    images = [np.array(demo.draw_scene(rng, (72, 72), [(kind, None)], radius=(0.3, 0.45))[0])[4:68, 4:68]
              for _ in range(count) for kind in demo.SHAPES]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return pixels / 127.5 - 1, torch.arange(len(demo.SHAPES)).repeat(count)


def fitted_classifier(images, labels):
    """The demo's model, of random blocks and a head that ridge regression fits to the images, which takes no training."""
    torch.manual_seed(0)
    backbone = NEPAViT(**DEMO, causal=False, out_type='avg_featmap', qk_norm='affine', layer_scale_init_value=1.)
    model = ImageClassifier(backbone, head=LinearClsHead(8, 128), data_preprocessor=ClsDataPreprocessor(**PIXELS)).eval()
    with torch.no_grad():
        features = model.extract_feat(images)[0]
        centred = features - features.mean(0)
        covariance = centred.T @ centred
        ridge = 0.01 * covariance.trace() / 128 * torch.eye(128)
        weight = torch.linalg.solve(covariance + ridge, centred.T @ torch.nn.functional.one_hot(labels, 8).float())
        model.head.fc.weight.copy_(weight.T)
        model.head.fc.bias.copy_(-features.mean(0) @ weight)
    return model


def logits_of(path, images):
    import onnxruntime
    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run(None, {'input': images.numpy()})[0]


@pytest.mark.skipif(torch.__version__ < (2, 5), reason='torch 2.4 cannot write what it exports as ONNX')
def test_dynamic_and_static_quantisation(tmp_path):
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{'input': batch.numpy()} for batch in images.split(8)])

        def get_next(self):
            return next(self.batches, None)

    images, labels = demo_images(count=5)
    config = Config(dict(model=dict(type='ImageClassifier', backbone=dict(img_size=64), data_preprocessor=PIXELS)))
    source = Source(fitted_classifier(images, labels), config, 'demo', None)
    path = export_onnx(source, Graph(source), tmp_path / 'float32.onnx', (64, 64)).path
    # onnxruntime 1.23, the last for Python 3.10, convolves no signed weights
    signed = TorchVersion(onnxruntime.__version__) >= (1, 24)
    quantize_dynamic(path, tmp_path / 'dynamic.onnx', weight_type=QuantType.QInt8 if signed else QuantType.QUInt8)
    quantize_static(path, tmp_path / 'static.onnx', Reader(), quant_format=QuantFormat.QDQ)
    expected = logits_of(path, images)
    assert (expected.argmax(1) == labels.numpy()).mean() > 0.9
    for name in ('dynamic', 'static'):
        quantised = tmp_path / f'{name}.onnx'
        assert quantised.stat().st_size <= 0.3 * path.stat().st_size
        assert (logits_of(quantised, images).argmax(1) == expected.argmax(1)).all(), name
