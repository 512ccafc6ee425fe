#!/usr/bin/env bash
# The stages of every recipe. egs/<corpus>/ASR/run.sh calls this from its own directory, with the
# few settings that are its own; see --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

stage=0
stop_stage=9
every="0 1 2 3 4 5 6 7 8 9"
only=$every
config=conf/default.yaml
with=
seeds=0
train_jobs=1
lms=
neural_lms=
graphs=
decodings=
nj=
dl_dir=${NEVE_CORPORA:-}
expdir=
ngpu=
num_nodes=1
wait=false
force=false
dry_run=false

help_message="usage: ./run.sh [OPTION]... [--section.key VALUE]...

Takes a corpus through the stages
  0 download  1 prepare  2 features  3 lang  4 lm  5 graph  6 train  7 decode  8 score  9 pack

  --stage N, --stop-stage N   the first and the last stage to run ($stage, $stop_stage)
  --only \"5 7 8\"   of these stages, only the ones in the list (all)
  --config FILE    YAML file of configuration keys ($config)
  --with \"A.yaml B.yaml\"  files of further keys, read after the configuration (none)
  --seeds \"0 1\"    stages 6 to 9 are run for each of these ($seeds)
  --train-jobs N   seeds to train at the same time ($train_jobs); set training.threads to what each has
  --decodings \"A.yaml B.yaml\"  stages 7 and 8 are run for each of these files of keys, read after
                   the configuration; each has a decoding.name of its own (the configuration alone)
  --lms \"A.yaml B.yaml\", --neural-lms ..., --graphs ...  what stages 4 and 5 make beside the LM and
                   the graph of the configuration, a file of keys for each: n-gram models, neural
                   ones, graphs; each has a paths.lm, paths.neural_lm or paths.graph of its own.
                   These and --decodings take patterns too: \"conf/decode/*.yaml\"
  --nj N           processes (as many as there are cores, 8 at most)
  --dl-dir DIR     where corpora may lie already; NEVE_CORPORA is the same
  --expdir DIR     where trainings go (paths.experiments of the configuration, exp)
  --ngpu N         0 trains on the CPU, 1 on a GPU (a GPU where there is one)
  --num-nodes N    machines to train on ($num_nodes)
  --wait           wait for another run in the same directory instead of failing
  --force          repeat stages that are finished
  --dry-run        print every command, run none
  --help           this text

Any configuration key can be given as well, e.g. --training.epochs 20; neve VERB --help lists
those of a stage. Paths are relative to the recipe's directory. How jobs are started (here, or by
slurm) is set in cmd.sh."

