# shellcheck shell=bash disable=SC2034,SC2154
# How jobs are started; sourced by local/asr.sh, which puts these words before its commands.
# NEVE_CMD=slurm sends the heavy stages to a cluster; change the resources below to what it has.

case "${NEVE_CMD:-local}" in
  local)
    cpu_cmd=()
    train_cmd=()
    decode_cmd=()
    ;;
  slurm)
    _slurm="$root/local/slurm.sh"
    cpu_cmd=("$_slurm" --cpus 8 --mem 16G --time 4:00:00 --)
    train_cmd=("$_slurm" --cpus 8 --gpus "${ngpu:-1}" --mem 32G --time 48:00:00 --)
    decode_cmd=("$_slurm" --cpus 8 --mem 16G --time 4:00:00 --)
    ;;
  *)
    echo "cmd.sh: NEVE_CMD is '$NEVE_CMD'; it can be local or slurm" >&2
    exit 2
    ;;
esac
