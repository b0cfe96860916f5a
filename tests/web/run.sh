#!/bin/bash
# The web page and its loader: the decoder is current, the loader reads the golden vectors under
# Node, sessions answer as in Python, and the page works in headless Chromium.
#
# Packages lie in build/web; as root on Debian, Node and Chromium are installed where they are
# missing. Takes about two minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
ziglang=ziglang==0.17.1
build=build/web

install_missing() {
    local missing=()
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
    if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
    "$python" -m pip show -q ziglang 2>/dev/null || "$python" -m pip install -q "$ziglang"
    mkdir -p "$build"
    if ! cmp -s tests/web/package.json "$build/package.json" || [ ! -d "$build/node_modules" ]; then
        cp tests/web/package.json "$build/package.json.new"
        mv "$build/package.json.new" "$build/package.json"
        # Scripts of packages fetch what isn't needed here.
        npm install --prefix "$build" --ignore-scripts --no-audit --no-fund --silent ||
            { rm "$build/package.json"; exit 1; }
    fi
}

# The pages get their runtime as a user's do, by `npm run vendor`.
make_pages() {
    rm -rf "$build/fixtures"
    mkdir -p "$build/fixtures"
    "$python" -m tests.web.fixtures "$build/fixtures"
    local page=$build/fixtures/mobilenetv2_6bit
    ln -s ../../node_modules "$page/node_modules"
    npm run --prefix "$page" --silent vendor
}

# Strictly, as part of a user's program beside onnxruntime-web.
check_types() {
    local folder=$build/fixtures/mobilenetv2_6bit
    cp tests/web/types.ts "$folder/types.ts"
    "$build/node_modules/.bin/tsc" --strict --noEmit --target es2022 --module nodenext \
        --lib es2022,dom "$folder/types.ts"
    rm "$folder/types.ts"
}

install_missing
"$python" tools/build_wasm.py --check
make_pages
check_types
node --test --test-reporter=spec tests/web/*.test.mjs
