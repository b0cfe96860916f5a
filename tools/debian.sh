#!/bin/sh
# Install what a fresh Debian lacks: venv, a C and C++ compiler, Python's headers, Fashion-MNIST.
#
# Does nothing where all is there. Without root or apt-get it names what is missing and goes on:
# only venv is indispensable, and its absence shows in the next step.
set -eu

python=${1:-python3}
missing=

"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
command -v c++ >/dev/null || missing="$missing g++"
"$python" -c 'import pathlib, sysconfig
assert pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()' 2>/dev/null ||
    missing="$missing python3-dev"
[ -d /usr/share/datasets/fashion-mnist ] || missing="$missing dataset-fashion-mnist"

[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed:$missing" >&2
    echo "without a compiler numpy decodes; without the data set the 1,000 test images of the" \
        "package are used. On Debian: apt-get install$missing" >&2
    exit 0
fi

echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of package names
apt-get install -y -qq --no-install-recommends $missing >/dev/null
