#!/usr/bin/env bash
# The default recipe, from nothing to a table of word error rates. Sets itself up on a fresh
# machine; takes the options of every recipe (--help).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NEVE_COMMAND="./run.sh$([ $# -eq 0 ] || printf ' %q' "$@")"
export NEVE_COMMAND
cd "$root/egs/digits/ASR"
exec ./run.sh "$@"
