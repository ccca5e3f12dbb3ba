"""The command line of ``tools/deployment``."""
import argparse
import warnings
from pathlib import Path

from nepa_mm.apis.arguments import add_model, model_of
from nepa_mm.errors import ConfigError
from nepa_mm.new_files import require_new

from .files import Exported, export_onnx, export_torch
from .graph import MAX_BATCH, Graph
from .source import source_of


def parse_args(description: str, suffix: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    add_model(parser, device='cpu')
    # With no default of its own, which would replace what --checkpoint gives
    parser.add_argument('checkpoint', metavar='CHECKPOINT', nargs='?', default=argparse.SUPPRESS, help='as --checkpoint')
    parser.add_argument('--output-file', type=Path, default=Path(f'model{suffix}'), help=f'file to write; default: model{suffix}')
    parser.add_argument('--shape', type=int, nargs='+', metavar=('H', 'W'), help="image size in pixels; default: the config's")
    parser.add_argument('--dynamic-shape', action='store_true', help='images of any whole number of patches; --shape is traced')
    parser.add_argument('--normalize', choices=['outside', 'inside'], default='outside',
                        help='outside (default): the graph takes normalised float32; inside: uint8 pixels from 0 to 255')
    parser.add_argument('--features', metavar='OUT_TYPE', help="what the backbone gives instead of the head's output: raw, "
                        'cls_token, last_token, avg_featmap, featmap or padded_featmap')
    parser.add_argument('--max-batch', type=int, default=MAX_BATCH, metavar='N', help='most images at once, for runtimes that '
                        f'plan memory for them; 1 fixes the number; default: {MAX_BATCH}')
    parser.add_argument('--argmax', action='store_true', help='segmentation: the class of each pixel instead of logits')
    parser.add_argument('--no-verify', action='store_true', help='do not compare with torch')
    if suffix == '.onnx':
        parser.add_argument('--opset-version', type=int, help="of ONNX's operators; default: PyTorch's")
    args = parser.parse_args()
    if args.shape is not None and (len(args.shape) > 2 or min(args.shape) < 1):
        parser.error(f'--shape {" ".join(map(str, args.shape))}: give one side or height and width, in pixels')
    if args.max_batch < 1:
        parser.error(f'--max-batch {args.max_batch}: give 1 or more')
    return args


def export(description: str, suffix: str) -> Exported:
    """Export as the command line says."""
    args = parse_args(description, suffix)
    require_new(args.output_file, suffixes=[suffix])
    warnings.filterwarnings('ignore', category=FutureWarning)  # PyTorch's, of its own exporter
    source = source_of(model_of(args, args.features), args.checkpoint or args.model)
    graph = Graph(source, args.features is not None, args.argmax, args.normalize == 'inside', args.max_batch)
    size = source.image_size if args.shape is None else (args.shape[0], args.shape[-1])
    if size is None:
        raise ConfigError('it does not say the size of its images', args.model, 'give --shape H W')
    if args.dynamic_shape and any(side % graph.patch_size for side in size):
        raise ConfigError(f'{size[0]} {size[1]}: with --dynamic-shape, sides are multiples of the patch', '--shape',
                          f'give multiples of {graph.patch_size} pixels')
    settings = dict(dynamic_shape=args.dynamic_shape, verify=not args.no_verify)
    if suffix == '.onnx':
        return export_onnx(source, graph, args.output_file, size, opset=args.opset_version, **settings)
    return export_torch(source, graph, args.output_file, size, **settings)
