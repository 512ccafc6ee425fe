#!/usr/bin/env bash
# The tests; sets itself up on a fresh machine. Arguments are pytest's.
#   NEVE_CORPORA  a directory of corpora, for the tests that need real ones
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

echo "test.sh: environment"
NEVE_EXTRAS=dev,digits
# Triton, a wheel of 200 MB: its interpreter runs the GPU kernels' tests without a GPU
[ "$(uname -s)" != Linux ] || NEVE_EXTRAS+=,cuda
. ./path.sh
echo "test.sh: $(python --version) in $(python -c 'import sys; print(sys.prefix)')"

echo "test.sh: ruff"
ruff check .

echo "test.sh: tests (corpora: ${NEVE_CORPORA:-none, NEVE_CORPORA is not set})"
exec python -m pytest --durations=15 "$@"
