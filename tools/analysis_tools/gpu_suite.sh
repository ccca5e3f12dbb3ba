#!/usr/bin/env bash
# The GPU rows of docs/performance.md in one call, in less than 8 minutes, into docs/performance/*.json.
#
#   bash tools/analysis_tools/gpu_suite.sh [--data DIR] [--peer-path DIR [--peer-python PYTHON]] [--only STEP,STEP] [--out DIR]
#
# --data: a folder of JPEGs; without it base and large are measured on ready batches alone. --peer-path: a checkout of the authors'
# code; without it nothing takes turns with ours. A step that fails or takes too long stops no other; the exit code is the number
# of those. Steps, in this order: base, large, tests, tokens, batch, segmentation, inference (with --data alone), sharding.
#
# The machine needs Python with torch. What else is missing is installed from wheels: from .whl into .site, and from .whl-peer, for
# the peer alone, into .site-peer. The authors' code needs an older transformers than most machines have:
#   pip download -d .whl-peer --no-deps --only-binary=:all: --python-version 3.12 transformers==4.56.2 tokenizers==0.22.2 \
#       huggingface_hub==0.36.0
# SUITE_TINY=1 shrinks everything to a trial of the script itself on a CPU.
set -uo pipefail

out="" data="" peer_path="" peer_python="" only=base,large,tests,tokens,batch,segmentation,inference,sharding
budget=${SUITE_SECONDS:-470} patience=1
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || { echo "gpu_suite.sh: error: $1 needs a value" >&2; exit 2; }
    case $1 in
        --data) data=$(realpath -m "$2") ;;
        --peer-path) peer_path=$(realpath -m "$2") ;;
        --peer-python) peer_python=$2 ;;
        --only) only=$2 ;;
        --out) out=$(realpath -m "$2") ;;
        *) echo "gpu_suite.sh: error: unknown option '$1'; see the head of this file" >&2; exit 2 ;;
    esac
    shift 2
done
cd "$(dirname "$0")/../.."
out=${out:-$PWD/docs/performance}

python=${PYTHON:-python3}
install() {  # install FROM TO: all wheels of a folder into another
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$2" "$1"/*.whl || exit 2
}
if [ -d .whl ]; then
    install .whl .site
    export PYTHONPATH="$PWD/.site:$PWD"
else
    export PYTHONPATH="$PWD:${PYTHONPATH:-}"
fi
if [ -d .whl-peer ] && [ -z "$peer_python" ]; then
    install .whl-peer .site-peer
    peer_python=$PWD/.site-peer/python
    printf '#!/bin/sh\nPYTHONPATH=%s exec %s "$@"\n' "$PWD/.site-peer" "$(command -v "$python")" > "$peer_python"
    chmod +x "$peer_python"
fi
mkdir -p "$out"
begin=$SECONDS failed=0 summary=""

# step NAME SECONDS COMMAND...: run it if it was asked for, for so long at most and within the budget
step() {
    local name=$1 cap=$(($2 * patience)) left=$((budget - SECONDS + begin)) code before=$SECONDS said
    shift 2
    [[ ,$only, == *,$name,* ]] || return 0
    [ "$left" -lt "$cap" ] && cap=$left
    echo "== $name: $*"
    if [ "$cap" -lt 5 ]; then
        said="no time left"; failed=$((failed + 1))
    else
        timeout -k 5 "$cap" "$@"; code=$?
        case $code in
            0) said=done ;;
            5) said="nothing to run" ;;  # pytest without a test
            124|137) said="stopped after $cap s"; failed=$((failed + 1)) ;;
            *) said="failed with code $code"; failed=$((failed + 1)) ;;
        esac
    fi
    summary+=$(printf '%-14s %4d s  %s' "$name" $((SECONDS - before)) "$said")$'\n'
}

