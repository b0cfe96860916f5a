"""Bypass and distillation on one narrow SqueezeNet at equal training budgets, on Fashion-MNIST.

Three networks: without bypass, with simple bypass, and with complex bypass as well (Iandola et al.,
"SqueezeNet", 2016, section 6 and figure 2). Each is trained from random weights, then its export is
trained on for the same number of epochs: all three by the labels, and the plain one also by a
teacher's answers (Hinton et al. 2015) and FSP matrices (Yim et al. 2017). A teacher's own training
isn't counted. At last all are packed alike, in 8 bits. Figures are of the packed files on the test
images, each measured once, mean and spread (lowest to highest) over the seeds.

Run: python benchmarks/bypass.py [--seeds 3] [--epochs 1] [--train-limit 6400] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import edgekit
import edgekit_models
from edgekit import api
from edgekit.bench.evaluate import evaluate
from edgekit.data import FASHION_MNIST, Labelled, load_labelled
from edgekit.files import write_atomic
from edgekit.train.datasets import TrainingData, fashion_mnist
from edgekit.train.finetune import finetune
from edgekit.train.fit import train
from edgekit.train.recipe import Distillation, Grid, Recipe, Retrain
from edgekit.train.sources import Subset
from edgekit_models.blocks import ConvUnit, Fire, initialise
from edgekit_models.squeezenet import Bypass, SqueezeNet

LEARNING_RATE = 0.02
"""Of the second part."""
LARGE = "squeezenet_fashion"
"""A teacher that ships with its weights."""
VALIDATION_IMAGES = 500
"""Few, because nothing in the second part depends on them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A network and what its second part learned from. teacher: "" for labels alone."""

    form: str
    teacher: str = ""
    flow: float = 0.0

    @property
    def label(self) -> str:
        """For the table."""
        if not self.teacher:
            return self.form
        return f"{self.form} from {self.teacher}, answers" + (" and FSP" if self.flow else "")


ROWS = (
    Row("vanilla"),
    Row("simple"),
    Row("complex"),
    Row("vanilla", "complex"),
    Row("vanilla", "complex", flow=1.0),
    Row("vanilla", LARGE),
)


@dataclass(frozen=True, slots=True)
class Result:
    """A row over all seeds: top-1 of the packed files on the test images."""

    label: str
    parameters: int
    packed_bytes: int
    top1: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.top1)


def vanilla() -> SqueezeNet:
    """Six fire modules between the first convolution and the classes, for 1x28x28 inputs."""
    return _squeezenet(is_simple=False, is_complex=False)


def simple() -> SqueezeNet:
    """With a bypass where a fire module has as many inputs as outputs."""
    return _squeezenet(is_simple=True, is_complex=False)


def complex_() -> SqueezeNet:
    """With a 1x1 convolution as a bypass around the other fire modules as well."""
    return _squeezenet(is_simple=True, is_complex=True)


FACTORIES = {"vanilla": vanilla, "simple": simple, "complex": complex_}


def _squeezenet(*, is_simple: bool, is_complex: bool) -> SqueezeNet:
    def fire(inputs: int, squeezed: int, expanded: int) -> nn.Module:
        module = Fire(inputs, squeezed, expanded, expanded, normalised=True)
        if inputs == 2 * expanded:
            return Bypass(module) if is_simple else module
        if not is_complex:
            return module
        shortcut = nn.Conv2d(inputs, 2 * expanded, 1)
        initialise(shortcut)
        return Bypass(module, shortcut)

    features = nn.Sequential(
        ConvUnit(1, 32, 3),
        nn.MaxPool2d(2),
        fire(32, 8, 32),
        fire(64, 8, 32),
        fire(64, 16, 48),
        nn.MaxPool2d(2),
        fire(96, 16, 48),
        fire(96, 16, 64),
        fire(128, 16, 64),
    )
    return SqueezeNet(features, channels=128, classes=10, dropout=0.0)


def run_seed(
    seed: int, epochs: int, data: TrainingData, test: Labelled, folder: Path
) -> dict[str, tuple[int, float]]:
    """Packed bytes and top-1 of each row, by its label. folder: for what is trained."""
    trained: dict[str, Path] = {}
    for form, factory in FACTORIES.items():
        source, weights = f"{__file__}:{factory.__name__}", folder / f"{form}-{seed}.safetensors"
        train(source, weights, epochs=epochs, seed=seed, train_limit=len(data.training))
        trained[form] = folder / f"{form}-{seed}.onnx"
        api.export(source, trained[form], weights=weights, input_shape=(1, 1, 28, 28))
    teachers = {LARGE: folder / f"{LARGE}.onnx"}
    if not teachers[LARGE].exists():
        api.export(LARGE, teachers[LARGE])
    found = {}
    for number, row in enumerate(ROWS):
        taught = Distillation(flow=row.flow) if row.teacher else None
        stages = (Retrain(epochs=epochs, learning_rate=LEARNING_RATE), Grid(bits=8, epochs=0))
        run = folder / f"{seed}-{number}"
        report = finetune(
            str(trained[row.form]),
            run,
            recipe=Recipe(row.label, stages, distillation=taught, coder="huffman"),
            data=data,
            teacher=teachers.get(row.teacher),
            seed=seed,
        )
        if not row.teacher:
            # Later rows learn from what this one has become.
            teachers[row.form] = run / "1-retrain.onnx"
        session = edgekit.load(report.output, threads=1)
        top1 = evaluate(session, test, row.label).top1
        found[row.label] = (report.packed_bytes, top1)
        print(f"seed {seed}  {row.label:45} {top1:.2%}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Train all rows with all seeds and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--epochs", type=int, default=1, help="of each of the two parts")
    parser.add_argument("--train-limit", type=int, default=6_400, help="training images in use")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    chosen = parser.parse_args()
    whole = fashion_mnist(limit=chosen.train_limit)
    few = Subset(whole.validation, torch.arange(VALIDATION_IMAGES))
    data, test = replace(whole, validation=few, test=None), load_labelled(FASHION_MNIST)
    with tempfile.TemporaryDirectory() as scratch:
        seeds = [
            run_seed(seed, chosen.epochs, data, test, Path(scratch)) for seed in range(chosen.seeds)
        ]
    results = [
        Result(
            label=row.label,
            parameters=edgekit_models.count_parameters(FACTORIES[row.form]()),
            packed_bytes=seeds[0][row.label][0],
            top1=tuple(found[row.label][1] for found in seeds),
        )
        for row in ROWS
    ]
    table = Table(
        title=f"{chosen.epochs} + {chosen.epochs} epochs of {len(data.training):,} images, "
        f"{chosen.seeds} seeds",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("network")
    for heading in ("parameters", "packed bytes", "top-1", "lowest to highest"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            result.label,
            f"{result.parameters:,}",
            f"{result.packed_bytes:,}",
            f"{result.mean:.2%}",
            f"{min(result.top1):.2%} to {max(result.top1):.2%}",
        )
    Console(highlight=False, width=100).print(table)
    if chosen.json is not None:
        facts = {
            "seeds": chosen.seeds,
            "epochs": [chosen.epochs, chosen.epochs],
            "training_images": len(data.training),
            "rows": [asdict(result) for result in results],
        }
        write_atomic(chosen.json, (json.dumps(facts, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
