"""Write a graph to a file, after what is read back gave torch's numbers."""
import argparse
import importlib
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.fx import GraphModule

from nepa_mm.apis.load_model import model_of
from nepa_mm.checkpoints.record import published_name
from nepa_mm.checkpoints.release.preprocessor_file import fields
from nepa_mm.errors import CheckpointError, ConfigError, first_line
from nepa_mm.new_files import link_new, require_new
from nepa_mm.version import __version__

from .graph import NAME, Graph
from .source import Source, source_of

TOLERANCE = 1e-4
OPSETS = (18, 25)  # what PyTorch 2.12 with onnxscript 0.7 writes


@dataclass
class Exported:
    """What was written and how it was checked; ``difference`` is None without a check."""
    path: Path
    metadata: dict
    difference: float | None

    def __str__(self) -> str:
        facts, size = self.metadata, self.path.stat().st_size / 1e6
        lines = [f'{self.path}: {size:.1f} MB, {facts["task"]}; {facts["input"]}; outputs {", ".join(facts["outputs"])}']
        lines.append('not checked' if self.difference is None else
                     f'checked against torch, batches of {", ".join(map(str, facts["checked_batches"]))} and '
                     f'{", ".join(f"{height} x {width}" for height, width in facts["checked_sizes"])} pixels: largest difference '
                     f'{self.difference:.1e}')
        return '\n'.join(lines)


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


def export_onnx(source: Source, graph: Graph, path: Path, size: tuple[int, int], dynamic_shape: bool = False,
                opset: int | None = None, verify: bool = True) -> Exported:
    """Write an ONNX file, checked in onnxruntime.

    Weights of more than 2 GB, which the format does not hold, go to a second file, ``NAME.onnx.data``.

    Args:
        size: Height and width of the images; of the first that is checked, where they are dynamic.
        dynamic_shape: Images of any whole number of patches.
        opset: Version of ONNX's operators; default: PyTorch's.
        verify: Compare with torch.

    Raises:
        ConfigError: If a package is missing, torch is 2.4, the model cannot be exported, or not with these operators, or the file
            exists.
        CheckpointError: If its numbers differ from torch's by more than 1e-4.
    """
    if torch.__version__ < (2, 5):
        raise ConfigError(f'torch {torch.__version__} cannot write what it exports as ONNX', 'torch',
                          'use a later one, or export_torch.py')
    missing = [name for name in ('onnx', 'onnxscript', *['onnxruntime'] * verify) if find_spec(name) is None]
    if missing:  # which would end it later
        raise ConfigError(f'an ONNX file needs {", ".join(missing)}, not installed here', 'environment',
                          "pip install 'nepa_mm[export]'")
    from .onnx_model import finish  # which needs onnx
    program, facts = graph.trace(size, dynamic_shape), metadata(source, graph, size, dynamic_shape)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of what onnxscript and torch.onnx say of their own work
    try:
        program = torch.onnx.export(
            program, dynamo=True, opset_version=opset, verbose=False, input_names=[NAME], output_names=graph.output_names)
    finally:
        logging.disable(before)

    def save(file: Path) -> None:
        program.save(file)
        version = finish(file, facts)
        if opset not in (None, version):  # PyTorch would log it and go on
            raise ConfigError(f'{opset}: PyTorch {torch.__version__} wrote version {version} instead', '--opset-version',
                              f"leave it out for PyTorch's choice, or give one from {OPSETS[0]} to {OPSETS[1]}")

    return written(path, save, onnx_session, graph, facts, verify)


def export_torch(source: Source, graph: Graph, path: Path, size: tuple[int, int], dynamic_shape: bool = False,
                 verify: bool = True) -> Exported:
    """Likewise a file of ``torch.export``, for ``torch.export.load``; metadata are in its ``metadata.json``."""
    program, facts = graph.trace(size, dynamic_shape), metadata(source, graph, size, dynamic_shape)
    for module in program.graph_module.modules():  # of the source that made each operation: paths and lines of this machine
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            for key in ('stack_trace', 'from_node'):
                node.meta.pop(key, None)

    def save(file: Path) -> None:
        torch.export.save(program, file, extra_files={'metadata.json': json.dumps(facts)})

    return written(path, save, lambda file: torch.export.load(file).module(), graph, facts, verify)


