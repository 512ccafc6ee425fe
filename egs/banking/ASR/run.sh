#!/usr/bin/env bash
# A general model meets the calls of a bank: the baseline, each of five measures, and all together.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
NEVE_COMMAND="egs/banking/ASR/run.sh$([ $# -eq 0 ] || printf ' %q' "$@")"
export NEVE_COMMAND

# Stages $1 of the template, with the files of keys $2 read after the configuration.
part() { ../../../local/asr.sh --config conf/phone.yaml --only "$1" --with "$2" "${@:3}"; }

case " $* " in
  *" --help "* | *" -h "*) exec ../../../local/asr.sh --config conf/phone.yaml --help ;;
  *" --only"* | *" --with"*)
    echo "run.sh: the parts of this recipe have --only and --with of their own; choose stages by" \
      "--stage and --stop-stage, keys by --config" >&2
    exit 2
    ;;
esac

decode=conf/decode
part "0 1 2" "" "$@"
part "3 4 5 6 7 8" conf/parts/general.yaml --graphs conf/graphs/words.yaml \
  --decodings "$decode/baseline.yaml $decode/words.yaml $decode/phrases.yaml" "$@"
part "4 5 6 7 8" conf/parts/bank.yaml --neural-lms conf/lms/neural.yaml \
  --decodings "$decode/ngram.yaml $decode/neural.yaml $decode/tuned.yaml $decode/live.yaml
    $decode/all.yaml" "$@"
part "9" "conf/parts/bank.yaml $decode/live.yaml" "$@"
