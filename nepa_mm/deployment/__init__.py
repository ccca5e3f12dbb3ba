from .files import export_onnx, export_torch
from .graph import Graph
from .source import Source, load_source
