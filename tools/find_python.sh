#!/usr/bin/env bash
# The Python that the shell scripts run: $PYTHON, an active environment's, .venv's of this checkout,
# or `python` of the PATH.
venv="$(dirname "$0")/../.venv/bin/python"
if [ -n "${PYTHON:-}" ]; then echo "$PYTHON"
elif [ -z "${VIRTUAL_ENV:-}" ] && [ "${CONDA_DEFAULT_ENV:-base}" = base ] && [ -x "$venv" ]; then
  echo "$venv"  # conda's base is active in many shells unasked
else echo python; fi
