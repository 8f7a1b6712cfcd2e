#!/usr/bin/env bash
# Three people and a server that none of them has to trust, in a folder of its own: three agents and a coordinator are started, safety numbers
# are compared, a secret is sent while its receiver is offline, a second device is approved, a device is removed, and what the coordinator
# stored is searched for names, titles and secrets. Needs bin/ (make build) and nothing else. Exit code 0 only if every comparison held.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/bin:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/coldframe-people.XXXXXX")
. examples/story.sh
# as WHO COMMAND...: runs a command as the agent of that folder
as() {
  local who=$1; shift
  XDG_DATA_HOME=$work/$who/data XDG_STATE_HOME=$work/$who/state XDG_CONFIG_HOME=$work/$who/config XDG_RUNTIME_DIR=$work/$who/run "$@"
}
show() { printf '  %s $ %s\n' "$1" "${*:2}"; as "$@" | sed 's/^/    /'; }
start() { # start WHO: starts that agent
  mkdir -p -m 0700 "$work/$1/run"
  as "$1" exec coldframed --allow-local-coordinator --port 0 >> "$work/$1.log" 2>&1 &
  pids[$1]=$!
  until_ok "$1" coldframe status
}
until_ok() { # until_ok WHO COMMAND...: tries for 20 s
  local who=$1; shift
  for _ in $(seq 200); do as "$who" "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "  never: $who $*"; as "$who" "$@" || true; exit 1
}
until_text() { # until_text WHO TEXT COMMAND...: tries for 20 s until the output has the text
  local who=$1 text=$2; shift 2
  for _ in $(seq 200); do as "$who" "$@" 2>/dev/null | grep -qF -- "$text" && return; sleep 0.1; done
  echo "  never '$text': $who $*"; as "$who" "$@" || true; exit 1
}
field() { grep -oE "\"$1\": *\"[^\"]*\"" | head -1 | cut -d'"' -f4; } # field NAME: the first string of that name in JSON
id_of() { as "$1" coldframe status --json | field user_id; }

say "1. A coordinator, and three agents of three people"
coldframe-coordinator serve --data-dir "$work/coordinator" --listen 127.0.0.1:0 --registration open > "$work/coordinator.log" 2>&1 &
pids[coordinator]=$!
for _ in $(seq 100); do url=$(sed -nE 's/.*"address":"([^"]*)".*/http:\/\/\1/p' "$work/coordinator.log" | head -1); [ -n "$url" ] && break; sleep 0.05; done
for who in ada grace edsger; do
  start "$who"
  coldframe passphrase > "$work/$who.passphrase"
  as "$who" coldframe register "$who@example.org" --kit "$work/$who.kit" --coordinator "$url" < "$work/$who.passphrase" > "$work/$who.registered"
done
for who in ada grace edsger; do until_text "$who" online coldframe status; done
show ada coldframe status

say "2. Contacts: the coordinator finds people; who they are is compared by voice"
until_ok ada coldframe contacts add grace@example.org --name Grace
until_ok grace coldframe contacts add ada@example.org --name Ada
number() { as "$1" coldframe contacts verify "$2" --json | field digits; }
same "safety number, read out by both" "$(number ada Grace)" "$(number grace Ada)"
as ada coldframe contacts verify Grace --number "$(number grace Ada)" | sed 's/^/    /'
as grace coldframe contacts verify Ada --number "$(number ada Grace)" | sed 's/^/    /'
show ada coldframe contacts list

say "3. A secret is sent while its receiver is offline"
stop grace
as grace coldframe status >/dev/null 2>&1 && { echo "  Grace's agent still runs"; exit 1; }
secret="the vault in the basement opens with 4711"
printf '%s' "$secret" | as ada coldframe secrets send Grace --title "a place to remember" | sed 's/^/    /'
until_text ada sent coldframe secrets list
start grace
as grace coldframe unlock < "$work/grace.passphrase" | sed 's/^/    /'
until_text grace "a place to remember" coldframe secrets list
show grace coldframe secrets list
ref=$(as grace coldframe secrets list --json | field ref)
same "what Grace reads" "$(as grace coldframe secrets show "$ref")" "$secret"

say "4. A stranger waits for consent"
until_ok edsger coldframe contacts add grace@example.org --name Grace
printf 'hello' | as edsger coldframe secrets send Grace --title "from a stranger" --unverified | sed 's/^/    /'
until_text grace asked coldframe contacts list
same "secrets that Grace sees before she consents" "$(as grace coldframe secrets list --json | grep -o '"ref"' | wc -l | tr -d ' ')" 1
as grace coldframe contacts accept "$(id_of edsger)"
until_text grace "from a stranger" coldframe secrets list

say "5. Ada's second device: password and kit bring the vault, the first device lets it in"
start laptop
as laptop coldframe login --coordinator "$url" --kit "$work/ada.kit" < "$work/ada.passphrase" | sed 's/^/    /'
as laptop coldframe devices ask > "$work/code"
code=$(grep -oE '[0-9]{5}( [0-9]{5}){5}' "$work/code" | head -1)
until_text ada '"name"' coldframe devices requests --json
device=$(as ada coldframe devices requests --json | field device)
{ echo "$code"; cat "$work/ada.passphrase"; } | as ada coldframe devices approve "$device" | sed 's/^/    /'
until_text laptop '"listed"' coldframe devices list --json
show laptop coldframe devices list
until_ok laptop coldframe contacts show Grace
printf 'from the laptop' | as grace coldframe secrets send Ada --title "to both devices" | sed 's/^/    /'
until_text laptop "to both devices" coldframe secrets list
until_text ada "to both devices" coldframe secrets list

say "6. The laptop is lost: it is removed, and the state key is another"
as ada coldframe devices remove "$device" < "$work/ada.passphrase" | sed 's/^/    /'
until_text laptop login coldframe status # it was logged out, and is on no list
printf 'not for the thief' | as grace coldframe secrets send Ada --title "after the removal" | sed 's/^/    /'
until_text ada "after the removal" coldframe secrets list

say "7. What the coordinator has of all this"
printf '%s\n' ada@example grace@example edsger@example "a place to remember" basement "from a stranger" "to both devices" "from the laptop" Grace Edsger > "$work/words"
grep -rqaF "$(id_of ada)" "$work/coordinator" || { echo "  not even an id is there: this search shows nothing"; exit 1; }
same "files of the coordinator with a name, a title or a secret" "$( (grep -rlaiF -f "$work/words" "$work/coordinator" || true) | wc -l | tr -d ' ')" 0
coldframe-coordinator --data-dir "$work/coordinator" users | sed 's/^/    /'

say "Every comparison held, in $(( $(date +%s) - started )) s."
