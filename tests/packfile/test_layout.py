"""docs/format.md and layout.py hold the same numbers."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgekit import errors
from edgekit.codec import canonical_codes, crc32c, huffman, rans, runs
from edgekit.codec.trellis import TAPS
from edgekit.packfile import layout, open_packfile
from edgekit.tensors import CodedTensor
from tests.golden.accepted import WORKED_EXAMPLE, WORKED_RANS, WORKED_TRELLIS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")

Table = list[dict[str, str]]


def tables(chapter: str) -> list[Table]:
    """The tables of a chapter, each row as a dictionary by the table's head."""
    begin = re.search(rf"^#+ {re.escape(chapter)}[. ]", TEXT, re.MULTILINE)
    assert begin
    following = re.search(r"^#+ \d", TEXT[begin.end() :], re.MULTILINE)
    text = TEXT[begin.end() : begin.end() + following.start() if following else None]
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = (
            [cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()
        )
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def column(table: Table, name: str) -> list[str]:
    return [row[name] for row in table]


def offsets(format_: str) -> list[int]:
    """Where each field of a struct begins."""
    fields = re.findall(r"\d*[a-zA-Z]", format_)
    return [struct.calcsize("<" + "".join(fields[:count])) for count in range(len(fields))]


def assert_struct(table: Table, structure: struct.Struct, names: Sequence[str]) -> None:
    sizes = {"8 bytes": 8, "u16": 2, "u32": 4, "u64": 8}
    assert column(table, "Name" if "Name" in table[0] else "Field") == list(names)
    assert [int(offset) for offset in column(table, "Offset")] == offsets(structure.format)
    assert int(table[-1]["Offset"]) + sizes[table[-1]["Type"]] == structure.size


def test_the_header_table_is_the_struct() -> None:
    (table,) = tables("2.1")

    assert_struct(table, layout.HEADER, layout.HEADER_FIELDS)
    assert bytes.fromhex(table[0]["Meaning"]) == layout.MAGIC
    assert int(table[1]["Allowed"]) == layout.MAJOR
    assert table[5]["Allowed"] == f"0 to {layout.MAX_TENSORS}"
    assert table[6]["Allowed"] == f"{layout.MIN_SECTIONS} to {layout.MAX_SECTIONS}"


def test_the_directory_table_is_the_struct() -> None:
    (table,) = tables("2.2")

    assert_struct(table, layout.DIRECTORY_ENTRY, layout.DIRECTORY_FIELDS)
    assert f"entries of {layout.DIRECTORY_ENTRY.size} bytes" in TEXT
    first = layout.HEADER.size + layout.HEADER_CHECK.size
    assert f"at offset {first} + {layout.DIRECTORY_ENTRY.size} * section_count" in TEXT
    assert f"a multiple of {layout.SECTION_ALIGNMENT}" in TEXT


def test_the_sections_are_the_enumeration() -> None:
    (table,) = tables("2.3")

    *known, free = table
    assert {row["Name"]: int(row["Kind"]) for row in known} == {
        section.name.lower(): section.value for section in layout.Section
    }
    assert free["Kind"] == f"{layout.FIRST_FREE_SECTION} and above"
    assert f"at most {layout.MAX_DEFLATE_RATIO} times" in TEXT


def test_the_features_are_the_enumeration() -> None:
    (table,) = tables("2.4")

    assert {row["Name"]: int(row["Bit"]) for row in table} == {
        feature.name.lower(): feature.value for feature in layout.Feature
    }


def test_the_record_table_has_the_fields_of_the_layout() -> None:
    (table,) = tables("3")

    assert tuple(column(table, "Name")) == layout.RECORD_FIELDS
    by_name = {row["Name"]: row for row in table}
    assert by_name["chunk_log2"]["Allowed"] == f"{layout.MIN_CHUNK_LOG2} to {layout.MAX_CHUNK_LOG2}"
    assert by_name["layout"]["Allowed"].startswith(f"rank 0 to {layout.MAX_RANK};")
    streams = re.findall(r"(\d) for (\d)", by_name["layout"]["Meaning"])
    assert [int(count) for _, count in streams] == list(layout.STREAM_COUNTS)


def test_the_modes_are_the_enumeration() -> None:
    (table,) = tables("3.1")

    assert {row["Name"]: int(row["Mode"]) for row in table} == {
        mode.name.lower(): mode.value for mode in layout.Mode
    }


def test_the_types_are_the_enumeration() -> None:
    (table,) = tables("3.2")

    by_name = {layout.Type[row["Type"].upper()]: row for row in table}
    assert {type_: int(row["Code"]) for type_, row in by_name.items()} == {
        type_: type_.value for type_ in layout.Type
    }
    assert {type_: int(row["Bytes"]) for type_, row in by_name.items()} == layout.TYPE_BYTES
    for name, allowed in (("Restored", layout.RESTORED_TYPES), ("Stored", layout.STORED_TYPES)):
        assert {type_ for type_, row in by_name.items() if row[name] == "yes"} == allowed


def test_the_scale_kinds_are_the_enumeration() -> None:
    (table,) = tables("3.3")

    assert {row["Name"]: int(row["Kind"]) for row in table} == {
        kind.name.lower(): kind.value for kind in layout.ScaleKind
    }


def test_the_chunk_index_has_the_fields_of_the_layout() -> None:
    (table,) = tables("3.4")

    assert tuple(column(table, "Name")) == layout.CHUNK_FIELDS


def test_the_nibbles_are_those_of_the_coder() -> None:
    (table,) = tables("4.3")

    heads = [row["Nibble"].split(",")[0] for row in table]
    assert heads == [
        f"0 to {runs.MAX_LEVEL}",
        *map(str, (layout.REPEAT_NIBBLE, layout.ZERO_RUN_NIBBLE, layout.LONG_ZERO_RUN_NIBBLE)),
    ]
    assert (runs.REPEAT, runs.ZEROS, runs.MANY_ZEROS) == (13, 14, 15)
    assert f"r + {runs.SHORTEST_RUN} times" in table[1]["Meaning"]
    assert f"r + 16 q + {runs.SHORTEST_LONG_RUN} times" in table[3]["Meaning"]


def test_every_error_of_the_document_is_an_exception() -> None:
    (table,) = tables("7")

    documented = {f"{row['Error'].capitalize()}Error" for row in table}
    assert documented == {cls.__name__ for cls in errors.FormatError.__subclasses__()}


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("tensors", layout.MAX_TENSORS),
        ("sections", layout.MAX_SECTIONS),
        ("rank", layout.MAX_RANK),
        ("elements of a tensor", layout.MAX_ELEMENTS),
        ("elements of a constant tensor", layout.MAX_CONSTANT_ELEMENTS),
        ("code length", layout.MAX_CODE_LENGTH),
        ("codebook values", layout.MAX_CODEBOOK_VALUES),
        ("unpacked names", layout.MAX_NAMES_BYTES),
        ("unpacked skeleton", layout.MAX_SKELETON_BYTES),
        ("unpacked manifest", layout.MAX_MANIFEST_BYTES),
        ("restored bytes, all tensors", layout.MAX_RESTORED_BYTES),
    ],
)
def test_every_limit_is_the_constant(limit: str, value: int) -> None:
    (table,) = tables("8")
    stated = {row["Limit"]: row["Value"] for row in table}

    number = re.match(r"(\d+)(?:\^(\d+))?(?: - (\d+))?", stated[limit])

    assert number
    base, power, less = (int(part) if part else None for part in number.groups())
    assert base is not None
    assert base ** (1 if power is None else power) - (less or 0) == value
    assert len(table) == 12
    assert stated["chunk_log2"] == f"{layout.MIN_CHUNK_LOG2} to {layout.MAX_CHUNK_LOG2}"


