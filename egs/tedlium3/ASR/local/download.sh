#!/usr/bin/env bash
# Stage 0: bring TED-LIUM 3 to download/TEDLIUM_release-3, from --dl-dir DIR or $NEVE_CORPORA if it
# is there (TEDLIUM_release-3.tgz, or the folder TEDLIUM_release-3), else from OpenSLR (50 GB).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec python3 ../../../local/fetch.py \
  --url https://www.openslr.org/resources/51/TEDLIUM_release-3.tgz \
  --archive-digest sha256:ad1e454d14d1ad550bc2564c462d87c7a7ec83d4dc2b9210f22ab4973b9eccdb \
  --folder TEDLIUM_release-3 --pattern 'legacy/*/sph/*.sph' --discard "$@"
