"""Find the images most like an image.

    python tools/inference/retrieve_images.py dog.jpg hf:SixAILab/nepa-base-patch14-224 --prototype photos/ --topk 5

Prints for each image those of ``--prototype`` that are most like it, with the cosine of their features.

With ``--out``, what is done lies beside it until all is: the same command goes on with it after it was killed.
"""
import argparse
import os
from types import SimpleNamespace

from nepa_mm.arguments import INPUT_HELP, add_inference, add_ranking, check_numbers, check_topk
from nepa_mm.errors import ConfigError, DataError, is_first_process, run_command
from nepa_mm.find_images import find_images
from nepa_mm.new_files import require_new


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inference(parser)
    parser.add_argument('--prototype', metavar='INPUT', nargs='+', required=True, help=f'where to search: {INPUT_HELP}')
    add_ranking(parser, 3, 'images to find')
    args = parser.parse_args()
    require_new(args.out, folder=args.show_dir)
    if args.out is None and int(os.environ.get('WORLD_SIZE', 1)) > 1:
        raise ConfigError('several processes put their results together in a file', '--out', 'name it, or start one process')
    check_numbers(args)
    args.queries, args.searched = find_images(args.inputs), find_images(args.prototype)
    check_topk(args.topk, len(args.searched), 'the number of images of --prototype')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np
import torch
from mmpretrain.visualization import UniversalVisualizer

from nepa_mm.apis.images import picture_at
from nepa_mm.apis.inference_tools import inference_of, rank
from nepa_mm.apis.predictions import best_matches, features, vectors_of
from nepa_mm.apis.run_model import exit_code
from nepa_mm.apis.several_processes import await_others
from nepa_mm.apis.unfinished import Rows, digest, facts_of


def main(args: argparse.Namespace) -> int:
    inference = inference_of(args)
    vectors = vectors_of(inference.model)
    facts = facts_of(inference.model, args.searched, amp=args.amp) if args.out or args.show_dir else {}
    rows = Rows(len(args.searched), args.out and args.out.with_name(f'{args.out.name}.prototypes'), facts)
    failed = inference.run(args.searched, features(vectors), rows.add, rows.done.copy())
    rows.write()
    failed = exit_code(failed, len(args.searched))
    rows.look()
    found = rows.indices()
    if len(found) < args.topk:
        raise DataError(f'{args.topk}: only {len(found)} of the {len(args.searched)} images of --prototype can be used', '--topk',
                        'lower it, or mend the others')
    searched = torch.from_numpy(np.concatenate([block['features'] for block in rows.blocks()])).to(inference.device)
    names = [str(args.searched[index]) for index in found]
    visualizer = UniversalVisualizer()
    # mmcv.imread, by which the visualizer would read it by itself, leaves an array in BGR as it is
    dataset = SimpleNamespace(get_data_info=lambda i: dict(img_path=picture_at(names[i], inference.load)[..., ::-1]))

    def named(labels):
        matches = [names[label] for label in labels]
        return matches, dict(matches=matches)

    def draw(picture, sample, out_file):
        visualizer.visualize_image_retrieval(picture, sample, dataset, topk=args.topk, out_file=out_file)

    facts = dict(facts, images=digest('\n'.join(map(str, args.queries))), prototypes=digest('\n'.join(names)),
                 topk=str(args.topk))
    code = rank(args, inference, args.queries, best_matches(vectors, searched, args.topk), named, draw, facts, len(names),
                'match')
    if is_first_process():
        rows.finish()
    await_others()
    return code or failed


run_command(main, args)
