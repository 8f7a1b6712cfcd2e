# What the stories of people.sh and people-curl.sh share; they source it after making their folder, $work. The processes of a story are in pids.
# shellcheck shell=bash
started=$(date +%s)
declare -A pids
finish() {
  local code=$?
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  [ "$code" -eq 0 ] || { echo; echo "failed (exit $code); the last lines of the logs:"; tail -n 8 "$work"/*.log; }
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
say()  { printf '\n\033[1m%s\033[0m\n' "$*"; }
same() { # same WHAT ONE TWO: two values that must be equal
  [ -n "$2" ] && [ "$2" = "$3" ] || { echo "  DIFFERENT: $1: $2 / $3"; exit 1; }
  echo "  same: $1"
}
stop() { kill "${pids[$1]}"; wait "${pids[$1]}" || true; unset "pids[$1]"; }
