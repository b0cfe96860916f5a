#!/bin/bash
# Benchmarks over a real ssh: sshd on 127.0.0.1 with keys of its own, and in a network namespace.
#
# The "board" is this machine with a Python that has numpy and onnxruntime and no edgekit. Takes
# about a minute and a half, most of it waiting for timeouts.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# As root on Debian; elsewhere the first missing tool ends the run with its name.
install_missing() {
    local missing=()
    command -v ssh >/dev/null || missing+=(openssh-client)
    [ -x /usr/sbin/sshd ] || missing+=(openssh-server)
    command -v ip >/dev/null || missing+=(iproute2)
    if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}

install_missing
"$python" -m venv "$build/board"
"$build/board/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt \
    numpy onnxruntime
BOARD_PYTHON=$build/board/bin/python "$python" -m pytest -q tests/remote/over_ssh.py "$@"
