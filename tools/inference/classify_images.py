"""Say what is on images, by a classifier: mmpretrain's ImageClassificationInferencer from the command line.

    python tools/inference/classify_images.py dog.jpg photos/ CHECKPOINT --topk 5 --out classes.json --show-dir pictures
    python tools/inference/classify_images.py frames.txt hf:SixAILab/nepa-base-patch14-224-sft --batch-size 64

Prints a line for each image. An image that cannot be used costs one line on standard error and the exit code 3.
"""
import argparse
import sys
from pathlib import Path

import nepa_mm  # noqa: F401, before the hosts: see host_imports.py

# isort: split
from mmpretrain import ImageClassificationInferencer
from mmpretrain.models import ImageClassifier
from mmpretrain.visualization import UniversalVisualizer

from nepa_mm.apis.images import picture_of
from nepa_mm.apis.inference_tools import add_arguments, loader_of, model_of, picture_path, run, write_json
from nepa_mm.datasets.sources.find_images import find_images
from nepa_mm.errors import CheckpointError, ConfigError, one_line_errors
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--topk', type=int, default=1, help='classes to name, best first; default: 1')
    parser.add_argument('--out', type=Path, help='JSON file to write the classes and scores to')
    parser.add_argument('--show-dir', type=Path, help='folder to write the images with their class to')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    require_new(args.out, folder=args.show_dir)
    paths, model = find_images(args.inputs), model_of(args)
    if not isinstance(model, ImageClassifier):
        raise CheckpointError(f'a {type(model).__name__}, which names no classes', args.model,
                              'fine-tune it first (configs/classification), or see extract_features.py and segment_images.py')
    load = loader_of(model)
    inferencer, records, visualizer = ImageClassificationInferencer(model), [], UniversalVisualizer()
    classes = inferencer.classes

    def receive(path, image, sample):
        scores, labels = sample.pred_score.topk(args.topk)
        names = [classes[label] if classes else str(label) for label in labels.tolist()]
        print(f'{path}: ' + ', '.join(f'{name} {score:.4f}' for name, score in zip(names, scores.tolist())), flush=True)
        records.append(dict(path=str(path), labels=labels.tolist(), classes=names, scores=scores.tolist()))
        if args.show_dir:
            visualizer.visualize_cls(
                picture_of(image), sample, classes=classes, resize=max(224, min(image.shape[:2])), draw_gt=False,
                out_file=str(picture_path(args.show_dir, path, paths)))

    if not 1 <= args.topk <= model.head.num_classes:
        raise ConfigError(f'{args.topk} is not in [1, {model.head.num_classes}], the classes of {args.model}', '--topk',
                          'choose from these')
    code = run(paths, args.batch_size, load, lambda images: inferencer(images, True, len(images)), receive)
    write_json(args.out, records)
    return code


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
