#!/usr/bin/env bash
# All measurements of docs/performance_tools.md in one call, in less than 8 minutes, into docs/performance/*.json.
#
#   bash tools/analysis_tools/gpu_suite.sh [--data DIR] [--peer-path DIR [--peer-python PYTHON]] [--only STEP,STEP] [--out DIR]
#
# DIR of --data holds JPEGs, that of --peer-path a checkout of the authors' code. Without them their steps are left out. A step that
# fails or takes too long stops no other; the exit code is the number of those. Steps: tests, base, large, jpeg, peer, segmentation.
#
# The machine needs Python with torch; what else is missing is installed from wheels in .whl, if that folder is there, into .site.
# SUITE_TINY=1 shrinks everything to a trial of the script itself on a CPU.
set -uo pipefail
cd "$(dirname "$0")/../.."

out=docs/performance data="" peer_path="" peer_python="" only=tests,base,large,jpeg,peer,segmentation
budget=${SUITE_SECONDS:-470} patience=1
while [ $# -gt 0 ]; do
    case $1 in
        --data) data=$2 ;;
        --peer-path) peer_path=$2 ;;
        --peer-python) peer_python=$2 ;;
        --only) only=$2 ;;
        --out) out=$2 ;;
        *) echo "gpu_suite.sh: error: unknown option '$1'; see the head of this file" >&2; exit 2 ;;
    esac
    shift 2 || { echo "gpu_suite.sh: error: a value is missing after the last option" >&2; exit 2; }
done

python=${PYTHON:-python3}
if [ -d .whl ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target .site .whl/*.whl || exit 2
    export PYTHONPATH="$PWD/.site:$PWD"
else
    export PYTHONPATH="$PWD:${PYTHONPATH:-}"
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

leave_out() {
    [[ ,$only, == *,$1,* ]] && summary+=$(printf '%-14s    - s  left out: %s' "$1" "$2")$'\n'
}

bench=("$python" -W ignore tools/analysis_tools/benchmark.py)
pretrain=configs/pretrain/nepa_vit
if [ "${SUITE_TINY:-0}" = 1 ]; then
    budget=${SUITE_SECONDS:-3600} patience=10
    base=($pretrain-mini-p8_1xb64-coslr-18e_shapes-64px.py) large=("${base[@]}")
    small=(--batch-size 2 --iterations 1 --repeats 1 --warmup 1)
    few=("${small[@]}") some=("${small[@]}") one=("${small[@]}" --cfg-options train_dataloader.num_workers=0) peer=("${small[@]}")
    segmentor=configs/segmentation/nepa_vit-mini-p8_upernet_1xb8-300i_shapes-76x76.py
else
    base=($pretrain-base-p14_8xb512-amp-coslr-1600e_in1k.py) large=($pretrain-large-p14_8xb256-amp-coslr-800e_in1k.py)
    few=(--batch-size 512 --iterations 50 --repeats 1) some=(--batch-size 128 --iterations 50 --repeats 1)
    one=(--batch-size 512 --iterations 50 --repeats 1 --cfg-options "train_dataloader.num_workers=$(nproc)")
    peer=(--batch-size 256 --iterations 50 --repeats 2)
    segmentor=configs/segmentation/nepa_vit-base-p14_upernet_8xb2-amp-160k_ade20k-512x512.py
fi

if "$python" -c 'import pytest' 2>/dev/null; then
    # The files that ask for a GPU: to collect all takes longer, and 'gpu' would also name this script's own tests, which start it.
    mapfile -t asking < <(grep -rl --include='test_*.py' 'cuda.is_available' tests)
    step tests 60 "$python" -m pytest -x "${asking[@]}" -k 'gpu or cuda' --junitxml "$out/tests.xml"
else
    leave_out tests 'no pytest'
fi
step base 120 "${bench[@]}" "${base[@]}" --synthetic "${few[@]}" --json "$out/base.json"
step large 120 "${bench[@]}" "${large[@]}" --synthetic "${some[@]}" --json "$out/large.json"
if [ -n "$data" ]; then
    step jpeg 110 "${bench[@]}" "${base[@]}" --data "$data" --json "$out/jpeg.json" "${one[@]}"
else
    leave_out jpeg 'no --data'
fi
if [ -n "$peer_path" ]; then
    step peer 130 "${bench[@]}" "${base[@]}" --synthetic --vs hf-reference --peer-path "$peer_path" \
        --peer-python "${peer_python:-$python}" "${peer[@]}" --json "$out/peer.json"
else
    leave_out peer 'no --peer-path'
fi
step segmentation 60 "$python" -W ignore tools/analysis_tools/measure_segmentation.py "$segmentor" --batch-size 2 \
    --json "$out/segmentation.json"

echo
echo "Figures are in $out; $((SECONDS - begin)) s in all"
printf '%s' "$summary"
exit "$failed"
