"""Whether an object file is what a phone's linker takes: `objects.py FILE KIND`.

KIND: elf-aarch64, elf-arm or macho-arm64. Prints the bytes of the file.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

ELF_MACHINES = {"elf-aarch64": 183, "elf-arm": 40}
RELOCATABLE, MACHO_64, ARM64, OBJECT = 1, 0xFEEDFACF, 0x0100000C, 1


def kind_of(data: bytes) -> str:
    """The file's kind, by the headers of ELF and Mach-O; "" for anything else."""
    if data[:4] == b"\x7fELF":
        form, machine = struct.unpack_from("<2H", data, 16)
        names = {number: name for name, number in ELF_MACHINES.items()}
        return names.get(machine, "") if form == RELOCATABLE else ""
    magic, cpu, _, form = struct.unpack_from("<4I", data)
    return "macho-arm64" if (magic, cpu, form) == (MACHO_64, ARM64, OBJECT) else ""


if __name__ == "__main__":
    content = Path(sys.argv[1]).read_bytes()
    if kind_of(content) != sys.argv[2] or b"ekd_open" not in content:
        sys.exit(f"{sys.argv[1]} isn't an object file of {sys.argv[2]} that holds the decoder")
    print(f"object file of {len(content):,} bytes")  # noqa: T201  the lane's line
