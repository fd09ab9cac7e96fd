#!/usr/bin/env bash
# Installs the Python library that `make bench` compares with into .venv-peer (about 5 GB: it wants all of CUDA).
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv-peer/.done
wanted=$(sha256sum < requirements/peer.txt)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0
echo "peer: installing pyreft 0.1.0 and its 70 packages into .venv-peer"
rm -rf .venv-peer
python3 -m venv .venv-peer
.venv-peer/bin/python -m pip --disable-pip-version-check install -q --no-deps -r requirements/peer.txt || {
    echo "peer: the packages of requirements/peer.txt could not be installed: check the network (Python 3.11 is what they were pinned with)" >&2
    exit 1
}
echo "$wanted" > "$stamp"
