"""Tries of decoders of JPEGs: each has to give Pillow's pixels, to within rounding."""
import io
from importlib.util import find_spec

from .finding import Absent, Unfit


def jpeg() -> tuple[bytes, object]:
    """A picture, as a JPEG and as Pillow decodes it, RGB [H, W, 3]."""
    import numpy as np
    from PIL import Image
    content = io.BytesIO()
    Image.fromarray(np.kron(np.arange(0, 192).reshape(8, 8, 3), np.ones((8, 8, 1))).astype(np.uint8)).save(content, 'JPEG')
    return content.getvalue(), np.asarray(Image.open(content)).astype(int)


def by_torchvision() -> str:
    """Its decoder, which nepa_mm.LoadImage uses."""
    import torch
    import torchvision.io  # noqa: F401, which brings the operator
    content, expected = jpeg()
    try:
        found = torch.ops.image.decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)
    except (RuntimeError, AttributeError) as error:
        raise Absent(f'this torchvision has no decoder ({error}); Pillow decodes, which takes longer',
                     'install torchvision from PyPI or download.pytorch.org, which have it') from error
    assert abs(found.permute(1, 2, 0).numpy() - expected).max() <= 2, 'its pixels are wrong'
    return 'works'


def crops_by_nvimagecodec() -> str:
    """Its decoder of parts, by which pretraining takes less time to load."""
    from nepa_mm.datasets.transforms.encoded_jpeg import EncodedJpeg, codec
    how = 'pip install nvidia-nvimgcodec-cu13, on Linux; it needs no GPU'
    if find_spec('nvidia') is None or find_spec('nvidia.nvimgcodec') is None:
        raise Absent('it is not installed; images are decoded as a whole, which takes pretraining longer to load', how)
    content, expected = jpeg()
    encoded = EncodedJpeg.of(content)
    found = None if encoded is None else encoded.region(1, 2, 4, 3)
    if found is None:
        raise Unfit('it does not work; images are decoded as a whole', how)
    assert abs(found.astype(int) - expected[2:5, 1:5]).max() <= 2, 'its pixels are wrong'
    return f'works ({codec().__version__})'
