#!/usr/bin/env bash
# Stage 0: bring Mini LibriSpeech to download/LibriSpeech/<part>, and LibriSpeech's lexicon and
# smallest trigram to download/lm, from --dl-dir DIR or $NEVE_CORPORA if they are there
# (<part>.tar.gz, or the folder LibriSpeech), else from OpenSLR (480 MB).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fetch() { python3 ../../../local/fetch.py "$@"; }

part() {
  fetch --url "https://www.openslr.org/resources/31/$1.tar.gz" --archive-digest "md5:$2" \
    --folder "LibriSpeech/$1" --pattern '*/*/*.flac' --also 'LibriSpeech/*.TXT' "${@:3}"
}
part train-clean-5 5df7d4e78065366204ca6845bb08f490 "$@"
part dev-clean-2 6d7ab67ac6a1d2c993d050e16d61080d "$@"

for file in librispeech-lexicon.txt 3-gram.pruned.3e-7.arpa.gz; do
  fetch --url "https://www.openslr.org/resources/11/$file" --file "lm/$file" "$@"
done
