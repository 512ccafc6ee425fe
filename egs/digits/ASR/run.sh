#!/usr/bin/env bash
# Digit strings and dates spoken by eSpeak NG: the default recipe, which needs no download.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../local/asr.sh --config conf/phone.yaml --seeds 0 "$@"
