#!/bin/bash
# edgekit on 64-bit Arm: Python and onnxruntime of that machine under an emulator.
#
# Builds a small Debian for arm64, runs load, verify, bench and doctor there on a packed network of
# the zoo, and compares weights and answers with this machine's. Needs root, for a chroot. Takes
# about two minutes. An emulator's times mean nothing; only what is right or wrong counts.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
build=$(mktemp -d)
root=$build/root
registry=/proc/sys/fs/binfmt_misc
ours=$registry/edgekit-aarch64
mounted=

clean_up() {
    if [ -e "$ours" ]; then echo -1 >"$ours"; fi
    if [ -n "$mounted" ]; then umount "$mounted"; fi
    rm -rf --one-file-system "$build"
}
trap clean_up EXIT

install_missing() {
    local missing=()
    command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi
}

# Python of Debian 12 and the wheels of the plain install. No script of a package runs.
build_root() {
    local packages=dash,python3,libstdc++6,libgcc-s1,libgomp1,zlib1g,libexpat1,libffi8,libssl3,libpython3.11-dev
    mmdebstrap --quiet --arch=arm64 --variant=extract --include="$packages" bookworm "$root"
    local wheels=(--only-binary=:all: --python-version 3.11 --implementation cp)
    for platform in manylinux_2_28 manylinux_2_27 manylinux2014; do
        wheels+=(--platform "${platform}_aarch64")
    done
    "$python" -m pip install -qq --disable-pip-version-check -c constraints.txt "${wheels[@]}" \
        --target "$root/opt/site" numpy onnxruntime onnx cffi typer rich
    mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/opt/src/tests" "$root/tmp"
    cp -r edgekit "$root/opt/src/edgekit"
    cp -r tests/arm tests/golden "$root/opt/src/tests/"
    rm -f "$root"/opt/src/edgekit/codec/_native.*so
}

build_decoder() {
    "$python" -c "from edgekit.codec._build import ffibuilder as f; f.emit_c_code('$build/_native.c')" >/dev/null
    aarch64-linux-gnu-gcc -shared -fPIC -O2 -DPy_LIMITED_API=0x030B0000 -Iedgekit/codec -Iedgekit/embed \
        -I"$root/usr/include/python3.11" -idirafter "$root/usr/include" "$build/_native.c" \
        -o "$root/opt/src/edgekit/codec/_native.abi3.so"
}

# Arm programs start like any other while this runs; the flag F makes the emulator visible inside
# the root. Nothing is changed where the system has such an entry.
register_emulator() {
    if [ ! -e "$registry/register" ]; then
        mount -t binfmt_misc none "$registry"
        mounted=$registry
    fi
    if [ -e "$registry/qemu-aarch64" ] || [ -e "$ours" ]; then return; fi
    local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":edgekit-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" \
        >"$registry/register"
}

# onnxruntime looks at /proc/cpuinfo, and crashes where it finds an x86 processor there.
write_cpuinfo() {
    for core in 0 1; do
        printf 'processor\t: %d\nFeatures\t: fp asimd evtstrm crc32 cpuid\n' "$core"
        printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n'
        printf 'CPU part\t: 0xd08\nCPU revision\t: 3\n\n'
    done >"$build/cpuinfo"
}

# Two programs: `arm PYTHONPATH COMMAND...` runs a command of the root, and `ssh`, which takes the
# root for a device whatever address it is given.
write_programs() {
    mkdir "$build/bin"
    cat >"$build/bin/arm" <<END
#!/bin/sh
set -eu
export ARM_PATH=\$1
shift
exec timeout 300 unshare -m sh -euc '
    mount -t proc none "$root/proc"
    mount -t sysfs none "$root/sys"
    mount --bind /dev "$root/dev"
    mount --bind "$build/cpuinfo" "$root/proc/cpuinfo"
    exec env -i PATH=/usr/bin:/bin HOME=/tmp QEMU_CPU=cortex-a72 ORT_DISABLE_TELEMETRY=1 \\
        PYTHONPATH="\$ARM_PATH" "$(command -v chroot)" "$root" "\$@"' - "\$@"
END
    cat >"$build/bin/ssh" <<END
#!/bin/bash
exec "$build/bin/arm" /opt/site sh -c "\${!#}"
END
    chmod +x "$build/bin/arm" "$build/bin/ssh"
}

on_arm() { # arguments of Python...
    "$build/bin/arm" /opt/src:/opt/site python3.11 "$@"
}

edgekit() { # verb, arguments...
    on_arm -m edgekit.cli.main "$@"
}

if [ "$(id -u)" -ne 0 ]; then
    echo "tests/arm/run.sh needs root: it runs Arm programs in a chroot" >&2
    exit 1
fi
install_missing
build_root
build_decoder
register_emulator
write_cpuinfo
write_programs

"$python" -m tests.arm.prepare "$build/work"
"$python" -m tests.arm.answers "$build/work" x86_64
cp -r "$build/work" "$root/opt/lane"
on_arm -m tests.arm.answers /opt/lane aarch64
edgekit verify /opt/lane/model.ekp --against /opt/lane/model.onnx --format json >"$build/work/verify.json"
edgekit bench /opt/lane/model.ekp /opt/lane/model.onnx --runs 3 --warmup 1 --format json \
    >"$build/work/bench.json"
edgekit doctor --format json >"$build/work/doctor.json"
PATH="$build/bin:$PATH" .venv/bin/edgekit bench "$build/work/model.ekp" --device ssh://board \
    --device-python python3.11 --runs 3 --warmup 1 --no-cold --format json >"$build/work/device.json"
cp "$root"/opt/lane/*-aarch64.* "$build/work/"
"$python" -m tests.arm.compare "$build/work"
