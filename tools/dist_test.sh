#!/usr/bin/env bash
# tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]; see dist_train.sh
set -eu
[ $# -ge 3 ] || { echo "usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]" >&2; exit 2; }
config=$1 checkpoint=$2 processes=$3
exec "$("$(dirname "$0")/find_python.sh")" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
