"""Say what every pixel of images is, by a segmentor.

    python tools/inference/segment_images.py street.jpg frames/ CHECKPOINT --out-dir segmented
    python tools/inference/segment_images.py street.jpg CONFIG --checkpoint CHECKPOINT --out-dir segmented --opacity 0.5

Writes ``pred/``, label maps of class numbers from 0, and ``vis/``, pictures, and prints the share of the largest classes.
analysis_tools/compute_miou.py reads the maps. The same command goes on with what it has not yet written after it was killed.

TIFF images of more than 4096 x 4096 pixels are never whole in memory: the windows of slide mode are read from the file, and label
maps are tiled TIFFs. The labels are those of the whole image. The test pipeline must not resize. --windows is for smaller ones.
"""
import argparse
from pathlib import Path

from nepa_mm.arguments import ELSEWHERE, add_inference, check_numbers
from nepa_mm.errors import CheckpointError, ConfigError, is_first_process, run_command
from nepa_mm.find_images import find_images
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inference(parser)
    parser.add_argument('--out-dir', type=Path, help='folder to write label maps and pictures to')
    parser.add_argument('--windows', action='store_true', help='read windows of all images, which are TIFFs; default: of those '
                        'of more than 4096 x 4096 pixels')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the classes over the image; default: 0.5')
    args = parser.parse_args()
    require_new(folder=args.out_dir)
    check_numbers(args)
    if not 0 < args.opacity <= 1:
        raise ConfigError(f'{args.opacity} is not in (0, 1]', '--opacity', 'give a share, such as 0.5')
    args.paths = find_images(args.inputs)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from nepa_mm.apis.images import picture_at
from nepa_mm.apis.inference_tools import inference_of, label_map_paths, names_of_outputs, picture_paths
from nepa_mm.apis.large_images import LargeImages
from nepa_mm.apis.predictions import label_maps
from nepa_mm.apis.run_model import exit_code
from nepa_mm.apis.several_processes import await_others, share_of
from nepa_mm.apis.unfinished import Unfinished, facts_of, say_done
from nepa_mm.engine.checks.seg_model_checks import classes_of


def names_and_colours(model: BaseSegmentor) -> tuple[list[str], list]:
    """Classes and their colours as the checkpoint says; numbers and colours drawn at random where it does not.

    A model of one output that names one class tells what is not it as well, as 0.
    """
    facts, count = model.dataset_meta or {}, classes_of(model.decode_head)
    random = np.random.default_rng(0).integers(0, 256, (count, 3)).tolist()
    classes, palette = facts.get('classes') or (), facts.get('palette') or ()
    classes, palette = names_of_outputs(classes, count), [*palette, *random[len(palette):]]
    if len(facts.get('classes') or ()) == 1 and count == 2:
        return [f'not {classes[0]}', classes[0]], [[0, 0, 0], palette[0]]
    return classes, palette


def main(args: argparse.Namespace) -> int:
    inference, paths = inference_of(args, on_gpu=ELSEWHERE), list(dict.fromkeys(args.paths))
    model = inference.model
    if not isinstance(model, BaseSegmentor):
        raise CheckpointError(f'a {type(model).__name__}, which labels no pixels', args.model,
                              'train a segmentor first (configs/segmentation), or see classify_images.py and extract_features.py')
    classes, palette = names_and_colours(model)
    visualizer = SegLocalVisualizer(alpha=args.opacity)
    visualizer.dataset_meta = dict(classes=classes, palette=palette)
    done = unfinished = None
    in_windows = LargeImages(inference, args.windows)
    large = [path for path in paths if in_windows.include(path)]
    usual = [path for path in paths if path not in set(large)] if large else paths
    waiting = large
    if args.out_dir:
        maps, pictures = label_map_paths(args.out_dir / 'pred', paths), picture_paths(args.out_dir / 'vis', paths)
        maps.update({path: maps[path].with_suffix('.tif') for path in large})
        unfinished = Unfinished(args.out_dir, facts_of(model, paths, amp=args.amp, opacity=args.opacity,
                                                        windows=args.windows))
        done = np.array([maps[path].exists() for path in usual], bool)
        waiting = [path for path in large if not maps[path].exists()]
        say_done(done.sum() + len(large) - len(waiting), len(paths))
        await_others()  # until each has looked

    def say(path, counts):
        largest = sorted(((count, number) for number, count in enumerate(counts.tolist()) if count), reverse=True)[:3]
        said = [f'{classes[number]} {100 * count / counts.sum():.1f} %' for count, number in largest]
        print(f'{path}: {", ".join(said)}', flush=True)

    def receive(indices, columns):
        for index, labels in zip(indices, columns['maps']):
            path = usual[index]
            say(path, np.bincount(labels.ravel()))
            if unfinished:
                draw(path, picture_at(path, inference.load), labels)
                temporary = maps[path].with_suffix('.tmp')
                maps[path].parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(labels).save(temporary, format='PNG')
                temporary.replace(maps[path])  # the last of an image, and whole: what is there is done

    def draw(path, image, labels):
        pictures[path].parent.mkdir(parents=True, exist_ok=True)
        sample = SegDataSample(pred_sem_seg=PixelData(data=torch.from_numpy(labels)[None].long()))
        visualizer.add_datasample('', image, sample, draw_gt=False, out_file=str(pictures[path]))

    failed = inference.run(usual, label_maps(model), receive, done, samples=True)
    for path in share_of(waiting):
        failed += in_windows.label(path, maps[path] if unfinished else None, say, draw)
    code = exit_code(failed, len(paths))
    if unfinished and is_first_process():
        unfinished.finish()
    await_others()
    return code


run_command(main, args)
