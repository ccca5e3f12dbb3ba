"""Write a feature vector of every image.

    python tools/inference/extract_features.py photos/ hf:SixAILab/nepa-base-patch14-224 --out features.npz
    python tools/dist_run.py --nproc_per_node 8 tools/inference/extract_features.py photos/ CHECKPOINT --amp --out features.npy

The file has ``paths`` [N] and ``features`` [N, D]: what a classifier classifies; of a pretrained model, the mean patch token.
A .npy has the features alone, to be mapped into memory, and a .txt beside it the paths, one a line.

What is done lies in ``OUT.unfinished`` until all is: the same command goes on with it after it was killed.
"""
import argparse
import zipfile
from pathlib import Path

from nepa_mm.arguments import add_inference, check_numbers
from nepa_mm.errors import is_first_process, run_command
from nepa_mm.find_images import find_images
from nepa_mm.new_files import new_file, require_new


def paths_beside(out: Path) -> list[Path]:
    """The file of the paths, if that is one of its own."""
    return [out.with_suffix('.txt')] if out.suffix.lower() == '.npy' else []


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inference(parser)
    parser.add_argument('--out', type=Path, required=True, help='.npz to write, or .npy')
    args = parser.parse_args()
    require_new(args.out, suffixes=['.npz', '.npy'])
    require_new(*paths_beside(args.out))
    check_numbers(args)
    args.paths = find_images(args.inputs)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

import numpy as np

from nepa_mm.apis.inference_tools import inference_of, write_npy
from nepa_mm.apis.predictions import features, vectors_of
from nepa_mm.apis.run_model import exit_code
from nepa_mm.apis.several_processes import await_others
from nepa_mm.apis.unfinished import Rows, facts_of, say_done


def write(out: Path, paths: list[Path], rows: Rows) -> None:
    """What was found, as ``np.savez`` or ``np.save`` writes it, a piece at a time."""
    names = [str(paths[index]) for index in rows.indices()]
    first = next(rows.blocks())['features']
    blocks = (block['features'] for block in rows.blocks())
    described = first.dtype, (len(names), *first.shape[1:]), blocks
    if out.suffix.lower() == '.npy':
        # Both are complete before one has its name: where one is there, nothing goes on
        with new_file(paths_beside(out)[0]) as beside, new_file(out) as temporary, open(temporary, 'wb') as file:
            beside.write_text(''.join(f'{name}\n' for name in names), errors='surrogateescape')
            write_npy(file, *described)
        return
    with new_file(out) as temporary, zipfile.ZipFile(temporary, 'w') as archive:
        with archive.open('paths.npy', 'w', force_zip64=True) as file:
            np.save(file, np.array(names))
        with archive.open('features.npy', 'w', force_zip64=True) as file:
            write_npy(file, *described)


def main(args: argparse.Namespace) -> int:
    inference = inference_of(args)
    rows = Rows(len(args.paths), args.out, facts_of(inference.model, args.paths, amp=args.amp))
    say_done(rows.done.sum(), len(args.paths))
    failed = inference.run(args.paths, features(vectors_of(inference.model)), rows.add, rows.done.copy())
    rows.write()
    code = exit_code(failed, len(args.paths))
    if is_first_process():
        rows.look()
        if rows.done.any():
            write(args.out, args.paths, rows)
            width = next(rows.blocks())['features'].shape[1]
            print(f'{args.out}: features of {rows.done.sum()} images, {width} numbers each')
        rows.finish()
    await_others()
    return code


run_command(main, args)
