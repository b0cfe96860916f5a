from __future__ import annotations

from dataclasses import replace

from edgekit.bench.remote.names import names_of
from edgekit.bench.remote.payload import Model
from tests.bench.reports import case, report

MODELS = (
    Model("my models/a\\1.onnx", "model0/edgekit-model-0.onnx", ()),
    Model("b.ekp", "model1/edgekit-model-1.ekp", ()),
)
NAMES = names_of(
    MODELS,
    {"runs": 3, "evaluate": "my data.npz", "preprocess": "imagenet"},
    {"runs": 3, "evaluate": "data/evaluate/given.npz", "preprocess": "imagenet"},
)


def test_messages_name_the_files_of_the_person_who_reads_them() -> None:
    assert NAMES.in_text("can't load model0/edgekit-model-0.onnx: no graph") == (
        "can't load my models/a\\1.onnx: no graph"
    )
    assert NAMES.in_text("cold start of /tmp/x/model1/edgekit-model-1.ekp failed") == (
        "cold start of b.ekp failed"
    )
    assert NAMES.in_text("edgekit-model-0.onnx: input x") == "a\\1.onnx: input x"
    assert NAMES.in_text("can't use '/tmp/x/data/evaluate/given.npz'") == "can't use 'my data.npz'"
    assert NAMES.in_text("nothing of ours") == "nothing of ours"


def test_a_report_names_them_too() -> None:
    there = report(
        case([0.1], path="model0/edgekit-model-0.onnx"),
        case([0.1], path="model1/edgekit-model-1.ekp"),
        case([0.1], path="elsewhere.onnx"),
    )
    there = replace(
        there, settings=replace(there.settings, evaluate="data/evaluate/given.npz", runs=7)
    )

    here = NAMES.in_report(there)

    assert [c.path for c in here.cases] == ["my models/a\\1.onnx", "b.ekp", "elsewhere.onnx"]
    assert (here.settings.evaluate, here.settings.runs) == ("my data.npz", 7)
