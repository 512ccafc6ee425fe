# shellcheck shell=bash
# The environment of every recipe; to be sourced. Makes it first, if need be:
# an environment that is active is used (and what is missing is installed into it, within the
# versions of constraints.txt); otherwise .venv is made at the top of this repository.
#
#   NEVE_EXTRAS       extras of setup.py to install (default: digits)
#   NEVE_PYTHON       the Python that makes .venv (default: python3, if it is 3.10 or later, else another)
#   NEVE_TORCH_INDEX  package index to take torch from, e.g. one of CPU builds, which are smaller

neve_root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

_neve_say() { printf 'path.sh: %s\n' "$*" >&2; }

# A Python that is new enough; nothing if there is none.
_neve_find_python() {
  local name
  for name in ${NEVE_PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# Whether Python $1 has neve and all it needs, with the extras in $2.
_neve_complete() {
  "$1" "$neve_root/local/missing.py" "$2" >/dev/null 2>&1
}

_neve_make_venv() {
  local venv=$1 found
  found=$(_neve_find_python) || {
    _neve_say "Python 3.10 or newer is needed and was not found; install it, or name it in NEVE_PYTHON"
    return 1
  }
  _neve_say "making $venv with $("$found" --version) ($found)"
  "$found" -m venv --clear "$venv" || {
    _neve_say "that failed; on Debian and Ubuntu, 'apt install python3-venv' brings what is missing"
    return 1
  }
}

_neve_install() {
  local python=$1 extras=$2 log=$3 torch=()
  local options=(--disable-pip-version-check --no-input --only-binary=:all:
    --constraint "$neve_root/constraints.txt")
  _neve_say "installing neve with [$extras] and all it needs; this takes some minutes the first time"
  [ -z "${NEVE_TORCH_INDEX:-}" ] || torch=(--index-url "$NEVE_TORCH_INDEX")
  {
    "$python" -m pip install "${options[@]}" setuptools &&
      if [ ${#torch[@]} -gt 0 ]; then
        "$python" -m pip install "${options[@]}" "${torch[@]}" torch
      fi &&
      "$python" -m pip install "${options[@]}" --no-build-isolation --editable "${neve_root}[$extras]"
  } 2>&1 | tee "$log" | sed -u -n 's/^ *\(Downloading [^ ]*\).*\((.*)\).*/  \1 \2/p
      s/^\(ERROR\|error\|Successfully\)/  \1/p' | cut -c 1-160 >&2
  [ "${PIPESTATUS[0]}" -eq 0 ] || {
    tail -n 3 "$log" >&2
    _neve_say "the installation failed; all that pip said is in $log. Run the same command again" \
      "when the cause is gone: it goes on from here"
    return 1
  }
}

_neve_setup() {
  local extras=${NEVE_EXTRAS:-digits} prefix python active=false stamp hash
  if [ -n "${VIRTUAL_ENV:-}" ] && [ "$VIRTUAL_ENV" != "$neve_root/.venv" ]; then
    active=true prefix=$VIRTUAL_ENV python=$VIRTUAL_ENV/bin/python
  elif [ -z "${VIRTUAL_ENV:-}" ] && [ -n "${CONDA_PREFIX:-}" ]; then
    active=true prefix=$CONDA_PREFIX python=$CONDA_PREFIX/bin/python
  else
    prefix=$neve_root/.venv python=$neve_root/.venv/bin/python
  fi

  # The place counts too: the scripts in an environment that was moved point to where it was.
  hash=$({ cat "$neve_root/constraints.txt" "$neve_root/setup.py" && echo "$neve_root"; } | cksum)
  stamp=$prefix/.neve-installed-${extras//,/-}
  if "$active"; then
    if ! _neve_complete "$python" "$extras"; then
      _neve_say "the active environment $prefix lacks something:" \
        "$("$python" "$neve_root/local/missing.py" "$extras" 2>&1 | head -n 1)"
      _neve_install "$python" "$extras" "$neve_root/.venv.log" || return 1
    fi
  else
    # The stamp is written last: without it, or with another hash, the environment is made (again).
    if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$hash" ]; then
      (
        exec 9>"$neve_root/.venv.lock"
        if command -v flock >/dev/null && ! flock --nonblock 9; then
          _neve_say "another process is making $prefix; waiting for it"
          flock 9
        fi
        if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$hash" ]; then
          "$python" -m pip --version >/dev/null 2>&1 || _neve_make_venv "$prefix" || exit 1
          _neve_install "$python" "$extras" "$neve_root/.venv.log" || exit 1
          _neve_complete "$python" "$extras" || {
            _neve_say "something is still missing:" \
              "$("$python" "$neve_root/local/missing.py" "$extras" 2>&1 | head -n 1)"
            exit 1
          }
          printf '%s\n' "$hash" >"$stamp.$$" && mv "$stamp.$$" "$stamp"
        fi
      ) || return 1
    fi
    export VIRTUAL_ENV=$prefix
    unset PYTHONHOME
  fi
  case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) PATH=$prefix/bin:$PATH ;;
  esac
}

_neve_setup || return 1 2>/dev/null || exit 1

# This checkout's library, whatever else the environment holds.
export PYTHONPATH="$neve_root${PYTHONPATH:+:$PYTHONPATH}"
export PATH
export LC_ALL=C PYTHONUTF8=1 PYTHONUNBUFFERED=1

# Threads: as many as there are cores, and threads that wait must sleep rather than spin. Spinning
# OpenMP threads slow each other down tenfold where another process uses the same cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc)}"
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-0}"
export KMP_BLOCKTIME="${KMP_BLOCKTIME:-0}"

# Memory: glibc returns freed blocks to the system and faults them in again at every training step,
# which can cost a third of the time. Keep them.
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}"
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-17179869184}"
export MALLOC_TOP_PAD_="${MALLOC_TOP_PAD_:-67108864}"
