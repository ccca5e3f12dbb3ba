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

from nepa_mm.apis.get_retriever import get_feature_model, retriever_of
from nepa_mm.apis.images import picture_of
from nepa_mm.apis.inference_tools import INPUT_HELP, add_arguments, loader_of, model_of, picture_path, run, write_json
from nepa_mm.datasets.sources.find_images import find_images
from nepa_mm.errors import ConfigError, DataError, one_line_errors
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--prototype', metavar='INPUT', nargs='+', required=True, help=f'where to search: {INPUT_HELP}')
    parser.add_argument('--topk', type=int, default=3, help='images to find, best first; default: 3')
    parser.add_argument('--out', type=Path, help='JSON file to write the matches to')
    parser.add_argument('--show-dir', type=Path, help='folder to write each image beside its matches to')
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
    if not 1 <= args.topk <= len(searched):
        raise ConfigError(f'{args.topk} is not in [1, {len(searched)}], the number of images of --prototype', '--topk',
                          'choose from these')
    retriever = retriever_of(model_of(args, get_feature_model))
    load = loader_of(retriever)
    extractor, prototypes, vectors = FeatureExtractor(retriever), [], []

    def keep(path, image, feature):
        prototypes.append(path)
        vectors.append(feature)

    failed = run(searched, args.batch_size, load, lambda images: extractor(images, len(images)), keep)
    if len(prototypes) < args.topk:
        raise DataError(f'{args.topk}: only {len(prototypes)} of the {searched} images of --prototype can be used', '--topk',
                        'lower it, or mend the others')
    retriever.prototype = torch.stack(vectors)
    inferencer = FoundImages(retriever, prototype=prototypes)
    visualizer, records = UniversalVisualizer(), []

    def receive(path, image, sample):
        scores, indices = sample.pred_score.topk(args.topk)
        found = [str(prototypes[i]) for i in indices.tolist()]
        print(f'{path}: ' + ', '.join(f'{name} {score:.4f}' for name, score in zip(found, scores.tolist())), flush=True)
        records.append(dict(path=str(path), matches=found, scores=scores.tolist()))
        if args.show_dir:
            visualizer.visualize_image_retrieval(picture_of(image), sample, inferencer.prototype_dataset, topk=args.topk,
                                                 out_file=str(picture_path(args.show_dir, path, queries)))

    code = run(queries, args.batch_size, load, lambda images: inferencer(images, True, len(images)), receive)
    write_json(args.out, records)
    return code or failed


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
