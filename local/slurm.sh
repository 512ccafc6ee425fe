#!/usr/bin/env bash
# Run a command as a slurm job and wait for it; output and exit status are the command's.
#   local/slurm.sh [--cpus N] [--gpus N] [--mem SIZE] [--time T] [--partition P] [--dry-run] -- COMMAND...
# --dry-run prints what would be given to slurm.
set -euo pipefail

cpus=1
gpus=0
mem=4G
time=1:00:00
partition=${NEVE_SLURM_PARTITION:-}
dry_run=false
# shellcheck disable=SC2034
help_message=$(sed -n '2,4s/^# *//p' "${BASH_SOURCE[0]}")

# shellcheck source=local/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"
[ $# -gt 0 ] || _option_error "there is no command to run"

job=(srun --job-name "neve-${2:-$1}" --ntasks 1 --cpus-per-task "$cpus" --mem "$mem" --time "$time")
[ "$gpus" -eq 0 ] || job+=(--gres "gpu:$gpus")
[ -z "$partition" ] || job+=(--partition "$partition")
# The job may compute with the cores it asked for, not with those of the machine it was sent from.
job+=(env "OMP_NUM_THREADS=$cpus" "$@")

if "$dry_run"; then
  printf '%q ' "${job[@]}"
  printf '\n'
  exit 0
fi
command -v srun >/dev/null || {
  echo "slurm.sh: there is no srun on this machine; set NEVE_CMD=local, or start from a machine" \
    "that submits jobs" >&2
  exit 1
}
exec "${job[@]}"
