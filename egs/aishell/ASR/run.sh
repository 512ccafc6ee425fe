#!/usr/bin/env bash
# AISHELL-1 from its archives to character error rates; see README.md here and --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../local/asr.sh --config conf/zipformer.yaml "$@"
