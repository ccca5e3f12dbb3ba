"""Write a feature vector of every image: mmpretrain's FeatureExtractor from the command line.

    python tools/inference/extract_features.py photos/ hf:SixAILab/nepa-base-patch14-224 --out features.npz

The file has ``paths`` [N] and ``features`` [N, D]: what a classifier classifies; of a pretrained model, the mean patch token.
"""
import argparse
import sys
from pathlib import Path

import nepa_mm  # noqa: F401, before the hosts: see host_imports.py

# isort: split
import numpy as np
from mmpretrain import FeatureExtractor

from nepa_mm.apis.get_retriever import retriever_of
from nepa_mm.apis.inference_tools import add_arguments, model_and_loader, run
from nepa_mm.datasets.sources.find_images import find_images
from nepa_mm.errors import one_line_errors
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--out', type=Path, required=True, help='.npz to write')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    require_new(args.out, suffixes=['.npz'])
    model, load = model_and_loader(args)
    extractor, paths, features = FeatureExtractor(retriever_of(model)), [], []  # paths of those that could be read

    def receive(path, image, feature):
        paths.append(str(path))
        features.append(feature.float().cpu().numpy())

    code = run(find_images(args.inputs), args.batch_size, load, lambda images: extractor(images, len(images)), receive)
    if features:
        np.savez(args.out, paths=np.array(paths), features=np.stack(features))
        print(f'{args.out}: features of {len(features)} images, {len(features[0])} numbers each')
    return code


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
