"""What PyTorch's exporter writes, made fit for others: nothing of this machine in it, names to read, ready for quantisation."""
import json
import re
from pathlib import Path

import onnx
from google.protobuf.message import Message

AXES = {0: 'batch', 2: 'rows', 3: 'columns'}  # of the input, where they are open


def finish(path: Path, facts: dict) -> int:
    """Rewrite an ONNX file in place; its weights, where they are in a second file, stay there.

    Returns:
        The version of ONNX's operators that it is written in.
    """
    model = onnx.load(path, load_external_data=False)
    forget(model)
    weights = {weight.name for weight in model.graph.initializer}
    # onnxruntime's quantisation transposes weights, and ends where a shape of theirs is noted elsewhere.
    kept = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    rename_axes(model.graph)
    onnx.helper.set_model_props(
        model, {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()})
    onnx.save(model, path)
    return next(entry.version for entry in model.opset_import if entry.domain in ('', 'ai.onnx'))


def forget(message: Message) -> None:
    """Clear notes at every depth: stack traces with paths and source lines, names of Python modules."""
    for name in ('metadata_props', 'doc_string'):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                forget(part)


def rename_axes(graph: onnx.GraphProto) -> None:
    """Give open axes names to read instead of PyTorch's, as ``s31``, wherever a shape speaks of them."""
    shape = graph.input[0].type.tensor_type.shape.dim
    names = {symbol: AXES[axis] for axis in AXES for symbol in re.findall(r'[a-z]\w*', shape[axis].dim_param)}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for axis in value.type.tensor_type.shape.dim:
            if axis.HasField('dim_param'):
                axis.dim_param = re.sub(r'[a-z]\w*', lambda match: names.get(match[0], match[0]), axis.dim_param)
