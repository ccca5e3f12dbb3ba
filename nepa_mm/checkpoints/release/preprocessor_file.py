"""``preprocessor_config.json`` of Hugging Face: a :class:`Preprocessing` to it and back."""
import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mmengine.logging import print_log

from nepa_mm.checkpoints.preprocessing import FILTERS, Preprocessing, geometry_of, pipeline_in, pixels_of
from nepa_mm.errors import CheckpointError

NAME = 'preprocessor_config.json'
PROCESSORS = ('ViTImageProcessor', 'ViTImageProcessorFast', 'ViTFeatureExtractor')
# What these take for a field that their file leaves out
DEFAULTS = dict(do_resize=True, size=dict(height=224, width=224), resample=2, do_rescale=True, rescale_factor=1 / 255,
                do_normalize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3)
OTHERS = ('do_reduce_labels', 'do_flip_channel_order', 'do_pad', 'do_grayscale', 'do_thumbnail', 'do_align_long_axis')


def to_file(config: dict, image_size: int) -> dict | None:
    """The file for a model of ours; None if its config does not say how pixels are normalised.

    Without a test pipeline, as of pretraining and of a segmentor's backbone, it is as the release's, which do not say either
    how a test image is cut: ``size`` is the input's, and ``do_center_crop`` null.

    Raises:
        CheckpointError: If the file has no place for a step or for BGR, or the config contradicts itself.
    """
    pixels, pipeline = pixels_of(config), pipeline_in(config, 'test_dataloader')
    if pixels is None:
        return None
    if pixels['channels'] == 'BGR' and len(pixels['mean']) == 3:
        raise CheckpointError("BGR has no place in preprocessor_config.json: Hugging Face's processors give RGB",
                              'its config, model.data_preprocessor.to_rgb', 'keep the checkpoint in our format')
    if pipeline is None or 'decode_head' in config['model']:
        said = Preprocessing(**pixels, resize=(image_size, image_size))
        return dict(fields(said, image_size), do_center_crop=None, crop_size=None)
    return fields(Preprocessing(**pixels, **geometry_of(pipeline)), image_size)


def fields(said: Preprocessing, image_size: int) -> dict:
    """What ``ViTImageProcessorFast`` reads; ``image_size`` is what images have to be where nothing resizes them."""
    resize = said.resize or (image_size, image_size)
    return dict(
        image_processor_type='ViTImageProcessorFast',
        do_convert_rgb=len(said.mean) == 3,
        do_resize=said.resize is not None,
        size=dict(shortest_edge=resize) if isinstance(resize, int) else dict(zip(('height', 'width'), resize)),
        resample=FILTERS[said.interpolation],
        do_center_crop=said.crop is not None,
        crop_size=said.crop and dict(zip(('height', 'width'), said.crop)),
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[round(value / 255, 12) for value in said.mean],
        image_std=[round(value / 255, 12) for value in said.std])


def from_file(file: dict, release: Callable[[int], Preprocessing], image_size: int | None) -> Preprocessing:
    """What a file says.

    As the release's file is read by its own training script: where it leaves ``do_center_crop`` open and ``size`` is a square,
    that is the size of the input, and how a test image is cut to it is the script's. CheckpointError if the file is of another
    kind, says what is not supported, or another size than ``config.json``.

    Args:
        release: The script's, for an input of so many pixels a side.
        image_size: What ``config.json`` says; None without one.
    """
    kind = file.get('image_processor_type') or file.get('feature_extractor_type')
    if kind not in PROCESSORS:
        lacking = [key for key in DEFAULTS if file.get(key) is None]
        check(not lacking, f'it is for {kind!r} and leaves out {", ".join(lacking)}', 'image_processor_type')
    for key in OTHERS:
        check(not file.get(key), f'{file.get(key)!r} is not supported', key)
    file = {**DEFAULTS, **{key: value for key, value in file.items() if value is not None}}
    mean, std = scaled(file)
    resize = resize_of(file['size']) if file['do_resize'] else None
    if file.get('do_center_crop') is None and isinstance(resize, tuple) and resize[0] == resize[1]:
        said = replace(release(resize[0]), mean=mean, std=std)
    else:
        check(file['resample'] in FILTERS.values(), f'{file["resample"]!r} is no filter of Pillow, {FILTERS}', 'resample')
        crop = resize_of(file.get('crop_size')) if file.get('do_center_crop') else None
        check(not isinstance(crop, int), f'{file.get("crop_size")!r} is no height and width', 'crop_size')
        said = Preprocessing(mean, std, 'RGB', resize, {number: name for name, number in FILTERS.items()}[file['resample']], crop)
    check(image_size is None or said.size in (None, (image_size, image_size)),
          f'it makes images of {said.size} pixels, and config.json has image_size {image_size}', 'size')
    return said


def check(fits: bool, what: str, key: str) -> None:
    if not fits:
        raise CheckpointError(what, f'{NAME}, {key}', f'mend it, or take {NAME} of the model that it comes from')


def scaled(file: dict) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of pixels from 0 to 255: ``(pixels * factor - image_mean) / image_std`` is the file's order."""
    factor = file['rescale_factor'] if file['do_rescale'] else 1.
    check(is_positive(factor), f'{factor!r} is no positive number', 'rescale_factor')
    result = []
    for key, neutral in (('image_mean', 0.), ('image_std', 1.)):
        values = file[key] if file['do_normalize'] else [neutral] * 3
        values = list(values) if isinstance(values, (list, tuple)) else [values] * 3
        fits = all(is_positive(value) or key == 'image_mean' and value == 0 for value in values)
        check(fits, f'{values!r} is out of range', key)
        result.append([round(float(value / factor), 9) for value in values])
    return result[0], result[1]


def is_positive(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def resize_of(size) -> tuple[int, int] | int:
    if isinstance(size, int):
        return size, size
    keys = set(size) if isinstance(size, dict) else set()
    check(keys in ({'height', 'width'}, {'shortest_edge'}) and all(isinstance(side, int) and side > 0 for side in size.values()),
          f'{size!r} is neither height and width nor shortest_edge', 'size')
    return size['shortest_edge'] if 'shortest_edge' in keys else (size['height'], size['width'])


def read_file(folder: Path) -> dict | None:
    """The content of a folder's file; None without one, CheckpointError if it is no JSON."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f'no JSON ({error})', str(path), 'mend it, or download it again') from error
    if not isinstance(content, dict):
        raise CheckpointError(f'it holds a {type(content).__name__}, not settings', str(path), 'mend it, or download it again')
    return content


def images_of(address: str, file: dict | None, release: Callable[[int], Preprocessing], image_size: int,
              is_sure: bool) -> Preprocessing:
    """What a folder's file says, as :func:`from_file`; without one the release's, and a warning says so.

    ``is_sure`` says whether ``config.json`` has the size.
    """
    if file is not None:
        return from_file(file, release, image_size if is_sure else None)
    assumed = release(image_size)
    print_log(f'{address} has no {NAME}: images are assumed to be prepared as in the release, mean {assumed.mean}, std '
              f'{assumed.std} of pixels from 0 to 255, {assumed.interpolation}, a centre crop of {image_size}', 'current',
              logging.WARNING)
    return assumed
