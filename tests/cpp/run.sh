#!/bin/bash
# The C++ app on this machine and on 64-bit ARM in an emulator, with onnxruntime's own library.
#
# Builds it by make (gcc and clang) and by CMake without a warning, runs every golden vector,
# compares outputs and classes with Python's, and counts the files it opens. The library is the
# Python wheel's, which has no headers: those come from Debian, which is read beside the system's
# own sources and leaves them as they are. One line a check. Emulators tell nothing about speed.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=$PWD/.venv/bin/python
tests=$PWD/tests/cpp
build=$(mktemp -d)
chmod 755 "$build" # apt's own user reads there
trap 'rm -rf "$build"' EXIT
judge() { "$python" "$tests/judge.py" "$@"; }

# As root on Debian; elsewhere the first missing tool ends the run with its name.
install_missing() {
    local missing=()
    command -v g++ >/dev/null || missing+=(g++ make)
    command -v clang++ >/dev/null || missing+=(clang)
    command -v cmake >/dev/null || missing+=(cmake)
    command -v strace >/dev/null || missing+=(strace)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
    command -v aarch64-linux-gnu-g++ >/dev/null ||
        missing+=(g++-aarch64-linux-gnu libc6-dev-arm64-cross)
    [ -e /usr/include/zlib.h ] || missing+=(zlib1g-dev)
    if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}

# Debian's mirror, as this system names it.
mirror() {
    sed -n 's/^URIs: *\([^ ]*debian\/*\)$/\1/p; s/^deb [^h]*\(http[^ ]*debian\/*\) .*/\1/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1
}

