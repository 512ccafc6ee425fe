#!/usr/bin/env bash
# Stage 0: bring CMU's AN4 to download/an4, from --dl-dir DIR or $NEVE_CORPORA if it is there
# (an4_sphere.tar.gz, or the folder an4), else from its owner's site (64 MB).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec python3 ../../../local/fetch.py \
  --url http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz \
  --folder an4 --pattern 'wav/**/*.sph' --count 1078 --bytes 94009472 \
  --sha256 1258667c329b9648358efa4ee77ae856d970ace160b13e708f3032438c2eee5d "$@"
