#!/usr/bin/env bash
# slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]; the environment as for slurm_train.sh
set -eu
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
NEPA_SCRIPT=test.py exec bash "$(dirname "$0")/slurm_train.sh" "$PARTITION" "$JOB_NAME" "$CONFIG" "$CHECKPOINT" "${@:5}"
