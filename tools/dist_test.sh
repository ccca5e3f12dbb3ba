#!/usr/bin/env bash
# dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]: test on GPUS processes; several machines as in dist_train.sh.
set -eu
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
NEPA_SCRIPT=test.py exec bash "$(dirname "$0")/dist_train.sh" "$CONFIG" "$GPUS" "$CHECKPOINT" "${@:4}"
