#!/usr/bin/env bash
# Train on GPUS processes of this machine (GPUs, or CPU processes where there is none).
# --max-restarts K: start again, up to K times, where a process has died or hangs (docs/reliability.md).
# Several machines: run it on each with NNODES, NODE_RANK and MASTER_ADDR set.
set -eu
CONFIG=$1
GPUS=$2
[ "${NNODES:-1}" != 1 ] || PORT=${PORT:-0}  # 0: any that is free
PORT=${PORT:-29500}

PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" exec "${PYTHON:-python}" "$(dirname "$0")/dist_run.py" \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="$PORT" \
    --nproc_per_node="$GPUS" \
    "$(dirname "$0")/${NEPA_SCRIPT:-train.py}" "$CONFIG" "${@:3}" --launcher pytorch
