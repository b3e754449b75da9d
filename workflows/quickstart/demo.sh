#!/bin/sh
# The main job, end to end, on this machine: a run that fails in part, a re-run of exactly that part, the results.
# Uses nothing but the snakeway command; everything it makes is below demo-data/.
set -eu
cd "$(dirname "$0")/../.."

data=${1:-demo-data}
export SNAKEWAY_DATA_DIR="$data" SNAKEWAY_PORT="${SNAKEWAY_PORT:-8643}"
export SNAKEWAY_URL="http://127.0.0.1:$SNAKEWAY_PORT"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '$ snakeway %s\n' "$*"; snakeway "$@"; }

mkdir -p "$data"
snakeway serve >"$data/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT INT TERM
tries=0
until snakeway workflows >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
        echo "the server did not start; SNAKEWAY_PORT=PORT takes another port. Its log:" >&2
        cat "$data/server.log" >&2
        exit 1
    fi
    sleep 0.2
done

say "1. A run in which some jobs get too little memory"
show submit quickstart --config memory_demo=true --follow && { echo "it should have failed in part" >&2; exit 1; }

say "2. What failed, and why"
show jobs last --state failed
job=$(snakeway jobs last --state failed --json | sed -n 's/.*"job": *\([0-9]*\).*/\1/p' | head -n 1)
show logs last --job "$job" --tail 2

say "3. A re-run with what was lacking: only what failed, and what depends on it"
show rerun last --apply-suggestions --follow

say "4. What each attempt ran"
show show last

say "5. The results"
show get last results/table.csv results/figure.svg --output "$data"
cat "$data/results/table.csv"
echo
echo "The figure is $data/results/figure.svg. The next step is docs/tutorial/first-run.md."
