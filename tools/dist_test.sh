#!/usr/bin/env bash
# Test on GPUS processes of this machine; several machines as in dist_train.sh.
set -eu
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
[ "${NNODES:-1}" != 1 ] || PORT=${PORT:-0}  # 0: any that is free
PORT=${PORT:-29500}

PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" exec "${PYTHON:-python}" "$(dirname "$0")/dist_run.py" \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="$PORT" \
    --nproc_per_node="$GPUS" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
