#!/usr/bin/env bash
# Stage 0: bring the 60 yes-no recordings to download/waves_yesno, from --dl-dir DIR or
# $NEVE_CORPORA if they are there (waves_yesno.tar.gz, or the folder), else from OpenSLR (5 MB).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec python3 ../../../local/fetch.py \
  --url https://www.openslr.org/resources/1/waves_yesno.tar.gz \
  --folder waves_yesno --pattern '*.wav' --count 60 --bytes 5885360 \
  --sha256 169bfe3c6c5e7c3eabbd6ad391d76f10cbdca1100b56e8085d35ee6ba81c5f77 "$@"
