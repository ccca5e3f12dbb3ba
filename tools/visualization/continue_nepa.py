"""Let a pretrained model go on from the first rows of an image, and show what it predicts by the nearest real patches.

    python tools/visualization/continue_nepa.py photos/ work_dirs/nepa/epoch_1600.pth -o continued.png
    python tools/visualization/continue_nepa.py dog.jpg cat.jpg hf:SixAILab/nepa-base-patch14-224 --rows 4 --bank photos/

For each image: the original, what is given, the continuation from the model's own predictions, each patch predicted from the real
ones before it, and, with nothing predicted, the patches nearest to the true ones. A patch shown is the one of a bank whose
embedding has the largest cosine with the prediction: no pixel is generated. docs/visualization.md says how to read it.
"""
import argparse
from pathlib import Path

from nepa_mm.arguments import INPUT_HELP, add_drawing, add_inputs, require_least
from nepa_mm.errors import ConfigError, run_command
from nepa_mm.find_images import find_images
from nepa_mm.new_files import require_new

MOST = 16  # images in a figure
MOST_IN_BANK = 1000  # whose embeddings take some 800 MB of a base model
FORMATS = ('.png', '.pdf', '.svg', '.jpg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inputs(parser)
    add_drawing(parser)
    parser.add_argument('-o', '--out', type=Path, default=Path('continued.png'), help=f'picture to write: {", ".join(FORMATS)}')
    parser.add_argument('--rows', type=int, help='rows of patches that are given; default: half of them')
    parser.add_argument('--bank', nargs='+', metavar='INPUT',
                        help=f'what patches are taken from: {INPUT_HELP}; default: the images themselves. An image is never '
                        'continued by patches of its own')
    parser.add_argument('--dpi', type=int, default=120, help='dots per inch of a picture of pixels')
    args = parser.parse_args()
    require_least(args, 1, 'rows', 'dpi')
    require_new(args.out, suffixes=FORMATS, overwrite=args.overwrite)
    args.paths = find_images(args.inputs)
    if len(args.paths) > MOST:
        raise ConfigError(f'{len(args.paths)} images are too many for one figure', 'arguments', f'name at most {MOST}')
    args.bank_paths = list({path.resolve(): path for path in find_images(args.bank or args.inputs)}.values())
    if len(args.bank_paths) > MOST_IN_BANK:
        raise ConfigError(f'{len(args.bank_paths)} images are too many for a bank', '--bank', f'name at most {MOST_IN_BANK}')
    if len(args.bank_paths) == 1 and args.bank_paths[0].resolve() in [path.resolve() for path in args.paths]:
        raise ConfigError('an image is not continued by its own patches, and there is no other', '--bank',
                          'name images or a folder to take patches from')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.apis.load_model import model_of
from nepa_mm.checkpoints.preprocessing import bands_in
from nepa_mm.visualization import PatchBank, draw_continuations
from nepa_mm.visualization.read_image import image_size, pixels_of, read_image


def main(args: argparse.Namespace) -> None:
    model = model_of(args)
    size, bands = image_size(model, args.size), bands_in(model._config)
    pixels, others = (pixels_of([read_image(path, bands=bands) for path in paths], size)
                      for paths in (args.paths, args.bank_paths))
    rows = args.rows or max(1, model.backbone.grid(size)[0] // 2)
    numbers = {path.resolve(): number for number, path in enumerate(args.bank_paths)}
    own = [numbers.get(path.resolve()) for path in args.paths]
    names = [path.name for path in args.paths]
    figure = draw_continuations(model, pixels, rows, PatchBank.of(model, others), own, names)
    figure.savefig(args.out, dpi=args.dpi, bbox_inches='tight')
    print(f'{args.out}: {len(names)} image{"s" * (len(names) > 1)} of {size[1]} x {size[0]} pixels, {rows} '
          f'row{"s" * (rows > 1)} given, patches of {len(args.bank_paths)} images')


run_command(main, args)
