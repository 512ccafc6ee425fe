#!/usr/bin/env bash
# A general model meets the calls of a bank: the baseline, each of four measures, and all together.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
NEVE_COMMAND="egs/banking/ASR/run.sh$([ $# -eq 0 ] || printf ' %q' "$@")"
export NEVE_COMMAND

# Some of the stages, with keys that they have besides those of the configuration.
part() { ../../../local/asr.sh --config conf/phone.yaml --only "$1" --with "$2" "${@:3}"; }

decode=conf/decode
part "0 1 2" "" "$@"
part "3 4 5 6 7 8" conf/parts/general.yaml --graphs conf/graphs/words.yaml \
  --decodings "$decode/baseline.yaml $decode/words.yaml $decode/phrases.yaml" "$@"
part "4 5 6 7 8" conf/parts/bank.yaml --neural-lms conf/lms/neural.yaml \
  --decodings "$decode/ngram.yaml $decode/neural.yaml $decode/tuned.yaml $decode/live.yaml
    $decode/all.yaml" "$@"
part "9" "conf/parts/bank.yaml $decode/live.yaml" "$@"
