"""Draw what query patches look at and what they predict: the triplets of NEPA's Figures 5 and 9.

    python tools/visualization/vis_nepa.py dog.jpg cat.jpg hf:SixAILab/nepa-base-patch14-224 -o triplets.png
    python tools/visualization/vis_nepa.py photos/ work_dirs/nepa/epoch_1600.pth -o heads.pdf --layers 5 11 --heads all

For each image and query: the image with the query, the attention that the query pays to what it has seen, and the cosine of what
it predicts with the embedding of every patch. docs/visualization.md says how to read them.
"""
import argparse
from pathlib import Path

from nepa_mm.arguments import add_drawing, add_inputs, parsed_choice, parsed_query, require_least
from nepa_mm.errors import ConfigError, run_command
from nepa_mm.find_images import find_images
from nepa_mm.new_files import require_new

MOST = 32  # images in a figure: each takes a second to lay out, and more make pictures that nobody can read
FORMATS = ('.png', '.pdf', '.svg', '.jpg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_inputs(parser)
    add_drawing(parser)
    parser.add_argument('-o', '--out', type=Path, default=Path('query_patches.png'),
                        help=f'picture to write: {", ".join(FORMATS)}')
    parser.add_argument('--queries', nargs='+', metavar='ROW,COLUMN',
                        help='query patches, from 0,0 at the top left; default: an early, a middle and a late one')
    parser.add_argument('--layers', nargs='+', default=['-1'], metavar='LAYER',
                        help="blocks whose attention is drawn, from 0 or, as -1, from the last; or 'all', or 'mean' of all")
    parser.add_argument('--heads', nargs='+', default=['mean'], metavar='HEAD', help="heads likewise; default: 'mean' of all")
    parser.add_argument('--columns', type=int, help='triplets side by side; default: all queries of an image')
    parser.add_argument('--dpi', type=int, default=120, help='dots per inch of a picture of pixels')
    args = parser.parse_args()
    args.queries = args.queries and [parsed_query(text) for text in args.queries]
    args.layers, args.heads = parsed_choice('--layers', args.layers), parsed_choice('--heads', args.heads)
    require_least(args, 1, 'columns', 'dpi')
    require_new(args.out, suffixes=FORMATS, overwrite=args.overwrite)
    args.paths = find_images(args.inputs)
    if len(args.paths) > MOST:
        raise ConfigError(f'{len(args.paths)} images are too many for one figure', 'arguments', f'name at most {MOST}')
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.apis.load_model import model_of
from nepa_mm.checkpoints.preprocessing import bands_in
from nepa_mm.visualization import draw_query_patches
from nepa_mm.visualization.read_image import image_size, pixels_of, read_image


def main(args: argparse.Namespace) -> None:
    model = model_of(args)
    images = [read_image(path, bands=bands_in(model._config)) for path in args.paths]
    pixels = pixels_of(images, image_size(model, args.size))
    names = [path.name for path in args.paths]
    figure = draw_query_patches(model, pixels, args.queries, args.layers, args.heads, args.columns, names)
    figure.savefig(args.out, dpi=args.dpi, bbox_inches='tight')
    print(f'{args.out}: {len(names)} image{"s" * (len(names) > 1)} of {pixels.shape[-1]} x {pixels.shape[-2]} pixels')


run_command(main, args)
