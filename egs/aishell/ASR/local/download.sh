#!/usr/bin/env bash
# Stage 0: bring AISHELL-1 to download/data_aishell and download/resource_aishell, from --dl-dir DIR
# or $NEVE_CORPORA if they are there (data_aishell.tgz and resource_aishell.tgz, or the folders,
# with every speaker's archive in data_aishell/wav unpacked), else from OpenSLR (15 GB).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 ../../../local/fetch.py --url https://www.openslr.org/resources/33/data_aishell.tgz \
  --archive-digest md5:2f494334227864a8a8fec932999db9d8 \
  --folder data_aishell --inner 'wav/*.tar.gz' --pattern 'wav/*/*/*.wav' --discard "$@"
python3 ../../../local/fetch.py --url https://www.openslr.org/resources/33/resource_aishell.tgz \
  --archive-digest md5:957d480a0fcac85fc18e550756f624e5 \
  --folder resource_aishell --pattern '*' --discard "$@"
