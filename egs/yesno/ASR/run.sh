#!/usr/bin/env bash
# yesno: a small TDNN on phones, HLG, from sixty recordings; done in well under a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../local/asr.sh --config conf/tdnn.yaml --seeds "0 1 2" "$@"
