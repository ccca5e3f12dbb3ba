#!/usr/bin/env bash
# onnxruntime's quantize_dynamic fails on any linear layer that torch.onnx.export writes
#
# Versions: onnxruntime 1.31.1, torch 2.13.0+cpu, onnx 1.23.2, onnxscript 0.7.2, Python 3.11.
# Input: two linear layers, exported as torch.onnx.export does it by default.
# Behaviour: the exporter lists the weights in graph.value_info too. quantize_dynamic makes a MatMul of each Gemm, transposes
#   its weight under the old name, and leaves the old shape in value_info; its own shape inference then finds the contradiction.
#   Without the weights in value_info the same file is quantised.
# Seen: "[ShapeInferenceError] Inferred shape and existing shape differ in dimension 0: (8) vs (16)"; without: 2 MatMulInteger.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0+cpu onnx==1.23.2 onnx-ir==1.1.0 onnxscript==0.7.2 onnxruntime==1.31.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'EOF'
import onnx
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import nn

layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
torch.onnx.export(layers, (torch.rand(2, 8), ), 'layers.onnx', dynamo=True, verbose=False)
model = onnx.load('layers.onnx')
onnx.checker.check_model(model, full_check=True)  # nothing is wrong with it
try:
    quantize_dynamic('layers.onnx', 'int8.onnx')
    message = 'none'
except Exception as error:
    message = str(error)
print('as exported:', message)

weights = {weight.name for weight in model.graph.initializer}
others = [info for info in model.graph.value_info if info.name not in weights]
del model.graph.value_info[:]
model.graph.value_info.extend(others)
onnx.save(model, 'layers.onnx')
quantize_dynamic('layers.onnx', 'int8.onnx')
integers = sum(node.op_type == 'MatMulInteger' for node in onnx.load('int8.onnx').graph.node)
print('without the weights in value_info:', integers, 'MatMulInteger')
assert 'existing shape differ in dimension 0: (8) vs (16)' in message and integers == 2, 'the behaviour has changed'
EOF
