"""The kernels against Pillow itself."""
import subprocess

import numpy as np
import pytest
from PIL import Image
from timm.data import auto_augment

from nepa_mm.datasets.transforms import pillow_kernels
from nepa_mm.datasets.transforms.pillow_kernels import BICUBIC, BILINEAR, by_kernel, library, needed, planes, resized

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (600, 600, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def kernels():
    if library() is None:
        pytest.skip('the kernels cannot be compiled here, or are not those of this Pillow')
    return library()


def pictures() -> list[np.ndarray]:
    """Noise of many shapes, of which every other one is smooth: there is more to round where a pixel is like the next."""
    shapes = [*RANDOM.integers(1, 600, (40, 2)).tolist(), [1, 1], [1, 500], [500, 1], [2, 3], [224, 224], [600, 224], [224, 600],
              [500, 3], [100, 1], [301, 3]]
    noise = [NOISE[:height, :width].copy() for height, width in shapes]
    return [np.asarray(Image.fromarray(image[:9, :9]).resize(image.shape[1::-1], BICUBIC)) if i % 2 else image
            for i, image in enumerate(noise)]


def test_resized_is_pillows(kernels):
    for i, image in enumerate(pictures()):
        size = (224, 224) if i % 3 else tuple(RANDOM.integers(1, 300, 2).tolist())
        expected = np.asarray(Image.fromarray(image).resize(size, BICUBIC))
        np.testing.assert_array_equal(resized(kernels, image, size), expected)
        flipped = np.ascontiguousarray(image[..., ::-1])[..., ::-1]  # as mm's BGR, a view
        np.testing.assert_array_equal(resized(kernels, flipped, size), expected)


@pytest.mark.parametrize('flip', [False, True])
def test_planes_are_pillows_bilinear_pixels(flip, kernels):
    for i, image in enumerate(pictures()):
        size = (224, 224) if i % 3 else tuple(RANDOM.integers(1, 300, 2).tolist())
        expected = np.asarray(Image.fromarray(image).resize(size, BILINEAR))[:, ::-1 if flip else 1, ::-1].transpose(2, 0, 1)
        np.testing.assert_array_equal(planes(kernels, image, size, flip), expected)
        part = np.pad(image, ((1, 1), (1, 1), (0, 0)))[1:-1, 1:-1]  # a view, as of a larger image
        np.testing.assert_array_equal(planes(kernels, part, size, flip), expected)


def test_a_part_of_the_result_needs_a_part_of_the_image(kernels):
    for image in pictures():
        height, width = image.shape[:2]
        size = tuple(RANDOM.integers(1, 300, 2).tolist())
        x, y = (int(RANDOM.integers(0, side)) for side in size)
        columns, rows = (int(RANDOM.integers(1, side - at + 1)) for side, at in zip(size, (x, y)))
        (left, across), (top, down) = needed(width, size[0], x, columns), needed(height, size[1], y, rows)
        part = image[top:top + down, left:left + across]
        found = resized(kernels, part, size, (x, y, columns, rows), (left, top, width, height))
        expected = np.asarray(Image.fromarray(image).resize(size, BICUBIC))[y:y + rows, x:x + columns]
        np.testing.assert_array_equal(found, expected)
        black = np.zeros_like(image)  # and Pillow's own result needs no more
        black[top:top + down, left:left + across] = part
        np.testing.assert_array_equal(
            np.asarray(Image.fromarray(black).resize(size, BICUBIC))[y:y + rows, x:x + columns], expected)


@pytest.mark.parametrize('operation', [
    'shear_x', 'shear_y', 'translate_x_rel', 'translate_y_rel', 'translate_x_abs', 'translate_y_abs', 'rotate'])
def test_affine_operations_are_pillows(operation, kernels):
    timm = getattr(auto_augment, operation)
    steps = [*RANDOM.uniform(-0.5, 0.5, 8).tolist(), 0., 1.]
    for image in map(Image.fromarray, pictures()[::4]):
        for step in steps:
            amount = step * 180 if operation == 'rotate' else step * image.width if operation.endswith('abs') else step
            settings = dict(resample=BICUBIC, fillcolor=(124, 116, 104))
            found, expected = by_kernel(timm)(image, amount, **settings), timm(image, amount, **settings)
            assert found.size == expected.size and found.tobytes() == expected.tobytes()
        for other in (dict(resample=Image.Resampling.BILINEAR, fillcolor=(1, 2, 3)), dict(resample=BICUBIC, fillcolor=None)):
            assert by_kernel(timm)(image, 0.2, **other).tobytes() == timm(image, 0.2, **other).tobytes()
        grey = image.convert('L')
        assert by_kernel(timm)(grey, 0.2, resample=BICUBIC, fillcolor=7).tobytes() == timm(
            grey, 0.2, resample=BICUBIC, fillcolor=7).tobytes()


def test_without_a_compiler_or_pillows_pixels_a_line_says_so(monkeypatch, tmp_path):
    said = []
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    failing = tmp_path / 'failing'
    failing.write_text('#!/bin/sh\necho no such flag >&2\nexit 1\n')
    failing.chmod(0o755)
    try:
        for compiler, line in ((None, 'there is no C compiler'), (str(failing), f'{failing} failed (no such flag)')):
            monkeypatch.setattr(pillow_kernels, 'print_log', lambda line, *args: said.append(line))
            monkeypatch.setattr(pillow_kernels.shutil, 'which', lambda name, compiler=compiler: compiler)
            library.cache_clear()
            assert library() is None
            assert said.pop().startswith(f'pillow_kernels.c: {line}, and so Pillow resizes and turns images, to the same pixels')
        monkeypatch.undo()
        monkeypatch.setattr(pillow_kernels, 'equal_to_pillow', lambda kernels: False)
        library.cache_clear()
        assert library() is None
    finally:
        library.cache_clear()


def test_compiled_once_for_a_machine(monkeypatch, tmp_path, kernels):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    compiler = pillow_kernels.shutil.which('cc') or pillow_kernels.shutil.which('gcc')
    path = pillow_kernels.compiled(compiler)
    assert path.parent == tmp_path / 'nepa_mm' and list(path.parent.iterdir()) == [path]
    monkeypatch.setattr(subprocess, 'run', None)
    assert pillow_kernels.compiled(compiler) == path