def test_the_worked_example_is_what_its_record_says() -> None:
    codes, record = tables("5")

    stated = bytes.fromhex("".join(column(record, "Bytes")))
    assert stated == WORKED_EXAMPLE.record
    lengths, end = huffman.read_table(WORKED_EXAMPLE.fields["value table"], 0)
    assert end == 5
    for row in codes:
        symbol, length = int(row["Symbol"]), int(row["Length"])
        assert lengths[symbol] == length
        assert f"{canonical_codes(lengths)[symbol]:0{length}b}" == row["Code"]
    assert "`72 13`" in TEXT
    assert WORKED_EXAMPLE.payload == bytes.fromhex("72 13")
    assert crc32c(WORKED_EXAMPLE.payload).to_bytes(4, "little").hex(" ") in column(record, "Bytes")


def test_the_rans_example_is_what_its_record_says() -> None:
    symbols, _, record = tables("5.1")

    stated = bytes.fromhex("".join(column(record, "Bytes")))
    assert stated == WORKED_RANS.record
    assert crc32c(WORKED_RANS.payload).to_bytes(4, "little").hex(" ") in column(record, "Bytes")
    frequencies, _ = rans.read_table(WORKED_RANS.fields["value table"], 0)
    for row in symbols:
        symbol, bits, rest = int(row["Symbol"]), int(row["Bits of e"]), int(row["e"])
        assert frequencies[symbol] == int(row["Frequency"]) == 2**bits + rest
        assert frequencies[:symbol].sum() == int(row["start"])
        assert int(row["Class"]) == bits + 1
    assert frequencies.sum() == sum(map(int, column(symbols, "Frequency"))) == 4096
    states = re.search(r"x0 = (\d+) +x1 = (\d+) +x2 = (\d+) +x3 = (\d+) +word = (\d+)\n(.*)", TEXT)
    assert states
    *numbers, stream = states.groups()
    assert struct.pack("<IIIIH", *map(int, numbers)) == bytes.fromhex(stream) == WORKED_RANS.payload


