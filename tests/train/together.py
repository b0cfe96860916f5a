"""Trains the graph of a file on an array of data, alone or under torchrun, and logs the losses.

python together.py MODEL.onnx DATA.npz LOG.json
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import onnx
import torch
from torch import nn

from edgekit.train.augment import flip_and_shift
from edgekit.train.datasets import TrainingData
from edgekit.train.graph_module import GraphModule
from edgekit.train.sources import open_data
from edgekit.train.workers import joined, training_part


def main(model: str, source: str, log: str) -> None:
    torch.set_num_threads(1)
    data = open_data(source, input_shape=(0, 1, 12, 12))
    data = TrainingData(
        name=data.name,
        training=data.training,
        validation=data.validation,
        test=None,
        augment=partial(flip_and_shift, fill=0.0),
        source=data.source,
    )
    losses = []
    with joined() as workers:
        module = GraphModule(onnx.load(model))
        if workers.number:
            with torch.no_grad():
                for weight in module.parameters():
                    weight.zero_()
        workers.share(module.parameters())
        unused = nn.Parameter(torch.ones(3))
        optimizer = torch.optim.SGD([*module.parameters(), unused], lr=0.02, momentum=0.9)
        generator = torch.Generator().manual_seed(3)
        for _ in range(3):
            order = torch.randperm(len(data.training), generator=generator)
            # 54 samples in batches of 53: the last one is too small for two workers.
            for chosen in torch.split(order, 53):
                part = training_part(data, chosen, generator, workers)
                assert part.labels is not None
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(module(part.inputs)[0], part.labels)
                loss = loss * part.share
                torch.autograd.backward(loss)
                workers.sum_gradients([*module.parameters(), unused])
                assert unused.grad is None
                optimizer.step()
                losses.append(workers.totals([loss.item()])[0])
        workers.meet()
        if workers.is_first:
            Path(log).write_text(json.dumps({"losses": losses, "workers": workers.count}))


main(*sys.argv[1:])
