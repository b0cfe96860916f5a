"""The recipes on the shipped Fashion-MNIST networks: size and accuracy over several seeds.

Each run is `edgekit finetune NETWORK --recipe RECIPE --seed N`; its folder stays, and a run that
was interrupted goes on. Accuracy is top-1 on the 10,000 test images; no run chooses by them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edgekit import api
from edgekit.files import write_atomic
from edgekit.report.finetuning import render_card
from edgekit.train.chain import PACKED, REPORT
from edgekit.train.recipe import with_bits_per_weight
from edgekit.train.recipe_file import read_recipe
from edgekit.train.run import FinetuneReport


@dataclass(frozen=True, slots=True)
class Case:
    """A network under a recipe.

    bits: of a grid, in place of all that the recipe tries. is_label_free: learn from the float
    model alone.
    """

    network: str
    recipe: str
    bits: float | None = None
    is_label_free: bool = False

    @property
    def name(self) -> str:
        """For folders and tables."""
        return f"{self.network}.{self.form}"

    @property
    def form(self) -> str:
        """The recipe, and what was done otherwise."""
        if self.is_label_free:
            return f"{self.recipe}-label-free"
        return self.recipe if self.bits is None else f"{self.recipe}-{self.bits:g}"


CASES = (
    Case("squeezenet_fashion", "deep-compression"),
    Case("squeezenet_fashion", "tiny"),
    # Without labels nothing says what was lost, so the recipe's first bound is the only one.
    Case("squeezenet_fashion", "tiny", bits=0.78, is_label_free=True),
    Case("squeezenet_fashion", "int8"),
    Case("mobilenetv2_fashion", "tiny"),
    Case("mobilenetv2_fashion", "tiny", bits=1.75),
    Case("mobilenetv2_fashion", "int8"),
    Case("mobilenetv2_fashion", "narrow"),
)


def main() -> None:
    """Run what isn't there yet, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("recipes-out"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--ship", type=Path, help="put the first seed's files and cards there")
    arguments = parser.parse_args()
    cases = [case for case in CASES if (arguments.only or "") in case.name]
    table = Table(title="Fashion-MNIST, 10,000 test images", title_justify="left", box=None)
    for heading in ("network", "recipe", "seeds", "bytes", "ratio", "float", "top-1", "lost"):
        table.add_column(heading, justify="left" if heading in {"network", "recipe"} else "right")
    for case in cases:
        reports = [_report(case, seed, arguments.output) for seed in arguments.seeds]
        if arguments.ship is not None:
            _ship(case, arguments.seeds[0], arguments.output, arguments.ship)
        packed = [report["packed_bytes"] for report in reports]
        tops = [100 * report["test"][-1] for report in reports]
        lost = [100 * (report["test"][0] - report["test"][-1]) for report in reports]
        table.add_row(
            case.network,
            case.form,
            str(len(reports)),
            f"{min(packed):,}-{max(packed):,}",
            f"{statistics.mean(report['ratio'] for report in reports):.2f}",
            f"{100 * reports[0]['test'][0]:.2f}",
            f"{statistics.mean(tops):.2f}",
            f"{statistics.mean(lost):.2f} ({min(lost):.2f} to {max(lost):.2f})",
        )
    Console(width=110, highlight=False).print(table)


def _report(case: Case, seed: int, folder: Path) -> dict[str, Any]:
    out = folder / f"{case.name}.{seed}"
    kept = out / REPORT
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if "test" in found:
            return found
    return _run(case, seed, folder).to_dict()


def _run(case: Case, seed: int, folder: Path) -> FinetuneReport:
    """Run, or go on; a finished run is only measured again."""
    recipe = read_recipe(case.recipe)
    if case.bits is not None:
        recipe = with_bits_per_weight(recipe, case.bits)
    if case.is_label_free and recipe.distillation is not None:
        recipe = replace(recipe, distillation=replace(recipe.distillation, share=1.0))
    out = folder / f"{case.name}.{seed}"
    return api.finetune(case.network, out, recipe=recipe, seed=seed, resume=True)


def _ship(case: Case, seed: int, folder: Path, target: Path) -> None:
    """A run's packed file and its card, under the name of the case."""
    report = _run(case, seed, folder)
    bits = "" if case.bits is None else f" --bits-per-weight {case.bits:g}"
    command = (
        f"edgekit finetune {case.network} --recipe {case.recipe}{bits} --seed {seed} -o {case.name}"
    )
    target.mkdir(exist_ok=True)
    packed = target / f"{case.name}.ekp"
    write_atomic(packed, Path(report.output).read_bytes())
    card = render_card(report, command).replace(PACKED, packed.name)
    licence = (
        "Licences: the weights are under Apache-2.0, like edgekit. Fashion-MNIST (Xiao, Rasul,\n"
    )
    licence += "Vollgraf 2017) is under the Expat (MIT) licence, Copyright 2017 Zalando SE.\n"
    write_atomic(packed.with_suffix(".md"), f"{card}\n{licence}".encode())


if __name__ == "__main__":
    main()
