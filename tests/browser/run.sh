#!/bin/bash
# Pages of latency reports in headless Chromium: figures, requests, messages, contrast, keyboard,
# phone and paper. With a folder as argument screenshots are left there, to be looked at.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
playwright=playwright-core@1.65.1
pictures=${1:-}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# As root on Debian; elsewhere the first missing tool ends the run with its name.
install_missing() {
    local missing=()
    [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || missing+=(chromium)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}

install_missing
# Its browser comes from the system: the package's own scripts have nothing to fetch.
npm install --prefix "$build" --ignore-scripts --no-audit --no-fund --silent "$playwright"
"$python" -m tests.browser.pages "$build"
node tests/browser/check.mjs "$build" "$build" ${pictures:+"$pictures"}
