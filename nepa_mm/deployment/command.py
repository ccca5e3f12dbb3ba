"""What ``tools/deployment`` exports."""
import argparse
import warnings

from nepa_mm.apis.named_model import model_of
from nepa_mm.errors import ConfigError

from .files import Exported, export_onnx, export_torch
from .graph import Graph
from .source import source_of


def export(args: argparse.Namespace) -> Exported:
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
    if 'opset_version' in args:  # of ONNX
        return export_onnx(source, graph, args.output_file, size, opset=args.opset_version, **settings)
    return export_torch(source, graph, args.output_file, size, **settings)
