"""Say what is on images, by a classifier.

    python tools/inference/classify_images.py dog.jpg photos/ CHECKPOINT --topk 5 --out classes.json --show-dir pictures
    python tools/inference/classify_images.py test/ CHECKPOINT --out classes.csv
    python tools/inference/classify_images.py frames.txt hf:SixAILab/nepa-base-patch14-224-sft --batch-size 64

Prints a line for each image. An image that cannot be used costs one line on standard error and the exit code 3.

What is done lies in ``OUT.unfinished`` until all is: the same command goes on with it after it was killed.
"""
import argparse

from nepa_mm.arguments import add_inference, add_ranking, check_numbers, check_topk
from nepa_mm.errors import CheckpointError, run_command
from nepa_mm.find_images import find_images
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inference(parser)
    add_ranking(parser, 1, 'classes to name')
    args = parser.parse_args()
    require_new(args.out, folder=args.show_dir)
    check_numbers(args)
    args.paths = find_images(args.inputs)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from mmpretrain.models import ImageClassifier
from mmpretrain.visualization import UniversalVisualizer

from nepa_mm.apis.inference_tools import inference_of, names_of_outputs, rank
from nepa_mm.apis.predictions import best_classes
from nepa_mm.apis.unfinished import facts_of


def main(args: argparse.Namespace) -> int:
    inference = inference_of(args)
    model = inference.model
    if not isinstance(model, ImageClassifier):
        raise CheckpointError(f'a {type(model).__name__}, which names no classes', args.model,
                              'fine-tune it first (configs/classification), or see extract_features.py and segment_images.py')
    count = model.head.num_classes
    check_topk(args.topk, count, f'the classes of {args.model}')
    visualizer, classes = UniversalVisualizer(), (model._dataset_meta or {}).get('classes')
    if classes:
        classes = names_of_outputs(classes, count)

    def named(labels):
        names = [classes[label] if classes else str(label) for label in labels]
        return names, dict(labels=labels, classes=names)

    def draw(picture, sample, out_file):
        visualizer.visualize_cls(picture, sample, classes=classes, resize=max(224, min(picture.shape[:2])), draw_gt=False,
                                 out_file=out_file)

    facts = facts_of(model, args.paths, amp=args.amp, topk=args.topk) if args.out or args.show_dir else {}
    return rank(args, inference, args.paths, best_classes(model, args.topk), named, draw, facts, count)


run_command(main, args)
