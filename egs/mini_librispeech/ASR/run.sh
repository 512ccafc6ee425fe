#!/usr/bin/env bash
# Mini LibriSpeech from its archives to word error rates; see README.md here and --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../local/asr.sh --config conf/ctc.yaml "$@"
