#!/usr/bin/env bash
# The story of people.sh by curl alone: agents and coordinator are started here, and every act of a person is one request to the local API over
# the agent's Unix socket, with the token that lies beside it. Needs bin/ (make build) and curl. Exit code 0 only if every comparison held.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/bin:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/coldframe-curl.XXXXXX")
umask 077
. examples/story.sh
start() { # start WHO: starts that agent, and writes its token down as a header
  local home=$work/$1
  mkdir -p "$home/run"
  XDG_DATA_HOME=$home/data XDG_STATE_HOME=$home/state XDG_CONFIG_HOME=$home/config XDG_RUNTIME_DIR=$home/run \
    coldframed --allow-local-coordinator --port 0 >> "$work/$1.log" 2>&1 &
  pids[$1]=$!
  for _ in $(seq 200); do curl -sf --unix-socket "$home/run/coldframe/agent.sock" http://localhost/healthz >/dev/null && break; sleep 0.1; done
  sed 's/^/Authorization: Bearer /' "$home/run/coldframe/token" > "$home/header"
}
# api WHO PATH OPTIONS...: one request to that agent. A body comes on standard input with --json @-, so no secret is an argument.
api() { curl -sS --fail-with-body --unix-socket "$work/$1/run/coldframe/agent.sock" -H @"$work/$1/header" "http://localhost/v1/$2" "${@:3}"; }
retry() { # retry WHO ...: api, for 20 s until it succeeds
  local answer
  for _ in $(seq 200); do answer=$(api "$@" 2>/dev/null) && { echo "$answer"; return; }; sleep 0.1; done
  echo "  never: $*: $answer" >&2; exit 1
}
until_has() { # until_has WHO PATH PATTERN: asks for 20 s until the answer has it
  local answer=
  for _ in $(seq 200); do answer=$(api "$1" "$2" 2>/dev/null) && grep -qE -- "$3" <<< "$answer" && return; sleep 0.1; done
  echo "  never '$3': $1 $2: $answer"; exit 1
}
field() { grep -oE "\"$1\": *\"[^\"]*\"" | head -1 | cut -d'"' -f4; } # field NAME: the first string of that name in JSON
titled() { grep -oE '\{[^{}]*\}' | grep -F "\"$1\"" | head -1; }      # titled TITLE: the object in a list that has this text
device() { grep -oE '"device": *\{[^{}]*\}' | field "$1"; }           # device NAME: that field of a status' device
refusal() { { api "$@" 2>/dev/null || true; } | field code; }         # refusal WHO ...: the code of a request that is refused
base() { base64 | tr -d '\n'; }
secret() { printf '{"to":"%s","title":"%s","body":"%s"%s}' "$1" "$2" "$(printf '%s' "$3" | base)" "${4:-}"; } # secret TO TITLE TEXT [MORE]
declare -A id password kit

say "1. A coordinator, and three agents of three people"
coldframe-coordinator serve --data-dir "$work/coordinator" --listen 127.0.0.1:0 --registration open > "$work/coordinator.log" 2>&1 &
pids[coordinator]=$!
url=
for _ in $(seq 100); do url=$(sed -nE 's/.*"address":"([^"]*)".*/http:\/\/\1/p' "$work/coordinator.log" | head -1); [ -n "$url" ] && break; sleep 0.05; done
for who in ada grace edsger; do
  start "$who"
  # A password that can be guessed is refused, and the answer has one that cannot.
  refused=$(printf '{"email":"%s@example.org","password":"password"}' "$who" | api "$who" register --json @- 2>/dev/null || true)
  password[$who]=$(field suggested_passphrase <<< "$refused")
  account=$(printf '{"email":"%s@example.org","password":"%s"}' "$who" "${password[$who]}" | api "$who" register --json @-)
  id[$who]=$(field user_id <<< "$account") kit[$who]=$(field recovery_kit <<< "$account")
  printf '{"url":"%s","password":"%s"}' "$url" "${password[$who]}" | api "$who" coordinator -X PUT --json @- | sed "s/^/  $who: /"
done
for who in ada grace edsger; do until_has "$who" status '"state": *"online"'; done

say "2. Contacts: the coordinator finds people; who they are is compared by voice"
found=$(retry ada contacts --json '{"email":"grace@example.org","name":"Grace"}')
echo "  $found"
same "the id behind Grace's address" "$(field user <<< "$found")" "${id[grace]}"
retry grace contacts --json '{"email":"ada@example.org","name":"Ada"}' | sed 's/^/  /'
number() { api "$1" "contacts/${id[$2]}/safety-number" | field digits; }
same "safety number, read out by both" "$(number ada grace)" "$(number grace ada)"
compared() { printf '{"number":"%s"}' "$(number "$2" "$1")" | api "$1" "contacts/${id[$2]}/verified" -X PUT --json @- | sed 's/^/  /'; }
compared ada grace
compared grace ada
same "a wrong number" "$(printf '{"number":"%060d"}' 0 | refusal ada "contacts/${id[grace]}/verified" -X PUT --json @-)" key_changed

