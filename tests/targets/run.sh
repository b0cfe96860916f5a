#!/bin/bash
# The decoder on other machines, in emulators: every golden vector, bit for bit.
#
# 64- and 32-bit ARM and big-endian s390x under Linux; Cortex-M0+, M3 and M4 without an operating
# system or libc, with budgets of code and stack; WebAssembly under Node. One line a target.
# Emulators tell nothing about speed.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
ziglang=ziglang==0.17.1
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# As root on Debian; elsewhere the first missing tool ends the run with its name.
install_missing() {
    local missing=()
    command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
    command -v qemu-system-arm >/dev/null || missing+=(qemu-system-arm)
    command -v arm-none-eabi-gcc >/dev/null || missing+=(gcc-arm-none-eabi)
    command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    command -v arm-linux-gnueabihf-gcc >/dev/null || missing+=(gcc-arm-linux-gnueabihf libc6-dev-armhf-cross)
    command -v s390x-linux-gnu-gcc >/dev/null || missing+=(gcc-s390x-linux-gnu libc6-dev-s390x-cross)
    command -v node >/dev/null || missing+=(nodejs)
    if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
    "$python" -m pip show -q ziglang 2>/dev/null || "$python" -m pip install -q "$ziglang"
}

# A target's last line; its exit code ends the run.
report() { # name, command...
    local said
    said=$("${@:2}" 2>&1) || { echo "$1: $said" >&2; exit 1; }
    echo "$1: $said"
}

flags=(-std=c99 -pedantic -Wall -Wextra -Wconversion -Werror -Iedgekit/embed -Itests/targets -I"$build")
sources=(tests/targets/check.c "$build/vectors.c")

linux() { # name, compiler, emulator
    "$2" "${flags[@]}" -O2 -static "${sources[@]}" tests/targets/hosted.c -o "$build/$1"
    report "$1" timeout 120 "$3" "$build/$1" </dev/null
}

# A program without an operating system; what stands between the flags and the files is linked.
cortex() { # name, compiler flags, board
    local cpu
    read -ra cpu <<<"$2"
    arm-none-eabi-gcc "${flags[@]}" "${cpu[@]}" -mthumb -Os -ffreestanding -nostdlib -DEKD_NO_FAST \
        -Ltests/targets -T microbit.ld "${sources[@]}" tests/targets/bare_check.c \
        tests/targets/bare.c -lgcc -o "$build/$1"
    report "$1" timeout 60 qemu-system-arm -M "$3" -nographic -monitor none \
        -semihosting-config enable=on,target=native -kernel "$build/$1" </dev/null
}

# A shipped network as firmware: 6 bits in flash, decoded in 64 KB of memory.
firmware() {
    local app=$build/firmware said
    "$python" -m tests.targets.firmware make "$app"
    arm-none-eabi-gcc -std=c99 -Wall -Wextra -Werror -mcpu=cortex-m4 -mthumb -Os -ffreestanding \
        -nostdlib -DEKD_NO_FAST -DEKD_NO_FLOAT -DEKD_NO_RANS -Itests/targets -I"$app" \
        -Wa,-I"$app" -Ltests/targets -T firmware.ld tests/targets/firmware.c tests/targets/bare.c \
        "$app/model.c" -lgcc -o "$build/firmware.elf"
    said=$(timeout 60 qemu-system-arm -M mps2-an386 -nographic -monitor none \
        -semihosting-config enable=on,target=native -kernel "$build/firmware.elf" 2>&1 </dev/null)
    report "cortex-m4 firmware" "$python" -m tests.targets.firmware judge "$app" <<<"$said"
}

# The folder's own program, on machines of either byte order.
embedded() { # name, compiler, emulator
    local app=$build/embedded said
    [ -d "$app" ] || "$python" -m tests.targets.firmware make-restored "$app"
    make -s -C "$app" clean
    make -s -C "$app" CC="$2" LDFLAGS=-static
    said=$("$3" "$app/main" </dev/null)
    report "$1 app" "$python" -m tests.targets.firmware judge-restored "$app" <<<"$said"
}

budget() {
    local bytes=(-mcpu=cortex-m4 -mthumb -Os -std=c99 -ffreestanding -ffunction-sections -fdata-sections
        -DEKD_NO_RANS -DEKD_NO_FLOAT -DEKD_NO_FAST -DEDGEKIT_DECODE_IMPLEMENTATION)
    local link=(-mcpu=cortex-m4 -mthumb -nostdlib -Wl,--gc-sections "$build/bytes.o")
    arm-none-eabi-gcc "${bytes[@]}" -fcallgraph-info=su -x c -c edgekit/embed/edgekit_decode.h \
        -o "$build/bytes.o"
    arm-none-eabi-gcc "${link[@]}" -Wl,-e,ekd_decode_stored -lgcc -o "$build/decode.elf"
    arm-none-eabi-gcc "${link[@]}" -Wl,-e,ekd_decode_stored,-u,ekd_open,-u,ekd_first,-u,ekd_next -lgcc \
        -o "$build/whole.elf"
    echo "cortex-m4 -Os, byte decoder:"
    "$python" -m tests.targets.budget "$build"
}

# The folder's sources under a compiler newer than Debian's, without a warning, as C and as C++.
warnings() {
    local source strict=(-pedantic -Wall -Wextra -Wconversion -Werror -I"$build/embedded" -c -o "$build/strict.o")
    for source in "$build/embedded/main.c" "$build/embedded/model.c"; do
        # report runs this where set -e is off.
        "${zig[@]}" -std=c99 "${strict[@]}" "$source" || return 1
        "${zig[@]}" -x c++ -std=c++17 "${strict[@]}" "$source" || return 1
    done
    echo "no warning"
}

# Phones: object files alone, as their linkers come with kits that aren't packaged.
mobile() { # name, target, what the object must be
    "${zig[@]}" -target "$2" "${flags[@]}" -ffreestanding -Os -DEDGEKIT_DECODE_IMPLEMENTATION -x c -c \
        edgekit/embed/edgekit_decode.h -o "$build/$1.o"
    report "$1" "$python" -m tests.targets.objects "$build/$1.o" "$3"
}

wasm() {
    "${zig[@]}" -target wasm32-freestanding -Os "${flags[@]}" -nostdlib "${sources[@]}" -Wl,--no-entry \
        -Wl,--export=check_all -Wl,--export=check_vector_count -Wl,--export-memory -o "$build/check.wasm"
    report wasm32 node tests/targets/wasm.mjs "$build/check.wasm"
}

install_missing
export ZIG_GLOBAL_CACHE_DIR=$build/zig ZIG_LOCAL_CACHE_DIR=$build/zig
zig=("$python" -m ziglang cc)
"$python" -m tests.targets.vectors "$build"
linux aarch64 aarch64-linux-gnu-gcc qemu-aarch64-static
linux armv7 arm-linux-gnueabihf-gcc qemu-arm-static
linux s390x s390x-linux-gnu-gcc qemu-s390x-static
cortex cortex-m0+ -mcpu=cortex-m0plus microbit
cortex cortex-m3 -mcpu=cortex-m3 mps2-an385
cortex cortex-m4 "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16" mps2-an386
budget
firmware
embedded aarch64 aarch64-linux-gnu-gcc qemu-aarch64-static
embedded s390x s390x-linux-gnu-gcc qemu-s390x-static
report "clang $("${zig[@]}" --version | sed -n '1s/.*version \([0-9]*\).*/\1/p')" warnings
mobile android aarch64-linux-android elf-aarch64
mobile android-32 arm-linux-androideabi elf-arm
mobile ios aarch64-ios macho-arm64
wasm
