"""A model's layers, channels and correlations, as a table and as a picture."""

from __future__ import annotations

import io
from pathlib import PurePath

from rich.console import Group, RenderableType
from rich.table import Table

from edgekit.errors import MissingDependencyError, UsageError
from edgekit.inspect.analyze import AnalysisReport, LayerAnalysis, LayerCost

_LEGEND = (
    "MAdds, weights, time: shares of the model. out: channels. dead: those that never / hardly "
    "fire. |r|: mean correlation of two channels. rank: independent channels that would spread "
    "alike. removal: least change of the output when one channel is taken out, and which."
)
_SHOWN = 9
"""Correlation matrices in the picture: those of the costliest layers."""


def render_table(report: AnalysisReport) -> RenderableType:
    """One line a layer, then what they suggest."""
    fed = "an input" if report.batch == 1 else f"a batch of {report.batch}"
    title = f"{report.path} on {report.inputs} inputs, {1e3 * report.seconds:.2f} ms {fed}"
    table = Table(box=None, pad_edge=False, title=title)
    for heading in ("layer", "MAdds", "weights", "time", "out", "dead", "|r|", "rank", "removal"):
        is_name = heading == "layer"
        table.add_column(
            heading,
            justify="left" if is_name else "right",
            overflow="fold",
            no_wrap=not is_name,
        )
    for layer in report.layers:
        table.add_row(*_cells(layer))
    for cost in report.others:
        table.add_row(*_shares(cost), *["-"] * 5)
    advice = [f"{layer.cost.name}: {line}" for layer in report.layers for line in layer.advice]
    return Group(table, "", _LEGEND, "", *(advice or ["Nothing stands out."]))


def picture(report: AnalysisReport) -> bytes:
    """A PNG: shares of each layer, channels that hardly fire, correlations of the costliest layers.

    Raises MissingDependencyError where matplotlib isn't installed, and UsageError for a model none
    of whose channels were looked at.
    """
    if not report.layers:
        raise UsageError(f"{report.path} has no layer whose channels can be drawn")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report") from error
    count = len(report.layers)
    shown = sorted(report.layers, key=lambda layer: -(layer.cost.multiply_add_share or 0))[:_SHOWN]
    rows = -(-len(shown) // 3)
    figure = Figure(figsize=(12, 3 + 0.22 * count + 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    heights = [2 + 0.22 * count, 3.2 * rows]
    ((top,), (bottom,)) = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)
    costs, dead = top.subplots(1, 2, sharey=True)
    places = range(count)
    for offset, (label, shares) in enumerate(
        {
            "multiply-adds": [layer.cost.multiply_add_share or 0 for layer in report.layers],
            "parameters": [layer.cost.parameter_share for layer in report.layers],
            "time": [layer.cost.time_share for layer in report.layers],
        }.items()
    ):
        costs.barh([p + 0.27 * (offset - 1) for p in places], shares, height=0.25, label=label)
    costs.set_yticks(list(places), [layer.cost.name for layer in report.layers], fontsize=7)
    costs.invert_yaxis()
    costs.set_xlabel("share of the model")
    costs.legend()
    dead.barh(list(places), [(layer.hardly or 0) / layer.channels for layer in report.layers])
    dead.set_xlabel("share of channels that hardly fire")
    dead.set_xlim(0, 1)
    if not any(layer.hardly for layer in report.layers):
        dead.text(0.5, 0.5, "none", transform=dead.transAxes, ha="center", color="0.4")
    figure.suptitle(f"{PurePath(report.path).name} on {report.inputs} inputs")
    grid = bottom.subplots(rows, 3, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, layer in zip(grid.flat, shown, strict=False):
        drawn = axes.imshow(layer.statistics.correlation, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(
            f"{layer.cost.name}\nrank {layer.effective_rank:.0f} of {layer.channels}", fontsize=7
        )
    scale = bottom.colorbar(drawn, ax=grid.ravel().tolist(), shrink=0.6, location="right")
    scale.set_label("correlation of two channels")
    out = io.BytesIO()
    # No version and date: the same report gives the same bytes.
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None})
    return out.getvalue()


def _cells(layer: LayerAnalysis) -> tuple[str, ...]:
    least = layer.removals[0]
    return (
        *_shares(layer.cost),
        str(layer.channels),
        "-" if layer.never is None else f"{layer.never} / {layer.hardly}",
        f"{layer.mean_correlation:.2f}",
        f"{layer.effective_rank:.0f}",
        f"{least.change:.0e} (#{least.channel})",
    )


def _shares(cost: LayerCost) -> tuple[str, ...]:
    share = "-" if cost.multiply_add_share is None else f"{cost.multiply_add_share:.1%}"
    return (cost.name, share, f"{cost.parameter_share:.1%}", f"{cost.time_share:.1%}")