# Words as they can be typed again, each after a space.
quoted() { [ $# -eq 0 ] || printf ' %q' "$@"; }

NEVE_COMMAND=${NEVE_COMMAND:-${PWD#"$root"/}/run.sh$(quoted "$@")}
export NEVE_COMMAND
# shellcheck source=local/parse_options.sh
. "$root/local/parse_options.sh"
[ $# -eq 0 ] || _option_error "what is $1?"

say() { printf '%s\n' "$*" >&2; }

# Print a command; unless this is a dry run, run it.
run() {
  say "+$(quoted "$@")"
  "$dry_run" || "$@"
}

# Whether stage $1 is to be run; says so, and notes it.
ran=()
wanted() {
  [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ] && [[ " $only " == *" $1 "* ]] || return 1
  ran+=("$1")
  say
  say "stage $1: $2"
}

# Train all seeds, --train-jobs of them at a time, each line with its seed. If one fails, or this
# shell is told to end, the others are told to, and are waited for: none is left behind.
train_side_by_side() {
  local seed out writers=()
  trap 'trap "" INT TERM
    kill -TERM $(jobs -p) 2>/dev/null || :
    wait
    say "no training is left running; the same command goes on where each one is"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  for seed in $seeds; do
    [ "$(jobs -rp | wc -l)" -lt "$train_jobs" ] || wait -n
    say "+$(quoted "${train[@]}" --training.seed "$seed")"
    exec {out}> >(exec sed -u "s/^/seed $seed: /" >&2)
    writers+=($!)
    "${train[@]}" --training.seed "$seed" >&"$out" 2>&1 &
    exec {out}>&-
  done
  while [ -n "$(jobs -p)" ]; do wait -n; done
  trap - EXIT INT TERM
  wait "${writers[@]}" || : # until all that they said is on the screen
}

for number in "$stage" "$stop_stage"; do
  [[ $number =~ ^[0-9]$ ]] || _option_error "--stage and --stop-stage take 0 to 9, not '$number'"
done
for number in $only; do
  [[ $number =~ ^[0-9]$ ]] || _option_error "--only takes stages from 0 to 9, not '$number'"
done
[ -n "${only// /}" ] || _option_error "--only names no stage"
[ "$stage" -le "$stop_stage" ] ||
  _option_error "there is nothing to do from --stage $stage to --stop-stage $stop_stage"
[[ $train_jobs =~ ^[1-9][0-9]*$ ]] || _option_error "--train-jobs takes 1 or more, not '$train_jobs'"
others=()
for file in $config $with $lms $neural_lms $graphs $decodings; do # which may be patterns
  [ -f "$file" ] || _option_error "there is no file $file here ($PWD)"
  [[ " $config $with " == *" $file "* ]] || others+=(--each "$file")
done

if ! "$dry_run"; then
  # shellcheck source=path.sh
  . "$root/path.sh"
fi
# shellcheck source=cmd.sh
. "$root/cmd.sh"

common=()
for file in $config $with; do common+=(--config "$file"); done
[ -z "$expdir" ] || common+=(--paths.experiments "$expdir")
common+=("${overrides[@]}")
flags=()
[ -z "$nj" ] || flags+=(--nj "$nj")
"$wait" && flags+=(--wait)
"$force" && flags+=(--force)
train_flags=(--num-nodes "$num_nodes")
[ -z "$ngpu" ] || train_flags+=(--ngpu "$ngpu")

# A mistake in a configuration key shows here, not hours later; files of which each is read alone are
# checked alone.
run neve config --check "${common[@]}" "${others[@]}"
if "$dry_run" && command -v neve >/dev/null; then
  neve config --check "${common[@]}" "${others[@]}"
fi

# Run a command for each of the files of keys $1, read after the configuration.
for_each() {
  local file files=$1
  shift
  for file in $files; do run "$@" --config "$file"; done
}

if wanted 0 "download the corpus, or find it in --dl-dir"; then
  run local/download.sh ${dl_dir:+--dl-dir "$dl_dir"}
fi

if wanted 1 "manifests, audio and text checked"; then
  run "${cpu_cmd[@]}" neve prepare "${common[@]}" "${flags[@]}"
fi

if wanted 2 "features"; then
  run "${cpu_cmd[@]}" neve features "${common[@]}" "${flags[@]}"
fi

if wanted 3 "lang: tokens, words, lexicon"; then
  run neve lang "${common[@]}" "${flags[@]}"
fi

if wanted 4 "language models"; then
  run neve lm "${common[@]}" "${flags[@]}"
  for_each "$lms" neve lm "${common[@]}" "${flags[@]}"
  for_each "$neural_lms" "${train_cmd[@]}" neve train-lm "${common[@]}" "${flags[@]}" \
    "${train_flags[@]}"
fi

if wanted 5 "decoding graph"; then
  run "${cpu_cmd[@]}" neve graph "${common[@]}" "${flags[@]}"
  for_each "$graphs" "${cpu_cmd[@]}" neve graph "${common[@]}" "${flags[@]}"
fi

if wanted 6 "train (seeds: $seeds)"; then
  train=("${train_cmd[@]}" neve train "${common[@]}" "${flags[@]}" "${train_flags[@]}")
  if "$dry_run" || [ "$train_jobs" -eq 1 ]; then
    for seed in $seeds; do run "${train[@]}" --training.seed "$seed"; done
  else
    train_side_by_side
  fi
fi

# Run a command for each seed and decoding, with the configuration of both.
for_each_decoding() {
  local seed
  for seed in $seeds; do
    if [ -z "$decodings" ]; then
      run "$@" "${common[@]}" --training.seed "$seed" "${flags[@]}"
    else
      for_each "$decodings" "$@" "${common[@]}" --training.seed "$seed" "${flags[@]}"
    fi
  done
}

if wanted 7 "decode"; then
  for_each_decoding "${decode_cmd[@]}" neve decode
fi

if wanted 8 "score"; then
  for_each_decoding neve score
fi

if wanted 9 "pack the model directory"; then
  for seed in $seeds; do
    run neve pack "${common[@]}" --training.seed "$seed" "${flags[@]}"
  done
fi

if ! "$dry_run" && [ ${#ran[@]} -gt 0 ]; then
  stages="$stage to $stop_stage"
  [ "$only" = "$every" ] || stages="${ran[*]}"
  say
  say "stages $stages are done, after $((SECONDS / 60)) min $((SECONDS % 60)) s"
fi
