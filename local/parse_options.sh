# shellcheck shell=bash
# Options as in Kaldi's parse_options.sh; to be sourced:
#
#   stage=0; stop_stage=9; dry_run=false; help_message="usage: ..."
#   . parse_options.sh
#
# --name VALUE or --name=VALUE sets the variable `name`, which must be declared before; dashes equal
# underscores. A variable that holds true or false is a switch and needs no value. Configuration
# keys, `--section.key VALUE` and the top-level `--tag VALUE`, are collected in the array `overrides`
# as they are. What is left over stays in "$@". --help prints $help_message.

overrides=()

_option_error() {
  printf '%s: %s (see --help)\n' "${0##*/}" "$1" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      printf '%s\n' "${help_message:-$0: there is no help}"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    --*) ;;
    *) break ;;
  esac

  _option=$1
  shift
  case "$_option" in
    *=*)
      _name=${_option%%=*}
      set -- "${_option#*=}" "$@"
      ;;
    *) _name=$_option ;;
  esac

  case "$_name" in
    --*.* | --tag | --title)
      [ $# -gt 0 ] || _option_error "$_name needs a value"
      overrides+=("$_name" "$1")
      shift
      continue
      ;;
  esac

  _name=${_name#--}
  _name=${_name//-/_}
  [[ $_name =~ ^[A-Za-z][A-Za-z0-9_]*$ ]] || _option_error "what is $_option?"
  [ -n "${!_name+declared}" ] || _option_error "there is no option --${_name//_/-}"

  case "${!_name}" in
    true | false)
      case "${1-}" in
        true | false)
          printf -v "$_name" '%s' "$1"
          shift
          ;;
        *) printf -v "$_name" true ;;
      esac
      ;;
    *)
      [ $# -gt 0 ] || _option_error "--${_name//_/-} needs a value"
      printf -v "$_name" '%s' "$1"
      shift
      ;;
  esac
done
unset _option _name
