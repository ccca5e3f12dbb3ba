"""Find the images most like an image: mmpretrain's ImageRetrievalInferencer from the command line.

    python tools/inference/retrieve_images.py dog.jpg hf:SixAILab/nepa-base-patch14-224 --prototype photos/ --topk 5

Prints for each image those of ``--prototype`` that are most like it, with the cosine of their features.
"""
import argparse
import sys
from pathlib import Path

import nepa_mm  # noqa: F401, before the hosts: see host_imports.py

# isort: split
import torch
from mmengine.dataset import BaseDataset
from mmpretrain import FeatureExtractor, ImageRetrievalInferencer
from mmpretrain.visualization import UniversalVisualizer

from nepa_mm.apis.arguments import INPUT_HELP
from nepa_mm.apis.get_retriever import retriever_of
from nepa_mm.apis.inference_tools import add_arguments, add_ranking, check_topk, model_and_loader, rank, run
from nepa_mm.datasets.sources.find_images import find_images
from nepa_mm.errors import DataError, one_line_errors
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--prototype', metavar='INPUT', nargs='+', required=True, help=f'where to search: {INPUT_HELP}')
    add_ranking(parser, 3, 'images to find')
    return parser.parse_args()


class FoundImages(ImageRetrievalInferencer):
    """The host's inferencer, of images whose features are there already."""

    def _prepare_prototype(self, prototype: list[Path], *args) -> BaseDataset:
        dataset = BaseDataset(lazy_init=True, serialize_data=False)
        dataset.data_list = [dict(img_path=str(path), sample_idx=i) for i, path in enumerate(prototype)]
        dataset._fully_initialized = True  # there is no file of annotations to read
        return dataset


def main() -> int:
    args = parse_args()
    require_new(args.out, folder=args.show_dir)
    queries, searched = find_images(args.inputs), find_images(args.prototype)
    check_topk(args.topk, len(searched), 'the number of images of --prototype')
    model, load = model_and_loader(args)
    retriever = retriever_of(model)
    extractor, prototypes, vectors = FeatureExtractor(retriever), [], []

    def keep(path, image, feature):
        prototypes.append(path)
        vectors.append(feature)

    failed = run(searched, args.batch_size, load, lambda images: extractor(images, len(images)), keep)
    if len(prototypes) < args.topk:
        raise DataError(f'{args.topk}: only {len(prototypes)} of the {len(searched)} images of --prototype can be used', '--topk',
                        'lower it, or mend the others')
    retriever.prototype = torch.stack(vectors)
    inferencer = FoundImages(retriever, prototype=prototypes)
    visualizer = UniversalVisualizer()

    def named(indices):
        names = [str(prototypes[i]) for i in indices]
        return names, dict(matches=names)

    def draw(picture, sample, out_file):
        visualizer.visualize_image_retrieval(picture, sample, inferencer.prototype_dataset, topk=args.topk, out_file=out_file)

    return rank(args, queries, load, lambda images: inferencer(images, True, len(images)), named, draw) or failed


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