def test_the_steps_of_the_rans_example_are_the_formula() -> None:
    symbols, steps, _ = tables("5.1")
    *states, word = struct.unpack("<IIIIH", WORKED_RANS.payload)

    for number, row in enumerate(steps):
        high, slot = divmod(states[number % 4], 4096)
        (found,) = (row for row in symbols if 0 <= slot - int(row["start"]) < int(row["Frequency"]))
        lower = int(found["Frequency"]) * high + slot - int(found["start"])
        new = lower if lower >= 2**16 else lower * 2**16 + word
        expected = [number, states[number % 4], high, slot, found["Symbol"], lower]
        assert [*row.values()][:-1] == [*map(str, expected)]
        assert row["New x"].rpartition("= ")[2] == str(new)
        states[number % 4] = new
    assert states == [2**16] * 4
    assert len(steps) == 6


def test_the_trellis_example_is_what_its_record_says() -> None:
    steps, record = tables("5.2")

    stated = bytes.fromhex("".join(column(record, "Bytes")))
    assert stated == WORKED_TRELLIS.record
    assert crc32c(WORKED_TRELLIS.payload).to_bytes(4, "little").hex(" ") in column(record, "Bytes")
    assert f"the chunk `{WORKED_TRELLIS.payload.hex(' ')}`" in TEXT
    codes: list[int] = []
    for row in steps:
        before = [codes[-back] if back <= len(codes) else None for back, _ in TAPS]
        bits = [(code or 0) >> place & 1 for code, (_, place) in zip(before, TAPS, strict=True)]
        assert [row[f"p{back}"] for back, _ in TAPS] == [
            "" if code is None else str(code) for code in before
        ]
        assert [int(row[f"Bit of p{back}"]) for back, _ in TAPS] == bits
        assert int(row["Sum mod 2"]) == sum(bits) % 2
        codes.append(2 * int(row["s"]) + sum(bits) % 2)
        assert int(row["c"]) == codes[-1]
    truth = WORKED_TRELLIS.truth
    assert isinstance(truth, CodedTensor)
    assert codes == truth.codes.tolist()


@pytest.mark.parametrize(
    ("place", "name"), [*enumerate(("worked_example", "worked_rans", "worked_trellis"))]
)
def test_the_worked_example_restores_the_weights_of_the_text(place: int, name: str) -> None:
    path = ROOT / "tests" / "golden" / "accept" / f"{name}.ekp"
    sentences = re.findall(r"weights, (.*), is stored as the codes (.*) with the scale", TEXT)
    weights, codes = (
        [float(word) for word in re.split(r",? and |, ", words)] for words in sentences[place]
    )

    packed = open_packfile(path)

    assert packed.weights()["w"].tolist() == weights
    assert [value / 0.5 for value in weights] == codes
    assert len(sentences) == 3
