"""Write one HTML page, which needs no network, to explore what a model sees in images: open it in any browser.

    python tools/visualization/explore_nepa.py photos/ hf:SixAILab/nepa-base-patch14-224 -o nepa.html
    python tools/visualization/explore_nepa.py dog.jpg cat.jpg epoch_100.pth epoch_1600.pth -o training.html

Click or tap a patch: the page shows what it attends to, by layer and head, and what it predicts. Of several checkpoints it
compares any two side by side. docs/visualization.md says more.
"""
import argparse
import re
from pathlib import Path

from nepa_mm.arguments import INPUT_HELP, MODEL_HELP, add_drawing, parsed_choice
from nepa_mm.errors import ConfigError, run_command
from nepa_mm.find_images import find_images
from nepa_mm.new_files import require_new

MODELS = ('.pth', '.pt', '.safetensors', '.py')


def is_model(address: str) -> bool:
    return address.lower().endswith(MODELS) or (':' in address and not Path(address).exists())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage='%(prog)s INPUT [INPUT ...] MODEL [MODEL ...] -o OUT [options]')
    parser.add_argument('paths', metavar='INPUT ... MODEL ...', nargs='+',
                        help=f'INPUT: {INPUT_HELP}. MODEL: {MODEL_HELP}; it ends in {", ".join(MODELS)}, or has a scheme')
    parser.add_argument('-o', '--out', type=Path, required=True, help='page to write, .html')
    parser.add_argument('--layers', nargs='+', default=['all'], metavar='LAYER',
                        help="blocks whose attention is stored, from 0 or, as -1, from the last; default: 'all'")
    parser.add_argument('--heads', choices=('fit', 'all', 'mean'), default='fit',
                        help="single heads: of as many layers as --max-mb has room for ('fit'), of all, or none but their mean")
    parser.add_argument('--max-mb', type=float, default=10., help='size of the page with --heads fit')
    add_drawing(parser, model_by_name=True)
    args = parser.parse_args()
    args.layers = parsed_choice('--layers', args.layers)
    if args.layers == 'mean':
        raise ConfigError('mean: a page shows layers one by one', '--layers', "give their numbers, or 'all'")
    if not args.max_mb > 0:
        raise ConfigError(f'{args.max_mb:g} is no size of a page', '--max-mb', 'give megabytes above 0')
    require_new(args.out, suffixes=('.html', '.htm'), overwrite=args.overwrite)
    args.models = [path for path in args.paths if is_model(path)]
    inputs = [path for path in args.paths if not is_model(path)]
    if not args.models or not inputs:
        raise ConfigError(f'no {"image" if args.models else "checkpoint"} is among {" ".join(args.paths)}', 'arguments',
                          f'give images, then checkpoints (hf:..., or paths that end in {", ".join(MODELS)})')
    args.images = find_images(inputs)
    return args


args = run_command(parse_args)  # before the imports, which take seconds

from nepa_mm.apis.load_model import model_of
from nepa_mm.checkpoints.preprocessing import bands_in
from nepa_mm.visualization.explorer import Explorer
from nepa_mm.visualization.read_image import image_size, read_image


def said_of(bands: int | None) -> str:
    return 'RGB' if bands is None else f'{bands} channels'


def short_names(addresses: list[str]) -> list[str]:
    """As many of the last parts of each path, two or more, as tell them apart; ids of the hub as they are."""
    kinds = [re.match('(raw:|ema:)?', address)[0] for address in addresses]
    paths = [Path(address.removeprefix(kind)).parts for address, kind in zip(addresses, kinds)]
    for count in range(2, max(2, *map(len, paths)) + 1):
        names = [address if address.startswith('hf:') else kind + '/'.join(parts[-count:])
                 for address, kind, parts in zip(addresses, kinds, paths)]
        if len(set(names)) == len(set(addresses)):
            break
    return names


def main(args: argparse.Namespace) -> None:
    explorer = bands = None
    for address, name in zip(args.models, short_names(args.models)):
        args.model = address
        model = model_of(args)
        if explorer is None:
            bands = bands_in(model._config)
            explorer = Explorer([read_image(path, bands=bands) for path in args.images], [path.name for path in args.images])
        elif bands_in(model._config) != bands:
            raise ConfigError(f'it takes {said_of(bands_in(model._config))}, and {args.models[0]} {said_of(bands)}', address,
                              'write a page for each')
        explorer.add(model, name, image_size(model, args.size), args.layers, with_heads=args.heads != 'mean')
    page = explorer.page(float('inf') if args.heads == 'all' else args.max_mb * 1e6)
    args.out.write_text(page, encoding='utf-8')
    size = len(page.encode()) / 1e6
    print(f'{args.out}: {len(args.images)} image{"s" * (len(args.images) > 1)}, {size:.1f} MB')
    if args.heads != 'all' and size > args.max_mb:
        print(f'Without single heads this is still above --max-mb {args.max_mb:g}; fewer --layers, images or checkpoints, or a '
              'smaller --size, make it smaller')
    for model in explorer.models:
        heads = sorted(model['with_heads'])
        missing = '' if heads == model['layers'] else '; --heads all has all, in a larger page'
        print(f'{model["name"]}: layers {model["layers"]}, single heads of {heads or "none"}{missing}')


run_command(main, args)
