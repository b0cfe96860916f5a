"""What a packed file spends beside its payload on a network of many small tensors.

Compares the records of docs/format.md with fixed records of 48 bytes and chunks aligned to 64
(docs/decisions/0002-compact-records.md). Run: python benchmarks/record_overhead.py
"""

from __future__ import annotations

import numpy as np

from edgekit.codec import huffman
from edgekit.packfile import layout, open_packfile, pack
from edgekit.packfile.records import TensorRecord
from edgekit.tensors import CodedTensor, CompressedModel

PAIRS = 26
CHANNELS = 48
FIXED_RECORD_BYTES = 48
ALIGNMENT = 64


def network() -> CompressedModel:
    """26 pairs of a depthwise 3x3 and a pointwise layer: 52 tensors, 71,136 codes of 6 bits."""
    rng = np.random.default_rng(52)
    tensors = []
    for pair in range(PAIRS):
        for name, shape in (
            ("depthwise", (CHANNELS, 1, 3, 3)),
            ("pointwise", (CHANNELS, CHANNELS, 1, 1)),
        ):
            codes = np.clip(np.rint(rng.laplace(0, 8, shape)), -31, 31).astype(np.int8)
            scale = np.array(rng.uniform(0.001, 0.1), np.float16).astype(np.float32)
            tensors.append(CodedTensor(f"features.{pair}.{name}.weight", "float32", codes, scale))
    return CompressedModel(tuple(tensors), b"", {})


def table_bytes(record: TensorRecord) -> int:
    """Stored bytes of a record's Huffman tables."""
    tables = (record.value_table, record.position_table)
    return sum(
        len(huffman.write_table(table.astype(np.uint8))) for table in tables if table is not None
    )


def main() -> None:
    """Print the table."""
    data = pack(network())
    packed = open_packfile(data)
    payload = sum(record.payload_bytes for record in packed.records)
    records = sum(record.record_bytes for record in packed.records)
    tables = sum(map(table_bytes, packed.records))
    names = packed.container.section(layout.Section.NAMES).bytes
    plain_names = sum(len(name.encode()) + 1 for name in packed.names)
    graph = sum(
        packed.container.section(kind).bytes
        for kind in (layout.Section.SKELETON, layout.Section.MANIFEST)
    )
    rest = len(data) - payload - records - names - graph
    count = len(packed.records)
    # Tables of one nibble a symbol up to the largest, without runs.
    plain_tables = sum(
        1 + (int(np.flatnonzero(table)[-1]) + 2) // 2
        for record in packed.records
        for table in (record.value_table, record.position_table)
        if table is not None
    )
    aligned = sum(-record.payload_bytes % ALIGNMENT for record in packed.records)
    rows = (
        ("payload", payload, payload),
        ("code tables", tables, plain_tables),
        ("records without tables", records - tables, FIXED_RECORD_BYTES * count),
        ("alignment of tensors", 0, aligned),
        ("names", names, plain_names),
        ("header, directory, padding, SHA-256", rest, rest),
    )
    print(f"{count} tensors, {sum(record.elements for record in packed.records)} codes")
    print(f"{'bytes of':38}{'compact':>9}{'fixed':>9}")
    for name, compact, fixed in rows:
        print(f"{name:38}{compact:9}{fixed:9}")
    compact = sum(row[1] for row in rows[1:])
    fixed = sum(row[2] for row in rows[1:])
    print(f"{'all but payload':38}{compact:9}{fixed:9}")
    print(f"{'share of the payload':38}{compact / payload:9.1%}{fixed / payload:9.1%}")
    print(
        f"{'the same without code tables':38}"
        f"{(compact - tables) / payload:9.1%}{(fixed - plain_tables) / payload:9.1%}"
    )


if __name__ == "__main__":
    main()
