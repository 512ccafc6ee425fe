#!/usr/bin/env bash
# AN4 from its archive to word error rates; see README.md here and --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# A training takes one core: two side by side are quicker than one on two cores after the other.
exec ../../../local/asr.sh --config conf/phone.yaml --seeds "0 1" --train-jobs 2 "$@"
