"""Other decoders of JPEGs in the pretraining loader, and DALI's loader: those of them that are installed.

    pip install simplejpeg torchcodec kornia-rs nvidia-dali-cuda130   # DALI's pipeline for the CPU needs no GPU
"""
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from mmengine.dataset import Compose

from nepa_mm.errors import DataError


def decoders() -> dict[str, Callable[[bytes], np.ndarray]]:
    """By name, each from a file's bytes to RGB [H, W, 3]."""
    found = {}
    if find_spec('simplejpeg'):
        import simplejpeg
        found['simplejpeg'] = simplejpeg.decode_jpeg
    if find_spec('torchcodec'):
        from torchcodec.decoders import decode_jpeg
        found['torchcodec'] = lambda content: decode_jpeg(content).permute(1, 2, 0).numpy()
    if find_spec('kornia_rs'):
        from kornia_rs.io import decode_image_jpegturbo
        found['kornia-rs'] = lambda content: np.asarray(decode_image_jpegturbo(content, 'rgb'))
    return found


def loaders(steps: list[dict]) -> dict[str, Callable[[str], np.ndarray]]:
    """By decoder, a pipeline's steps behind the loading; each from a path to an image."""
    pipeline = Compose(steps)

    def of(name: str, decode: Callable) -> Callable:
        def load(path: str):
            with open(path, 'rb') as file:
                content = file.read()
            try:
                return pipeline(dict(img=decode(content)[..., ::-1], img_path=path))['inputs']
            except (ValueError, RuntimeError) as error:  # not a JPEG, or CMYK
                raise DataError(f'{name} cannot decode it ({error})', path, 'take it out of DATA_DIR') from error
        return load

    return {name: of(name, decode) for name, decode in decoders().items()}


def measure_dali(paths: list[str], repeats: int, batch_size: int = 25) -> dict[str, list[float]]:
    """Microseconds of CPU an image of DALI's pipeline for the CPU in each repeat: its own crops, decoded alone, in one thread."""
    if not find_spec('nvidia') or not find_spec('nvidia.dali'):
        return {}
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=batch_size, num_threads=1, device_id=None, seed=0, exec_async=False, exec_pipelined=False,
                  prefetch_queue_depth=1)
    def pipeline():
        content, _ = fn.readers.file(files=paths, prefetch_queue_depth=1)
        crop = fn.decoders.image_random_crop(content, random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3])
        image = fn.resize(crop, size=[224, 224], interp_type=types.INTERP_LINEAR, antialias=True)
        return fn.crop_mirror_normalize(image, mirror=fn.random.coin_flip(), dtype=types.UINT8, output_layout='CHW')

    built, batches, times = pipeline(), -(-len(paths) // batch_size), []
    built.build()
    for _ in range(repeats + 1):  # the first is to warm up
        begin = time.process_time()  # it has a thread of its own
        for _ in range(batches):
            built.run()
        times.append((time.process_time() - begin) / batches / batch_size * 1e6)
    return {'DALI': times[1:]}
