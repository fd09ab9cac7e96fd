#!/usr/bin/env bash
# Tests and measures this project on a device of a machine that has no Rust: what it takes is put into one folder elsewhere.
#   scripts/gpu.sh pack FOLDER                where the project is built: builds and copies the program, the tests and what they read
#   FOLDER/gpu.sh run [DEVICE [SHAPE [OUT]]]  there: cuda (cuda:1, cpu), llama-7b (tiny), results
# PYTHON (python3) must have torch 2.11, whose libtorch everything runs on; with pyreft 0.1.0 in it that is measured beside. The default
# model must be in the user's cache, for its tokenizer. Goldens come with the folder.
set -euo pipefail
command=${1:?pack or run}
# Tests whose device is that of REFT_TEST_DEVICE, by crate.
core=(reft)
models=(conformance golden_encoder golden_families golden_gemma3 golden_llama golden_minilm golden_smollm2 half own_weights properties windows)

pack() {
    local folder=$1 file name
    cd "$(dirname "$0")/.."
    cargo build --workspace --bin reft --example random_checkpoint
    mkdir -p "$folder/tests" "$folder/scripts/bench"
    cp target/debug/reft target/debug/examples/random_checkpoint scripts/gpu.sh scripts/gpu/* "$folder"
    cp scripts/bench/peer_job.py "$folder/scripts/bench"
    cp -r tests/golden "$folder"
    # Cargo says which binary is which test: `Executable tests/half.rs (target/debug/deps/half-0123456789abcdef)`.
    cargo test --workspace --no-run "${core[@]/#/--test=}" "${models[@]/#/--test=}" 2>&1 | tee /dev/stderr |
        sed -n 's/.*Executable .*(\(.*\))$/\1/p' | while read -r file; do
        name=$(basename "$file")
        cp "$file" "$folder/tests/${name%-*}"
    done
    echo "gpu: packed into $folder: $(du -sh "$folder" | cut -f1)"
}

# The device's tests, each in a process of its own; all are run, and those that fail are counted.
tests() {
    local name said failed=0
    for name in "${core[@]}" "${models[@]}"; do
        if (cd tests && REFT_TEST_DEVICE=$device REFT_GOLDEN=$PWD/../golden LD_PRELOAD=$preload "./$name") > "$out/test-$name.txt" 2>&1; then
            said=$(grep -h '^test result' "$out/test-$name.txt" | tail -1)
            echo "test $name: ${said:-ok}"
        else
            failed=$((failed + 1))
            echo "test $name: FAILED, see $out/test-$name.txt: $(grep -hm1 "panicked\|error" "$out/test-$name.txt" || true)"
        fi
    done
    return $((failed > 0))
}

run() {
    local device=${1:-cuda} shape=${2:-llama-7b} out=${3:-results} python=${PYTHON:-python3} torch preload="" status=0
    cd "$(dirname "$0")"
    torch=$("$python" -c 'import torch, os; print(torch.__version__.split("+")[0], os.path.dirname(torch.__file__))') ||
        { echo "gpu: $python has no torch: set PYTHON to one with torch 2.11" >&2; exit 1; }
    case ${torch% *} in 2.11.*) ;; *) echo "gpu: $python has torch ${torch% *}: this was built for 2.11" >&2; exit 1 ;; esac
    export LD_LIBRARY_PATH=${torch#* }/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    if [ "$device" != cpu ]; then
        preload=${torch#* }/lib/libtorch_cuda.so
        [ -e "$preload" ] || { echo "gpu: $preload is not there: this torch has no CUDA part" >&2; exit 1; }
    fi
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    tests || status=1
    if [ ! -e "model-$shape/model.safetensors.index.json" ]; then
        ./random_checkpoint "$shape.json" "model-$shape" 5 0 smollm2
    fi
    "$python" measure.py --device "$device" --model "model-$shape" --out "$out" || status=1
    return $status
}

shift
case $command in
pack) pack "${1:?the folder}" ;;
run) run "$@" ;;
*) echo "gpu: $command: pack or run" >&2; exit 1 ;;
esac