# The headers of onnxruntime for C and C++, which no wheel has.
fetch_headers() {
    local state=$build/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$build/headers"
    : >"$state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) trixie main" \
        >"$state/sources"
    local options=(-qq -o "Dir::Etc::sourcelist=$state/sources" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache"
        -o "Dir::State::status=$state/status" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (cd "$state" && apt-get "${options[@]}" download libonnxruntime-dev)
    dpkg -x "$state"/libonnxruntime-dev_*.deb "$build/headers"
}

# A folder as onnxruntime's own archives have it: include/ and lib/.
make_root() { # folder, library
    mkdir -p "$1/lib"
    cp -r "$build/headers/usr/include/onnxruntime" "$1/include"
    cp "$2" "$1/lib/libonnxruntime.so.1"
}

install_missing
version=$("$python" -c 'import onnxruntime; print(onnxruntime.__version__)')
capi=$("$python" -c 'import onnxruntime, os; print(os.path.dirname(onnxruntime.__file__))')/capi
fetch_headers
make_root "$build/x86_64" "$capi/libonnxruntime.so.$version"
judge make "$build" >/dev/null
app=$build/app
strict=(-O2 -Werror)

check_build() { # name, then what to run programs with
    local run=("${@:2}")
    echo "$1: $(judge vectors "${run[@]}" "$build/$1/harness")"
}

# Programs of the tests, with the app's sources and the app's own make rules for onnxruntime.
build_tests() { # folder, root, prefix of the compilers, more flags...
    local sources=(edgekit_packed.cpp edgekit_text.cpp)
    mkdir -p "$build/$1"
    (cd "$app" && "$3g++" -std=c++17 "${strict[@]}" -Wall -Wextra -pthread -I. "${@:4}" \
        "$tests/harness.cpp" "${sources[@]}" -static -lz -o "$build/$1/harness")
    (cd "$app" && "$3g++" -std=c++17 "${strict[@]}" -Wall -Wextra -pthread -I. "${@:4}" \
        -isystem "$2/include" "$tests/outputs.cpp" edgekit_model.cpp "${sources[@]}" \
        "$2/lib/libonnxruntime.so.1" -Wl,-rpath,"$2/lib" -lz -o "$build/$1/outputs")
}

make_app() { # compiler for C, compiler for C++, root, more of make's words...
    make -s -C "$app" clean
    make -s -C "$app" CC="$1" CXX="$2" CXXFLAGS="${strict[*]}" ONNXRUNTIME_ROOT="$3" "${@:4}"
}

# This machine.

build_tests x86_64 "$build/x86_64" ""
check_build x86_64
for threads in 1 2; do
    "$build/x86_64/outputs" "$build/model.ekp" "$build/inputs.f32" 64 $threads >"$build/out.f32"
    echo "x86_64, $threads threads: $(judge outputs "$build/out.f32" "$build/model.ekp" "$build/inputs.f32")"
done
echo "x86_64: $(judge hostile "$build" "$build/x86_64/outputs")"
make_app clang clang++ "$build/x86_64"
echo "x86_64, make and clang: $(judge labels "$build" "$app/classify" "$build/{}")"
make_app gcc g++ "$build/x86_64"
echo "x86_64, make and gcc: $(judge labels "$build" "$app/classify" "$build/{}")"
(cd "$build" && strace -f -o "$build/log" -e trace=open,openat,creat "$app/classify" 0.pgm >/dev/null)
echo "x86_64, linked in: $(judge opened "$build/log" 0.pgm)"
cmake -S "$app" -B "$build/cmake" -DONNXRUNTIME_ROOT="$build/x86_64" >"$build/cmake.log" ||
    { cat "$build/cmake.log" >&2; exit 1; }
cmake --build "$build/cmake" >"$build/cmake.log" || { cat "$build/cmake.log" >&2; exit 1; }
echo "x86_64, CMake: $("$build/cmake/classify" --verify | tail -n 1)"

# 64-bit ARM. onnxruntime would read this machine's /proc/cpuinfo beside ARM code and end by a fault,
# so its programs run in a root without /proc and /sys.

root=$build/arm64root
mmdebstrap --quiet --arch=arm64 --variant=extract --include=libstdc++6,libgcc-s1,zlib1g,zlib1g-dev \
    bookworm "$root" "$(mirror)" 2>"$build/mmdebstrap.log" ||
    { cat "$build/mmdebstrap.log" >&2; exit 1; }
"$python" -m pip download -qq --no-deps -d "$build/wheels" --only-binary=:all: \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux2014_aarch64 --python-version 3.11 --implementation cp --abi cp311 \
    "onnxruntime==$version"
"$python" -m zipfile -e "$build"/wheels/*.whl "$build/wheels"
make_root "$build/aarch64" "$build/wheels/onnxruntime/capi/libonnxruntime.so.$version"
mkdir -p "$build/zlib/include" "$build/zlib/lib"
find "$root/usr/include" \( -name zlib.h -o -name zconf.h \) -exec cp {} "$build/zlib/include" \;
find "$root" -type f -name 'libz.so.1.*' -exec cp {} "$build/zlib/lib/libz.so" \;
find "$root" -type f -name libz.a -exec cp {} "$build/zlib/lib" \;
build_tests aarch64 "$build/aarch64" aarch64-linux-gnu- -I"$build/zlib/include" -L"$build/zlib/lib"
check_build aarch64 qemu-aarch64-static
make_app aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ "$build/aarch64" \
    CPPFLAGS="-I$build/zlib/include" LDFLAGS="-L$build/zlib/lib"
mkdir -p "$root/app"
cp "$app/classify" "$build/aarch64/outputs" "$build/model.ekp" "$build/inputs.f32" "$build"/*.pgm \
    "$build/aarch64/lib/libonnxruntime.so.1" "$(command -v qemu-aarch64-static)" "$root/app"
arm64=(chroot "$root" /app/qemu-aarch64-static -E LD_LIBRARY_PATH=/app)
"${arm64[@]}" /app/outputs /app/model.ekp /app/inputs.f32 64 2 >"$build/out.f32" 2>"$build/arm64.log" ||
    { cat "$build/arm64.log" >&2; exit 1; }
echo "aarch64: $(judge outputs "$build/out.f32" "$build/model.ekp" "$build/inputs.f32")"
echo "aarch64, make and gcc: $(judge labels "$build" "${arm64[@]}" /app/classify "/app/{}")"