def metadata(source: Source, graph: Graph, size: tuple[int, int], dynamic_shape: bool) -> dict:
    """What a user of the file has to know, all of it data that JSON holds."""
    sides = [f'{graph.patch_size} * {side}' for side in ('rows', 'columns')] if dynamic_shape else list(size)
    batch = 'batch' if graph.max_batch > 1 else 1
    kind = 'float32, normalised'
    if graph.normalize:
        kind = ('uint8, 0 to 255' if graph.takes_bytes else 'float32, as in the files') + ', normalised in the graph'
    order = 'in the order of the files' if source.are_bands else source.channels
    facts = dict(
        task=graph.task,
        input=f'[{batch}, {source.input_channels}, {sides[0]}, {sides[1]}] {order}, {kind}',
        outputs=graph.output_names,
        input_size=sides,
        channels=source.channels,
        normalize='inside' if graph.normalize else 'outside',
        checked_sizes=[list(other) for other in graph.sizes(size, dynamic_shape)],
        checked_batches=graph.batches,
        source=published_name(source.address),
        nepa_mm=__version__,
        **graph.decision)
    if source.mean_std is not None:
        facts['mean'], facts['std'] = source.mean_std
    images = source.images
    if images is not None and images.size in (None, size):  # not with another --shape
        facts['preprocessor_config'] = fields(images, size[0])
    if source.classes is not None and graph.task != 'features':
        facts['classes'] = source.classes
    return facts


def written(path: Path, save: Callable, load: Callable, graph: Graph, facts: dict, verify: bool) -> Exported:
    """Save to a folder beside ``path``, check what is read back, and only then give the file its name."""
    require_new(path)
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        save(Path(folder) / path.name)
        difference = None
        if verify:
            try:
                difference = largest_difference(load(Path(folder) / path.name), graph, facts['checked_sizes'])
            except Exception as error:  # of many kinds: those of the runtime that reads it
                one_size = len(facts['checked_sizes']) == 1
                raise ConfigError(f'it is not written: it does not run for images of {facts["checked_sizes"]} pixels '
                                  f'({first_line(error)})', str(path), 'NEPA_DEBUG=1 shows where' if one_size else
                                  'give one --shape, without --dynamic-shape') from error
            if not difference <= TOLERANCE:  # nor what is no number
                raise CheckpointError(f'it is not written: its outputs differ from those of torch by {difference:.1e}, more than '
                                      f'{TOLERANCE:.0e}', str(path), '--no-verify writes it all the same')
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):  # the model last
            link_new(file, path.with_name(file.name))
    return Exported(path, facts, difference)


def largest_difference(run: Callable[[Tensor], tuple[Tensor, ...]], graph: Graph, sizes: list) -> float:
    """Largest absolute difference of any output from torch's, on made-up images.

    Of a map of classes, the most by which the logit of a chosen class falls short of the largest: equal ones may change places.
    """
    differences = []
    with torch.no_grad():
        for size in sizes:
            for batch in graph.batches:
                images = graph.images(batch, size)
                outputs, expected = run(images), graph.before_argmax(images)
                if graph.argmax:
                    logits, = expected
                    differences.append((logits.amax(1) - logits.gather(1, outputs[0][:, None])[:, 0]).max())
                    continue
                if [tuple(output.shape) for output in outputs] != [tuple(output.shape) for output in expected]:
                    return float('inf')
                differences += [(output - reference).abs().max() for output, reference in zip(outputs, expected)]
    return torch.stack(differences).max().item()


def onnx_session(file: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    session = importlib.import_module('onnxruntime').InferenceSession(file, providers=['CPUExecutionProvider'])
    return lambda images: tuple(torch.from_numpy(output).to(images.device)
                                for output in session.run(None, {NAME: images.cpu().numpy()}))
