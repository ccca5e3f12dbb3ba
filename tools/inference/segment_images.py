"""Say what every pixel of images is, by a segmentor: mmseg's inference_model from the command line.

    python tools/inference/segment_images.py street.jpg frames/ CHECKPOINT --out-dir segmented
    python tools/inference/segment_images.py street.jpg CONFIG --checkpoint CHECKPOINT --out-dir segmented --opacity 0.5

Writes ``pred/``, label maps of class numbers from 0, and ``vis/``, pictures, and prints the share of the largest classes.
analysis_tools/compute_miou.py reads the maps.
"""
import argparse
import sys
from pathlib import Path

import nepa_mm  # noqa: F401, before the hosts: see host_imports.py

# isort: split
import numpy as np
from mmseg.apis import inference_model
from mmseg.models import BaseSegmentor
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from nepa_mm.apis.images import picture_of
from nepa_mm.apis.inference_tools import add_arguments, label_map_paths, model_and_loader, picture_paths, run
from nepa_mm.datasets.sources.find_images import find_images
from nepa_mm.engine.checks.seg_model_checks import classes_of
from nepa_mm.errors import CheckpointError, ConfigError, one_line_errors
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--out-dir', type=Path, help='folder to write label maps and pictures to')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the classes over the image; default: 0.5')
    return parser.parse_args()


def names_and_colours(model: BaseSegmentor) -> tuple[list[str], list]:
    """Classes and their colours as the checkpoint says; numbers and colours drawn at random if it does not.

    A model of one output that names one class tells what is not it as well, as 0.
    """
    facts, count = model.dataset_meta or {}, classes_of(model.decode_head)
    random = np.random.default_rng(0).integers(0, 256, (count, 3)).tolist()
    classes, palette = list(facts.get('classes') or map(str, range(count))), facts.get('palette') or random
    if len(classes) == 1 < count:
        return [f'not {classes[0]}', *classes], [[0, 0, 0], *palette[:1]]
    return classes, palette


def main() -> int:
    args = parse_args()
    require_new(folder=args.out_dir)
    if not 0 < args.opacity <= 1:
        raise ConfigError(f'{args.opacity} is not in (0, 1]', '--opacity', 'give a share, such as 0.5')
    paths = find_images(args.inputs)
    model, load = model_and_loader(args)
    if not isinstance(model, BaseSegmentor):
        raise CheckpointError(f'a {type(model).__name__}, which labels no pixels', args.model,
                              'train a segmentor first (configs/segmentation), or see classify_images.py and extract_features.py')
    classes, palette = names_and_colours(model)
    visualizer = SegLocalVisualizer(alpha=args.opacity)
    visualizer.dataset_meta = dict(classes=classes, palette=palette)
    if args.out_dir:
        maps, pictures = label_map_paths(args.out_dir / 'pred', paths), picture_paths(args.out_dir / 'vis', paths)

    def receive(path, image, sample):
        labels = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
        numbers, counts = np.unique(labels, return_counts=True)
        largest = sorted(zip(counts, numbers), reverse=True)[:3]
        said = [f'{classes[number]} {100 * count / labels.size:.1f} %' for count, number in largest]
        print(f'{path}: {", ".join(said)}', flush=True)
        if args.out_dir:
            for place in (maps[path], pictures[path]):
                place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(maps[path])
            visualizer.add_datasample('', picture_of(image), sample, draw_gt=False, out_file=str(pictures[path]))

    model.cfg.test_pipeline[0] = dict(type='LoadImageFromNDArray')  # mmseg would leave it the arguments of the other loader
    return run(paths, args.batch_size, load, lambda images: inference_model(model, images), receive, one_size=True)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
