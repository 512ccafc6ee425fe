#!/usr/bin/env bash
# Your own data: a table of audio path, text and speaker, or Kaldi data directories. See README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../local/asr.sh --config conf/table.yaml --seeds 0 "$@"
