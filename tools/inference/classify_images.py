"""Say what is on images, by a classifier: mmpretrain's ImageClassificationInferencer from the command line.

    python tools/inference/classify_images.py dog.jpg photos/ CHECKPOINT --topk 5 --out classes.json --show-dir pictures
    python tools/inference/classify_images.py frames.txt hf:SixAILab/nepa-base-patch14-224-sft --batch-size 64

Prints a line for each image. An image that cannot be used costs one line on standard error and the exit code 3.
"""
import argparse
import sys

import nepa_mm  # noqa: F401, before the hosts: see host_imports.py

# isort: split
from mmpretrain import ImageClassificationInferencer
from mmpretrain.models import ImageClassifier
from mmpretrain.visualization import UniversalVisualizer

from nepa_mm.apis.inference_tools import add_arguments, add_ranking, check_topk, model_and_loader, rank
from nepa_mm.datasets.sources.find_images import find_images
from nepa_mm.errors import CheckpointError, one_line_errors
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    add_ranking(parser, 1, 'classes to name')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    require_new(args.out, folder=args.show_dir)
    paths = find_images(args.inputs)
    model, load = model_and_loader(args)
    if not isinstance(model, ImageClassifier):
        raise CheckpointError(f'a {type(model).__name__}, which names no classes', args.model,
                              'fine-tune it first (configs/classification), or see extract_features.py and segment_images.py')
    check_topk(args.topk, model.head.num_classes, f'the classes of {args.model}')
    inferencer, visualizer = ImageClassificationInferencer(model), UniversalVisualizer()
    classes = inferencer.classes

    def named(labels):
        names = [classes[label] if classes else str(label) for label in labels]
        return names, dict(labels=labels, classes=names)

    def draw(picture, sample, out_file):
        visualizer.visualize_cls(picture, sample, classes=classes, resize=max(224, min(picture.shape[:2])), draw_gt=False,
                                 out_file=out_file)

    return rank(args, paths, load, lambda images: inferencer(images, True, len(images)), named, draw)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
