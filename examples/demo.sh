#!/usr/bin/env bash
# The main job, start to end, in a folder of its own: an agent is started, three public tables are encrypted into a store, read back, compared,
# locked, updated, and the old version read. Needs bin/ (make build) and nothing else. With COLDFRAME_S3_ENDPOINT set (scripts/with-s3) the
# store is that S3 server instead of a folder. Exit code 0 only if every comparison held.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/bin:$PATH
data=$PWD/testdata
work=$(mktemp -d "${TMPDIR:-/tmp}/coldframe-demo.XXXXXX")
export XDG_DATA_HOME=$work/data XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config XDG_RUNTIME_DIR=$work/run
mkdir -p -m 0700 "$XDG_RUNTIME_DIR"
started=$(date +%s)
agent=
finish() {
  local code=$?
  [ -z "$agent" ] || { kill "$agent" 2>/dev/null && wait "$agent" 2>/dev/null; } || true
  [ "$code" -eq 0 ] || { echo; echo "demo failed (exit $code); the agent's log:"; tail -20 "$work/agent.log"; }
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
say()  { printf '\n\033[1m%s\033[0m\n' "$*"; }
run()  { printf '  $ %s\n' "$*"; "$@" | sed 's/^/    /'; }
same() { # same WHAT ONE TWO: two values that must be equal
  [ -n "$2" ] && [ "$2" = "$3" ] || { echo "  DIFFERENT: $1: $2 / $3"; exit 1; }
  echo "  same: $1 ($2)"
}
# 5.0 and 5 are the same number to a column of floats: the zero goes before hashing.
hash_of() { sed -E 's/\.0(,|$)/\1/g' | sha256sum | cut -c1-16; }

say "1. An agent starts on this machine"
# A real bucket is reached over https; a test server on loopback has to be allowed by name.
coldframed ${COLDFRAME_S3_ENDPOINT:+--allow-local-store} --port 0 >"$work/agent.log" 2>&1 &
agent=$!
for _ in $(seq 100); do coldframe status >/dev/null 2>&1 && break; sleep 0.05; done
run coldframe status

say "2. A person registers: keys are made here, from a passphrase that never leaves the machine"
coldframe passphrase > "$work/passphrase"
echo "  passphrase: $(cat "$work/passphrase")"
coldframe register ada@example.org --kit "$work/recovery-kit.txt" < "$work/passphrase" | sed 's/^/    /'
echo "  recovery kit: $(wc -l < "$work/recovery-kit.txt") lines, to be printed and kept"

say "3. Where the ciphertext goes"
if [ -n "${COLDFRAME_S3_ENDPOINT:-}" ]; then
  objects=$COLDFRAME_S3_DIR
  { cat "$work/passphrase"; echo "$AWS_ACCESS_KEY_ID"; echo "$AWS_SECRET_ACCESS_KEY"; } |
    coldframe store set s3 --bucket "$COLDFRAME_S3_BUCKET" --endpoint "$COLDFRAME_S3_ENDPOINT" --region us-east-1 --path-style | sed 's/^/    /'
else
  objects=$work/store
  mkdir -m 0700 "$objects"
  coldframe store set folder "$objects" < "$work/passphrase" | sed 's/^/    /'
fi
run coldframe store check

say "4. Three public tables go in: each column under a key of its own"
for table in weather.csv employment.csv earthquakes.ndjson; do
  run coldframe put "$data/$table" --title "${table%.*}"
done
run coldframe ls

say "5. What the store sees: random names, rounded sizes, no value"
find "$objects" -type f -not -path '*/.*' -printf '  %s bytes  %f\n'
# A hundred values out of the tables, each long enough that it can't turn up by accident.
{ sed -n '2,41p' "$data/weather.csv" | cut -d, -f1
  sed -n '2,31p' "$data/employment.csv" | cut -d, -f1-2
  grep -oE '"place":"[^"]{12,}"' "$data/earthquakes.ndjson" | cut -d'"' -f4 | sort -u | sed -n '1,30p'
} > "$work/values"
same "values looked for" "$(wc -l < "$work/values" | tr -d ' ')" 100
found=$(grep -rlaF -f "$work/values" "$objects" "$XDG_DATA_HOME" "$XDG_STATE_HOME" | wc -l || true)
same "objects and local files that hold one of them" "$((found)) of them" "0 of them"

say "6. Two columns come back; only they are fetched"
run coldframe get weather --columns date,temp_max --limit 3
same "date and temp_max of all rows" \
  "$(coldframe get weather --columns date,temp_max | hash_of)" "$(cut -d, -f1,3 "$data/weather.csv" | hash_of)"
same "employment, whole" "$(coldframe get employment | hash_of)" "$(hash_of < "$data/employment.csv")"
same "earthquakes, rows" "$(coldframe get earthquakes --format ndjson | wc -l | tr -d ' ')" "$(wc -l < "$data/earthquakes.ndjson" | tr -d ' ')"

say "7. Locked: the keys are gone from memory, and so is the answer"
run coldframe lock
if coldframe get weather > "$work/out" 2> "$work/refusal"; then echo "  it answered while locked"; exit 1; fi
sed 's/^/    /' "$work/refusal"
same "bytes that came out" "$(wc -c < "$work/out" | tr -d ' ')" 0
coldframe unlock < "$work/passphrase" | sed 's/^/    /'

say "8. An update is a new version under new keys; the old one stays"
sed '2s/12.8/99.9/' "$data/weather.csv" > "$work/weather.csv"
run coldframe put "$work/weather.csv" --title weather
run coldframe versions weather
same "temp_max of version 2" "$(coldframe get weather --columns temp_max --limit 1 | tail -1)" 99.9
same "temp_max of version 1" "$(coldframe get weather --columns temp_max --limit 1 --version 1 | tail -1)" 12.8

say "9. Throughput on this machine (a table of 200 MB, made here)"
head -1 "$data/birdstrikes.csv" > "$work/big.csv"
for _ in $(seq 164); do awk 'NR>1' "$data/birdstrikes.csv"; done >> "$work/big.csv"
size=$(wc -c < "$work/big.csv")
t0=$(date +%s%N); coldframe put "$work/big.csv" --title big --quiet; t1=$(date +%s%N)
coldframe get big --format arrow > "$work/big.arrow"; t2=$(date +%s%N)
echo "  in:  $(( size / 1000000 )) MB of CSV in $(( (t1 - t0) / 1000000 )) ms = $(( size * 1000 / (t1 - t0) )) MB/s"
echo "  out: $(( $(wc -c < "$work/big.arrow") / 1000000 )) MB of Arrow in $(( (t2 - t1) / 1000000 )) ms = $(( $(wc -c < "$work/big.arrow") * 1000 / (t2 - t1) )) MB/s"

say "Every comparison held, in $(( $(date +%s) - started )) s."
