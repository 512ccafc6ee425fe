#!/usr/bin/env bash
# Stage 0: bring LibriSpeech to download/LibriSpeech/<part>, and its language model and lexicon to
# download/lm, from --dl-dir DIR or $NEVE_CORPORA if they are there (<part>.tar.gz, or the folder
# LibriSpeech; the files as they are called at OpenSLR), else from OpenSLR (60 GB).
#   LIBRISPEECH_PARTS  the parts to bring, when not all of them are wanted
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for part in ${LIBRISPEECH_PARTS:-dev-clean dev-other test-clean test-other \
  train-clean-100 train-clean-360 train-other-500}; do
  case $part in
    dev-clean) sha256=76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3 ;;
    dev-other) sha256=12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365 ;;
    test-clean) sha256=39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23 ;;
    test-other) sha256=d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29 ;;
    train-clean-100) sha256=d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2 ;;
    train-clean-360) sha256=146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf ;;
    train-other-500) sha256=ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2 ;;
    *)
      echo "download.sh: LIBRISPEECH_PARTS: LibriSpeech has no part '$part'" >&2
      exit 2
      ;;
  esac
  python3 ../../../local/fetch.py --url "https://www.openslr.org/resources/12/$part.tar.gz" \
    --archive-digest "sha256:$sha256" --folder "LibriSpeech/$part" --pattern '*/*/*.flac' \
    --also 'LibriSpeech/*.TXT' --discard "$@"
done

for file in librispeech-lexicon.txt 3-gram.pruned.1e-7.arpa.gz; do
  python3 ../../../local/fetch.py --url "https://www.openslr.org/resources/11/$file" \
    --file "lm/$file" "$@"
done
