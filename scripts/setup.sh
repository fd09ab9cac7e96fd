#!/usr/bin/env bash
# Puts libtorch into .venv and tells cargo where it is. Safe to run again, and after being killed half-way.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'setup: %s\n' "$1" >&2; exit 1; }
has_gpu() { [ "${REFT_CUDA:-}" = 1 ] || [ -e /dev/nvidia0 ]; }

stamp=.venv/.reft-setup
parts=cpu; if has_gpu; then parts=cuda; fi
wanted="$PWD $parts $(cat requirements/torch.txt requirements/cuda.txt scripts/setup.sh | sha256sum | cut -c1-16)"
if [ -f .cargo/config.toml ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

command -v cargo >/dev/null || fail "cargo is missing: install Rust with rustup, then run make again"
command -v c++ >/dev/null || fail "no C++ compiler: apt-get install g++"
command -v python3 >/dev/null || fail "python3 is missing: apt-get install python3 python3-venv"

# A venv without its stamp was interrupted: begin again, downloads are cached by pip.
rm -rf .venv .libtorch
python3 -m venv .venv || fail "python3 cannot make a virtual environment: apt-get install python3-venv"
free=$(df -Pk . | awk 'NR==2 {print $4}')
[ "$free" -gt 3000000 ] || fail "only $((free / 1024)) MiB free here: 3 GB are needed for libtorch and the build"

# Wheels placed in wheels/ by hand are taken before anything is downloaded.
mkdir -p wheels
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@" --find-links wheels; }
echo "setup: installing torch 2.11.0 (530 MB) into .venv"
pip install -q --no-deps --require-hashes -r requirements/torch.txt || fail \
    "torch 2.11.0, which this project computes with, could not be installed: check the network, or place the wheels \
named in requirements/torch.txt (for $(python3 --version)) in $PWD/wheels by hand, and run make again"

torch=$(echo .venv/lib/python3*/site-packages/torch)
if [ "$parts" = cuda ]; then
    echo "setup: an NVIDIA GPU is here, installing the CUDA libraries (about 3 GB)"
    pip install -q -r requirements/cuda.txt || fail \
        "the CUDA libraries of requirements/cuda.txt could not be installed: check the network, or place them in $PWD/wheels"
else
    # Half a gigabyte that nothing on this machine can use, and that the linker would look at.
    rm -f "$torch"/lib/lib{torch_cuda,torch_cuda_linalg,c10_cuda,torch_nvshmem,torch_python,caffe2_nvrtc}.so
fi
ln -sfn "$torch" .libtorch

mkdir -p .cargo
cat > .cargo/config.toml.tmp <<EOF
# Written by scripts/setup.sh for this folder; run \`make setup\` after moving it.
[env]
LIBTORCH = "$PWD/.libtorch"

[build]
rustdocflags = ["-C", "link-arg=-Wl,-rpath,$PWD/.libtorch/lib"]

[target.'cfg(target_os = "linux")']
rustflags = ["-C", "link-arg=-Wl,-rpath,$PWD/.libtorch/lib"]
EOF
mv .cargo/config.toml.tmp .cargo/config.toml
echo "$wanted" > "$stamp"
echo "setup: done ($parts)"
