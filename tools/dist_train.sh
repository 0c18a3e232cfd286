#!/usr/bin/env bash
# tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
# One process per GPU with NCCL; on a machine without one, CPU processes with gloo.
# Several machines: NNODES, NODE_RANK, PORT, MASTER_ADDR, as in the OpenMMLab tools.
set -eu
[ $# -ge 2 ] || { echo "usage: tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]" >&2; exit 2; }
config=$1 processes=$2
exec "$("$(dirname "$0")/find_python.sh")" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
