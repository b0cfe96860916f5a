"""The whole chain on the two networks that the project ships, in one table."""

from __future__ import annotations

import io
import lzma
import statistics
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edgekit import api, data
from edgekit.bench.results import Case
from edgekit.codec.kernels import crc32c
from edgekit.data import Labelled
from edgekit.packfile import read_weights

NETWORKS = ("squeezenet_fashion", "mobilenetv2_fashion")
BITS = (8, 6)
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Row:
    """One form of a network; accuracy and times are None for an archive, which can't be run."""

    form: str
    file_bytes: int
    top1: float | None = None
    load_s: float | None = None
    p50_s: float | None = None


def main() -> None:
    """Run the chain and print its table."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo-out"
    out.mkdir(exist_ok=True)
    labelled = data.load_labelled()
    console = Console(highlight=False, width=80)
    for name in NETWORKS:
        console.print(_table(name, _rows(name, out, labelled)))
        console.print(f"C app: {_c_app(name, out)}\n")
    console.print(
        f"top-1 of {len(labelled.inputs):,} images of {labelled.name} {labelled.split} "
        f"({labelled.source}). load: path to session in a fresh process, median of 3; "
        "p50 of 100 runs of one image after 10; one thread. "
        f"Files: {out.name}/"
    )


def _rows(name: str, out: Path, labelled: Labelled) -> list[Row]:
    onnx = out / f"{name}.onnx"
    api.export(name, onnx)
    packed = {bits: out / f"{name}-{bits}bit.ekp" for bits in BITS}
    for bits, path in packed.items():
        api.compress(onnx, path, bits=bits)
    report = api.bench([onnx, *packed.values()])
    cases = {Path(case.path): case for case in report.cases}
    return [
        _runnable("ONNX, float32", onnx, cases[onnx], labelled),
        Row("the same, zip", _zip_bytes(onnx)),
        Row("the same, xz", len(lzma.compress(onnx.read_bytes(), preset=9))),
        *(
            _runnable(f"edgekit, {bits} bits", path, cases[path], labelled)
            for bits, path in packed.items()
        ),
    ]


def _runnable(form: str, path: Path, case: Case, labelled: Labelled) -> Row:
    session = api.load(path)
    name = session.get_inputs()[0].name
    batches = np.array_split(labelled.inputs, max(1, len(labelled.inputs) // 250))
    scores = np.concatenate([session.run(None, {name: batch})[0] for batch in batches])
    top1 = float(np.mean(scores.argmax(axis=1) == labelled.labels))
    load_s = statistics.median(start.load_s for start in case.cold)
    return Row(form, path.stat().st_size, top1, load_s, case.warm.p50_s)


def _zip_bytes(path: Path) -> int:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.write(path, path.name)
    return len(archive.getvalue())


def _table(name: str, rows: list[Row]) -> Table:
    table = Table(title=name, title_justify="left", box=None, pad_edge=False)
    table.add_column("form")
    for heading in ("bytes", "ratio", "top-1", "load ms", "p50 ms"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.form,
            f"{row.file_bytes:,}",
            f"{rows[0].file_bytes / row.file_bytes:.2f}",
            "-" if row.top1 is None else f"{100 * row.top1:.2f} %",
            "-" if row.load_s is None else f"{1000 * row.load_s:.1f}",
            "-" if row.p50_s is None else f"{1000 * row.p50_s:.3f}",
        )
    return table


def _c_app(name: str, out: Path) -> str:
    """Write, build and run the C app of the 6-bit file; says what came of it."""
    packed, app = out / f"{name}-6bit.ekp", out / f"{name}-c"
    api.embed(packed, app, target="c")
    try:
        subprocess.run(["make", "-s", "-C", app], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"written to {app.name}/, but not built here ({error})"
    printed = subprocess.run([app / "main"], check=True, capture_output=True, text=True).stdout
    found = [line.split(maxsplit=2)[0] for line in printed.splitlines()]
    weights = read_weights(packed)
    expected = [f"{crc32c(array.tobytes()):08x}" for array in weights.values()]
    if found != expected:
        raise SystemExit(f"{name}: the C app decodes other weights than Python")
    return f"{app.name}/main decodes {len(found)} tensors to the same bits as Python"


if __name__ == "__main__":
    main()
