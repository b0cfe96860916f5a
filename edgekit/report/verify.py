"""The tables of a verified file."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.runtime.blame import Blame
from edgekit.runtime.compare import Answers
from edgekit.runtime.parity import Difference
from edgekit.runtime.verify import Integrity, VerifyReport

_WORST = 10


def render_table(report: VerifyReport) -> RenderableType:
    """Integrity, answers, and the layers that differ most."""
    checked = report.integrity
    facts = _facts()
    facts.add_row("file", f"{report.path}, {checked.file_bytes:,} bytes")
    facts.add_row("SHA-256", checked.sha256)
    facts.add_row("integrity", _integrity(checked))
    if report.int8_answers is not None or report.int8_accuracy is not None:
        facts.add_row("run form", f"{report.form}, as the file says; it has both")
    parts: list[RenderableType] = [facts]
    if report.accuracy is not None:
        facts.add_row("data", report.data or "")
        facts.add_row("top-1", f"{100 * report.accuracy:.2f} %")
    if report.int8_accuracy is not None:
        facts.add_row("as int8", f"top-1 {100 * report.int8_accuracy:.2f} %")
    if report.answers is not None:
        _add_answers(facts, report.answers)
        if report.int8_answers is not None:
            facts.add_row("as int8", _int8(report.int8_answers))
        parts += [Text(), _worst("layer output", report.answers.layers)]
        parts += [Text(), _worst("weight", report.answers.weights)]
    if report.blame is not None:
        table: list[RenderableType] = [_blame(report.blame), Text()] if report.blame.layers else []
        parts += [Text(), *table, Text(_advice(report.blame))]
    return Group(*parts)


def _integrity(checked: Integrity) -> str:
    text = f"sound: {checked.tensors:,} tensors, {checked.weights:,} weights"
    if len(checked.decoders) == 1:
        return f"{text}, restored by {checked.decoders[0]}"
    text += ", equal bits from " + " and ".join(checked.decoders)
    if checked.compared < checked.weights:
        text += f" (for {checked.compared:,} of them)"
    return text


def _facts() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _add_answers(facts: Table, answers: Answers) -> None:
    facts.add_row("against", answers.reference)
    origin = f", {answers.source}" if answers.source else ""
    facts.add_row("inputs", f"{answers.inputs:,} of {answers.data} ({answers.split}){origin}")
    for output in (answers.output, *answers.others):
        name = "output" if output is answers.output else f"output {output.name}"
        facts.add_row(
            name, f"largest difference {output.largest:.4g}, relative error {output.relative:.2%}"
        )
    if answers.divergence is not None:
        facts.add_row("divergence", f"{answers.divergence:.4f} nats")
    facts.add_row("same top-1", f"{answers.agreement:.2%}")
    if answers.accuracy is not None and answers.reference_accuracy is not None:
        change = 100 * (answers.accuracy - answers.reference_accuracy)
        facts.add_row(
            "top-1",
            f"{100 * answers.reference_accuracy:.2f} % before, {100 * answers.accuracy:.2f} % "
            f"after ({change:+.2f} points)",
        )


def _int8(answers: Answers) -> str:
    """The int8 form's answers in one line."""
    words = [f"same top-1 {answers.agreement:.2%}"]
    if answers.divergence is not None:
        words.insert(0, f"{answers.divergence:.4f} nats")
    if answers.accuracy is not None:
        words.append(f"top-1 {100 * answers.accuracy:.2f} %")
    return ", ".join(words)


def _worst(kind: str, differences: tuple[Difference, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{kind} that differs most", overflow="fold")
    table.add_column("largest", justify="right")
    table.add_column("relative", justify="right")
    for found in sorted(differences, key=lambda item: -item.relative)[:_WORST]:
        table.add_row(found.name, f"{found.largest:.4g}", f"{found.relative:.2%}")
    return table


def _blame(blame: Blame) -> Table:
    """The layers that were restored, those first that win back most."""
    restored = [layer for layer in blame.layers if layer.divergence is not None]
    labelled = any(layer.accuracy is not None for layer in restored)
    table = Table(box=None, pad_edge=False)
    table.add_column("layer, restored alone", overflow="fold")
    for heading in ("weights", "output", "nats won", "agreement"):
        table.add_column(heading, justify="right")
    if labelled:
        table.add_column("top-1", justify="right")
    for layer in sorted(restored, key=lambda layer: -(layer.divergence or 0.0)):
        cells = [
            _decibels(layer.weight_snr),
            _decibels(layer.output_snr),
            f"{layer.divergence:+z.4f}",
            f"{layer.agreement or 0.0:+z.2f}",
        ]
        if labelled:
            cells.append(f"{layer.accuracy or 0.0:+z.2f}")
        table.add_row(layer.name.removesuffix(".weight"), *cells)
    return table


def _advice(blame: Blame) -> str:
    measured = f"{blame.divergence:.4f} nats on {blame.inputs:,} inputs"
    if not blame.layers:
        return (
            f"{measured}: no layer could be restored, because no weight with codes has its name "
            "and shape in the original too; channels that were removed and layers that were split "
            "have none there"
        )
    if not blame.keep:
        return f"{measured}: no layer, restored alone, wins back a tenth of it"
    return f"{measured}; these layers cost most: --keep '{blame.keep}'"


def _decibels(ratio: float) -> str:
    if math.isfinite(ratio):
        return f"{ratio:z.1f} dB"
    return "exact" if ratio == math.inf else "-"
