#!/usr/bin/env bash
# [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5] tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [flags]
set -eu
[ $# -ge 4 ] || { echo "usage: tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [flags of tools/test.py]" >&2; exit 2; }
partition=$1 job=$2 config=$3 checkpoint=$4
gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
[ "$per_node" -le "$gpus" ] || per_node=$gpus
# shellcheck disable=SC2086  # SRUN_ARGS holds several words
exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
  --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
  ${SRUN_ARGS:-} "$("$(dirname "$0")/find_python.sh")" -u "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher=slurm "${@:5}"
