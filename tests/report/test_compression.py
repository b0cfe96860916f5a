"""The compression table reads well in 80 columns and adds up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from rich.console import Console

from edgekit.compress.measure import CompressionReport
from edgekit.compress.pipeline import compress
from edgekit.report.compression import render_table
from tests.onnx_files import make_model


def printed(report: CompressionReport, width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(render_table(report))
    return capture.get().splitlines()


def test_the_bytes_column_adds_up_to_the_total(tiny_onnx_path: Path) -> None:
    report = compress(tiny_onnx_path, None, bits=5, sparsity=0.4, dry_run=True)

    lines = printed(report)

    end = next(index for index, line in enumerate(lines) if line.startswith("total"))
    column = lines[0].index("bytes") + len("bytes")
    sizes = [int(line[:column].split()[-1].replace(",", "")) for line in lines[1 : end + 1]]
    assert sizes[-1] == sum(sizes[:-1]) == report.file_bytes


def test_long_names_keep_their_ends_and_one_line_each() -> None:
    name = "backbone.very.long.prefix.that.repeats.stage{}.block.conv.weight"
    rng = np.random.default_rng(0)
    model = make_model(
        [
            helper.make_node("Conv", ["x", name.format(1)], ["c"], "conv1"),
            helper.make_node("Conv", ["c", name.format(2)], ["y"], "conv2"),
        ],
        {"x": ["N", 128, 8, 8]},
        {"y": ["N", 1280, 4, 4]},
        {
            name.format(1): rng.normal(0, 1, (256, 128, 3, 3)).astype(np.float32),
            name.format(2): rng.normal(0, 1, (1280, 256, 3, 3)).astype(np.float32),
        },
    )
    report = compress(model.SerializeToString(), None, bits=6, dry_run=True)

    lines = printed(report)

    assert max(map(len, lines)) <= 80
    for stage in (1, 2):
        assert sum(f"stage{stage}.block.conv " in line for line in lines) == 1


def test_the_table_says_what_was_left_alone() -> None:
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
            helper.make_node("Reshape", ["c", "shape"], ["y"]),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 144]},
        {
            "w": np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(np.float32),
            "b": np.ones(4, np.float32),
            "shape": np.array([0, -1], np.int64),
        },
    )

    report = compress(model.SerializeToString(), None, dry_run=True)

    assert {kept.name: kept.reason for kept in report.kept} == {
        "b": "fewer than 16 elements",
        "shape": "a small integer table",
    }
    assert any("2 tensors stay in the graph" in line for line in printed(report))


def test_parts_that_do_not_add_up_are_a_bug(tiny_onnx_path: Path) -> None:
    report = compress(tiny_onnx_path, None, dry_run=True)

    with pytest.raises(AssertionError, match="parts of"):
        CompressionReport(
            report.name,
            None,
            report.source_bytes,
            report.source_sha256,
            report.file_bytes + 1,
            report.sha256,
            report.recipe,
            report.metrics,
            report.layers,
            report.rest,
            report.kept,
        )
