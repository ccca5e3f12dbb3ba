"""Images that are not RGB, which tests draw: smooth noise in any number of bands, of 8 bits, 16 bits or with a point."""
from pathlib import Path

import numpy as np
import tifffile

RANGES = dict(uint8=(0, 256), uint16=(200, 9000), float32=(-0.2, 1.1))  # of values, as of photographs, satellites, reflectances


def bands(path: Path, channels: int, dtype: str = 'uint16', size: tuple[int, int] = (50, 40), seed: int = 0) -> np.ndarray:
    """Write a TIFF of so many pixels, width and height, and give what is in it, [H, W, channels]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    low, high = RANGES[dtype]
    values = np.random.default_rng([seed, *map(ord, path.name)]).random((*size[::-1], channels)) * (high - low) + low
    pixels = values.astype(dtype)
    planes = dict(planarconfig='contig') if channels > 1 else {}
    tifffile.imwrite(path, pixels.squeeze(), photometric='minisblack', **planes)
    return pixels
