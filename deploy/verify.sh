#!/usr/bin/env bash
# deploy/verify.sh: systemd's own checks of the units: syntax, and an exposure of at most 2.0 of 10 for each service.
set -euo pipefail
cd "$(dirname "$0")"
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not here; units not checked"; [ "${CI:-}" != true ]; exit; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export XDG_RUNTIME_DIR=$work
# verify wants the programs to be where the units say; the copies point at one that exists.
for unit in user/* system/*; do
  mkdir -p "$work/$(dirname "$unit")"
  sed -E "s#/usr/local/bin/(coldframed|coldframe-coordinator)#/bin/true#" "$unit" > "$work/$unit"
done
mv "$work/system/coldframed@.service" "$work/system/coldframed@daemon.service"
systemd-analyze verify --man=no --user "$work/user/coldframed.service" "$work/user/coldframed.socket"
systemd-analyze verify --man=no "$work/system/coldframed@daemon.service" "$work/system/coldframe-coordinator.service"
for service in "$work/user/coldframed.service" "$work/system/coldframed@daemon.service" "$work/system/coldframe-coordinator.service"; do
  systemd-analyze security --offline=true --threshold=20 "$service" > "$work/report" || { grep -v '✓' "$work/report"; exit 1; }
  tail -1 "$work/report"
done
! command -v systemd-sysusers >/dev/null || systemd-sysusers --dry-run --root="$work" "$PWD"/sysusers/*
