#!/usr/bin/env bash
# slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]; GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS by environment
set -eux
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
WORK_DIR=$4
SCRIPT=${NEPA_SCRIPT:-train.py}
[ "$SCRIPT" = test.py ] || WORK_DIR=--work-dir=$WORK_DIR  # slurm_test.sh gives a checkpoint in its place
GPUS_PER_NODE=${GPUS_PER_NODE:-8}

# shellcheck disable=SC2086  # SRUN_ARGS is a list
PYTHONPATH="$(dirname "$0")/..:${PYTHONPATH:-}" exec srun -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres=gpu:"$GPUS_PER_NODE" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/$SCRIPT" "$CONFIG" "$WORK_DIR" --launcher slurm "${@:5}"