say "3. A secret is sent while its receiver is offline"
stop grace
text="the vault in the basement opens with 4711"
secret "${id[grace]}" "a place to remember" "$text" | api ada secrets --json @- | sed 's/^/  /'
until_has ada secrets '"state": *"sent"'
start grace
printf '{"password":"%s"}' "${password[grace]}" | api grace unlock --json @-
until_has grace secrets "a place to remember"
ref=$(api grace secrets | titled "a place to remember" | field ref)
same "what Grace reads" "$(api grace "secrets/$ref" | field body | base64 -d)" "$text"

say "4. A stranger waits for consent"
retry edsger contacts --json '{"email":"grace@example.org","name":"Grace"}' > /dev/null
same "to somebody whose number nobody compared" "$(secret "${id[grace]}" "from a stranger" hello | refusal edsger secrets --json @-)" untrusted_key
secret "${id[grace]}" "from a stranger" hello ',"unverified":true' | api edsger secrets --json @- | sed 's/^/  /'
until_has grace contacts '"state": *"asked"'
same "secrets that Grace sees before she consents" "$(api grace secrets | grep -o '"ref"' | wc -l | tr -d ' ')" 1
api grace "contacts/${id[edsger]}/accept" --json '{}' | sed 's/^/  /'
until_has grace secrets "from a stranger"

say "5. Ada's second device: password and kit bring the vault, the first device lets it in"
start laptop
printf '{"url":"%s","recovery_kit":"%s","password":"%s"}' "$url" "${kit[ada]}" "${password[ada]}" | api laptop login --json @-
until_has laptop status '"state": *"online"'
same "whose vault it is" "$(api laptop status | field user_id)" "${id[ada]}"
code=$(retry laptop devices/ask --json '{"name":"laptop"}' | field code)
machine=$(api laptop status | device id)
until_has ada devices/requests "$machine"
same "approved with another code" \
  "$(printf '{"code":"%030d","password":"%s"}' 0 "${password[ada]}" | refusal ada "devices/$machine/approve" --json @-)" untrusted_key
printf '{"code":"%s","password":"%s"}' "$code" "${password[ada]}" | api ada "devices/$machine/approve" --json @-
until_has laptop status '"state": *"listed"'
api laptop devices | sed 's/^/  /'
until_has laptop contacts '"name": *"Grace"'
secret "${id[ada]}" "to both devices" "from Grace" | api grace secrets --json @- | sed 's/^/  /'
for who in ada laptop; do
  until_has "$who" secrets "to both devices"
  same "what Ada reads ($who)" "$(api "$who" "secrets/$(api "$who" secrets | titled "to both devices" | field ref)" | field body | base64 -d)" "from Grace"
done

say "6. The laptop is lost: it is removed, and the state key is another"
same "removed with a guessed password" "$(refusal ada "devices/$machine" -X DELETE --json '{"password":"a guess"}')" not_authentic
printf '{"password":"%s"}' "${password[ada]}" | api ada "devices/$machine" -X DELETE --json @-
until_has laptop status '"state": *"(removed|login_needed)"' # whichever it hears of first: it is on no list, and logged out
secret "${id[ada]}" "after the removal" "not for the thief" | api grace secrets --json @- | sed 's/^/  /'
until_has ada secrets "after the removal"
same "what the laptop sees of it" "$(api laptop secrets | grep -c "after the removal")" 0
same "devices that are left" "$(api ada devices | grep -o '"key_time"' | wc -l | tr -d ' ')" 1

say "7. What the coordinator has of all this"
searched() { { LC_ALL=C grep -rlaiF "$@" "$work/coordinator" || true; } | wc -l | tr -d ' '; }
[ "$(searched -e "${id[ada]}")" -gt 0 ] || { echo "  the coordinator's files are not as they are searched here"; exit 1; }
printf '%s\n' ada@example grace@example edsger@example "a place to remember" basement "from a stranger" "to both devices" "from Grace" "not for the thief" Edsger > "$work/words"
same "files of the coordinator with a name, a title or a secret" "$(searched -f "$work/words")" 0

say "Every comparison held, in $(( $(date +%s) - started )) s."