bench=("$python" -W ignore tools/analysis_tools/benchmark.py)
pretrain=configs/pretrain/nepa_vit
if [ "${SUITE_TINY:-0}" = 1 ]; then
    budget=${SUITE_SECONDS:-3600} patience=10
    base=($pretrain-mini-p8_1xb64-coslr-18e_shapes-48px.py --batch-size 2 --iterations 1 --repeats 1 --warmup 1)
    large=("${base[@]}") tokens=("${base[@]}" --points 32 64) batch=("${base[@]}" --points 1 2) workers=0
    segmentor=configs/segmentation/nepa_vit-mini-p8_upernet_1xb8-300i_shapes-76x76.py
    inference=(--archs tiny --turns 1 --turn-images 2 --batch-size 2 --images 20 --workers 1)
    sharding=("$pretrain-mini-p8_1xb64-coslr-18e_shapes-48px.py" --batch-size 2 --steps 1) gpus=2
else
    recipe=$pretrain-base-p14_8xb512-amp-coslr-1600e_in1k.py
    base=("$recipe" --batch-size 256 --iterations 30 --repeats 2)
    large=($pretrain-large-p14_8xb256-amp-coslr-800e_in1k.py --batch-size 128 --iterations 20 --repeats 2)
    tokens=("$recipe" --points 224 336 518 --batch-size 32 --iterations 20 --repeats 1)
    batch=("$recipe" --points 64 256 512 --iterations 20 --repeats 1) workers=$(nproc)
    segmentor=configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py
    inference=(--archs base --turns 2 --turn-images 4096 --batch-size 128 --images 4096 --workers "$(nproc)")
    sharding=("$pretrain-large-p14_8xb256-amp-coslr-800e_in1k.py" --batch-size 64 --steps 10)
    gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
    [ "$gpus" -gt 0 ] || gpus=1
fi
source=(--synthetic) peer=() more=()
[ -n "$data" ] && source=(--data "$data") more=(--cfg-options "train_dataloader.num_workers=$workers")
[ -n "$peer_path" ] && peer=(--vs hf-reference --peer-path "$peer_path" --peer-python "${peer_python:-$python}")

# One call each for all of a model: through the Runner, with JPEGs or not, on ready batches in a bare loop, and the authors' code.
step base 130 "${bench[@]}" "${base[@]}" "${source[@]}" "${peer[@]}" --json "$out/base.json" "${more[@]}"
step large 140 "${bench[@]}" "${large[@]}" "${source[@]}" "${peer[@]}" --json "$out/large.json" "${more[@]}"
if "$python" -c 'import pytest' 2>/dev/null; then
    # The files that ask for a GPU: to collect all takes longer, and 'gpu' would also name this script's own tests, which start it.
    mapfile -t asking < <(grep -rl --include='test_*.py' 'cuda.is_available' tests)
    step tests 100 "$python" -m pytest "${asking[@]}" -k 'gpu or cuda or compiled_step_has' --junitxml "$out/tests.xml"
elif [[ ,$only, == *,tests,* ]]; then
    summary+=$(printf '%-14s    - s  left out: no pytest' tests)$'\n'
fi
step tokens 100 "${bench[@]}" "${tokens[@]}" --scaling tokens --json "$out/tokens.json"
step batch 80 "${bench[@]}" "${batch[@]}" --scaling batch --json "$out/batch.json"
step segmentation 45 "$python" -W ignore tools/analysis_tools/measure_segmentation.py "$segmentor" --batch-size 2 \
    --json "$out/segmentation.json"
if [ -n "$data" ]; then
    step inference 90 "$python" -W ignore tools/analysis_tools/benchmark_inference.py "$data" "${inference[@]}" \
        --json "$out/inference_gpu.json"
fi
# Two GPUs or more; with one, FSDP2 has one piece
step sharding 90 "$python" -W ignore tools/analysis_tools/measure_sharding.py "${sharding[@]}" --processes "$gpus" --turns 1 \
    --json "$out/sharding.json"

echo
echo "Figures are in $out; $((SECONDS - begin)) s in all"
printf '%s' "$summary"
exit "$failed"
