"""The chain from a float model to a packed file."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from PIL import Image
from rich.console import Console

import edgekit
from edgekit.count import count
from edgekit.errors import CheckFailedError, FormatError, RecipeError, UsageError
from edgekit.graph import load_graph
from edgekit.packfile.onnx_model import decompress
from edgekit.packfile.reader import read_packfile
from edgekit.preprocess import make_preprocess
from edgekit.report.finetuning import render_card, render_table
from edgekit.tensors import CodedTensor
from edgekit.train.chain import PACKED, REPORT
from edgekit.train.datasets import Samples, TrainingData
from edgekit.train.finetune import finetune
from edgekit.train.judge import measure_file
from edgekit.train.recipe import (
    Channels,
    Distillation,
    Grid,
    LowRank,
    Prune,
    Retrain,
    Share,
    Stage,
    Train,
)
from edgekit.train.run import FinetuneReport
from edgekit.train.task import Classification
from edgekit.train.tuning import Progress
from edgekit.train.workers import ALONE
from tests.train.nets import samples, tiny_data, tiny_model, write_tiny
from tests.train.runs import CHAIN, numbers, recipe, run


def test_the_paper_s_chain_learns_and_packs(model: Path, tmp_path: Path) -> None:
    report = run(model, tmp_path / "out", recipe(*CHAIN))

    assert [stage.kind for stage in report.stages] == ["float", "retrain", "prune", "share"]
    assert report.test is not None
    assert report.test[0] < 0.6
    assert min(report.test[1:]) > 0.9
    assert report.packed_bytes == (tmp_path / "out" / PACKED).stat().st_size
    assert report.float_bytes == model.stat().st_size
    assert report.stages[2].sparsity == pytest.approx(0.6, abs=0.01)
    assert report.stages[3].sparsity >= report.stages[2].sparsity


def test_masks_are_held_to_the_end(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / "out", recipe(*CHAIN))

    pruned = numbers(tmp_path / "out/2-prune.onnx")
    shared = numbers(tmp_path / "out/3-share.onnx")
    zeros = {name: values == 0 for name, values in pruned.items() if values.ndim > 1}
    assert sum(int(mask.sum()) for mask in zeros.values()) > 0
    for name, mask in zeros.items():
        assert np.all(shared[name][mask] == 0)


@pytest.mark.parametrize(
    "last",
    [
        Share(bits=3, epochs=1),
        Grid(bits=6, epochs=1),
        Grid(bits_per_weight=2, bias_bits=8, epochs=2),
        Grid(steps="channel", epochs=1),
    ],
)
def test_the_packed_file_holds_exactly_what_was_trained(
    model: Path, tmp_path: Path, last: Stage
) -> None:
    run(model, tmp_path / "out", recipe(Prune(sparsity=0.5, epochs=1), last))

    decompress(tmp_path / "out" / PACKED, tmp_path / "back.onnx")
    back, trained = numbers(tmp_path / "back.onnx"), numbers(tmp_path / f"out/2-{last.kind}.onnx")
    assert back.keys() == trained.keys()
    for name, values in trained.items():
        np.testing.assert_array_equal(back[name], values)


def test_a_grid_comes_down_to_its_bits(model: Path, tmp_path: Path) -> None:
    stages = (Retrain(epochs=6, learning_rate=0.1), Grid(bits_per_weight=1.5, epochs=30))

    report = run(model, tmp_path / "out", recipe(*stages))

    assert report.stages[-1].bits_per_weight == pytest.approx(1.5, abs=0.3)


def test_an_int8_stage_gives_a_file_that_runs_in_int8(model: Path, tmp_path: Path) -> None:
    stages = (
        Retrain(epochs=6, learning_rate=0.1),
        Grid(steps="channel", activations=True, epochs=2),
    )

    report = run(model, tmp_path / "out", recipe(*stages))

    packed = read_packfile(tmp_path / "out" / PACKED)
    assert packed.manifest["run_as"] == "int8"
    assert report.test is not None
    assert report.test[-1] > 0.9
    inputs = samples(16, 9).inputs.numpy()
    as_int8 = edgekit.load(tmp_path / "out" / PACKED).run(None, {"x": inputs})[0]
    as_float = edgekit.load(tmp_path / "out" / PACKED, run_as="float").run(None, {"x": inputs})[0]
    assert not np.array_equal(as_int8, as_float)
    np.testing.assert_allclose(as_int8, as_float, atol=0.1 * np.abs(as_float).max())


def test_the_seed_decides_the_file(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Grid(bits=4, epochs=1))

    files = [run(model, tmp_path / str(n), chosen, seed=seed).sha256 for n, seed in
             enumerate((0, 0, 1))]  # fmt: skip

    assert files[0] == files[1] != files[2]


def test_a_student_learns_from_its_teacher_without_labels(model: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "trained"
    run(model, teacher, recipe(Retrain(epochs=6, learning_rate=0.1), Grid(epochs=0)))
    path = teacher / "1-retrain.onnx"

    report = finetune(
        str(path),
        tmp_path / "out",
        recipe=recipe(Grid(bits=3, epochs=6), distillation=Distillation(features=0.1, flow=0.1)),
        data=tiny_data(labelled=False),
    )

    # Agreement with the float model, since there is no label.
    assert report.stages[0].validation == 1
    assert report.stages[1].validation > 0.9
    assert (report.test, report.test_metric) == (None, None)


def test_each_metric_goes_by_its_name(model: Path, tmp_path: Path) -> None:
    """Where validation has no labels and the test has some, and where both have."""
    chosen = recipe(Share(bits=3, epochs=0), distillation=Distillation(share=1))
    data = dataclasses.replace(tiny_data(labelled=False), test=samples(96, 3))

    def told(number: int, data: TrainingData) -> tuple[FinetuneReport, str, str]:
        found = finetune(str(model), tmp_path / str(number), recipe=chosen, data=data)
        console = Console(file=io.StringIO(), width=200)
        console.print(render_table(found))
        return found, console.file.getvalue(), render_card(found, "c")  # type: ignore[attr-defined]  # a StringIO

    mixed, table, card = told(0, data)
    both, usual, usual_card = told(1, tiny_data())

    assert (mixed.metric, mixed.test_metric) == ("agreement with the teacher", "top-1")
    assert mixed.to_dict()["test_metric"] == "top-1"
    assert json.loads((tmp_path / "0" / REPORT).read_text())["test_metric"] == "top-1"
    assert "agreement with the teacher on 96 validation and top-1 on 96 test samples" in table
    assert "agreement with the teacher on rows: 96 validation samples; top-1: 96 test" in card
    assert (both.metric, both.test_metric) == ("top-1", "top-1")
    assert "top-1 on 96 validation and 96 test samples of rows" in usual
    assert "top-1 on rows: 96 validation samples and 96 test samples, measured" in usual_card


def test_nothing_to_learn_from_is_said(model: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no labels and the recipe has no teacher"):
        finetune(
            str(model),
            tmp_path / "out",
            recipe=recipe(Grid(epochs=1)),
            data=tiny_data(labelled=False),
        )


def test_the_packed_file_keeps_how_pictures_become_inputs(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for number, name in enumerate(("dark", "grey", "light")):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            pixels = np.full((9, 9), 80 * number + index, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")

    finetune(
        str(model),
        tmp_path / "out",
        recipe=recipe(Grid(epochs=1)),
        data=folder,
        preprocess="unit",
    )

    kept = read_packfile(tmp_path / "out" / PACKED).manifest["preprocessing"]
    assert kept == make_preprocess("unit", (0, 1, 6, 6)).to_dict()


def test_a_limit_that_leaves_nothing_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train_limit must be at least 1"):
        run(model, tmp_path / "out", recipe(Grid()), train_limit=0)


def test_a_loss_that_is_no_number_stops_the_run(model: Path, tmp_path: Path) -> None:
    data = tiny_data()

    def spoil(
        inputs: torch.Tensor,
        generator: torch.Generator,
        *,
        first: int = 0,
        total: int | None = None,
    ) -> torch.Tensor:
        return inputs * float("nan")

    bad = dataclasses.replace(data, augment=spoil)

    with pytest.raises(CheckFailedError, match="lower the learning rate"):
        finetune(str(model), tmp_path / "out", recipe=recipe(Grid(epochs=1)), data=bad)


@pytest.mark.parametrize(
    "prune",
    [
        Prune(pattern="2:4", epochs=1),
        Prune(rank="importance", epochs=1),
        Prune(schedule="one-shot", epochs=0),
        Prune(schedule="iterative", epochs=1),
    ],
)
def test_every_way_of_pruning_reaches_its_sparsity(
    model: Path, tmp_path: Path, prune: Prune
) -> None:
    report = run(model, tmp_path / "out", recipe(prune, Grid(epochs=0)))

    pruned = numbers(tmp_path / "out/1-prune.onnx")
    if prune.pattern:
        point = pruned["point.weight"].reshape(8, 2, 4)
        assert np.all(np.count_nonzero(point, axis=2) == 2)
    else:
        assert report.stages[1].sparsity == pytest.approx(prune.sparsity, abs=0.01)


def test_a_pattern_that_fits_no_layer_is_told_before_training(model: Path, tmp_path: Path) -> None:
    stages = (Retrain(epochs=1), Prune(pattern="7:64", epochs=1), Share())

    with pytest.raises(RecipeError, match=r"7:64 fits no layer, .*: stem\.weight \(8, 1, 3, 3\)"):
        run(model, tmp_path / "out", recipe(*stages))
    assert not (tmp_path / "out").exists()


def test_shared_weights_have_few_values(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / "out", recipe(Share(bits=2, start="density", epochs=1)))

    tensors = read_packfile(tmp_path / "out" / PACKED).tensors
    coded = [tensor for tensor in tensors if isinstance(tensor, CodedTensor)]
    assert coded
    for tensor in coded:
        assert tensor.codebook is not None
        assert tensor.codebook.size <= 4


def test_channels_leave_and_the_rest_is_retrained(model: Path, tmp_path: Path) -> None:
    stages = (
        Retrain(epochs=6, learning_rate=0.1),
        Channels(keep=0.5, epochs=6, learning_rate=0.05),
        Grid(epochs=1),
    )

    report = run(model, tmp_path / "out", recipe(*stages))

    assert report.test is not None
    assert report.test[-1] > 0.9
    before, after = (
        count(load_graph(tmp_path / "out" / name)).multiply_adds or 0
        for name in ("1-retrain.onnx", "2-channels.onnx")
    )
    assert 0 < after < 0.7 * before


def test_layers_split_and_are_retrained(model: Path, tmp_path: Path) -> None:
    stages = (
        Retrain(epochs=6, learning_rate=0.1),
        LowRank(energy=0.9, epochs=8, learning_rate=0.05),
        Grid(epochs=1),
    )

    report = run(model, tmp_path / "out", recipe(*stages))

    assert report.test is not None
    assert report.test[-1] > 0.9
    assert (
        numbers(tmp_path / "out/2-low-rank.onnx").keys()
        != numbers(tmp_path / "out/1-retrain.onnx").keys()
    )


def test_what_is_pruned_stays_pruned_in_later_stages(model: Path, tmp_path: Path) -> None:
    stages = (
        Prune(sparsity=0.8, epochs=1),
        Prune(sparsity=0.3, epochs=1),
        Prune(pattern="2:4", epochs=1),
        Share(epochs=0),
    )

    report = run(model, tmp_path / "out", recipe(*stages))

    first, *later = (numbers(tmp_path / "out" / stage.file) for stage in report.stages[1:])
    for after in later:
        for name, values in first.items():
            if values.ndim > 1:
                assert not np.any(after[name][values == 0])


def zeros_of(path: Path) -> float:
    weights = [values for values in numbers(path).values() if values.ndim > 1]
    return sum(np.count_nonzero(w == 0) for w in weights) / sum(w.size for w in weights)


def test_what_is_pruned_stays_pruned_when_channels_leave(model: Path, tmp_path: Path) -> None:
    stages = (
        Prune(sparsity=0.67, epochs=1),
        Channels(keep=0.6, epochs=1),
        Share(epochs=1),
    )

    report = run(model, tmp_path / "out", recipe(*stages))

    pruned, *later = (zeros_of(tmp_path / "out" / stage.file) for stage in report.stages[1:])
    assert min(later) > pruned - 0.1


@pytest.mark.parametrize(
    "last", [Share(epochs=1), Grid(epochs=1), Grid(bias_bits=8, epochs=1)], ids=["share", "16", "8"]
)
def test_a_pattern_stays_where_all_inputs_stay(model: Path, tmp_path: Path, last: Stage) -> None:
    apart = onnx.load(model)
    # The outputs of the pointwise layer may leave without its inputs.
    add = next(node for node in apart.graph.node if node.op_type == "Add")
    add.input[0] = "p"
    onnx.save(apart, tmp_path / "apart.onnx")
    stages = (Prune(pattern="2:4", epochs=1), Channels(keep=0.8, epochs=1), last)

    report = run(tmp_path / "apart.onnx", tmp_path / "out", recipe(*stages))

    for stage in report.stages[2:]:
        after = numbers(tmp_path / "out" / stage.file)["point.weight"]
        # Too few weights are left for codes, and zeros stay zeros all the same.
        assert (len(after), after.shape[1]) == (4, 8)
        assert np.all(np.count_nonzero(after.reshape(len(after), 2, 4), axis=2) <= 2)


@pytest.mark.parametrize("form", ["onnx", "ekp"])
def test_a_pruned_source_keeps_its_zeros(model: Path, tmp_path: Path, form: str) -> None:
    run(model, tmp_path / "first", recipe(Prune(sparsity=0.6, epochs=1), Share(epochs=0)))
    source = tmp_path / "first" / ("1-prune.onnx" if form == "onnx" else PACKED)

    report = run(source, tmp_path / "out", recipe(Retrain(epochs=1), Share(epochs=1)))

    before, *later = (numbers(tmp_path / "out" / stage.file) for stage in report.stages)
    assert report.stages[0].sparsity == pytest.approx(0.6, abs=0.01)
    assert any(np.any(after["head.weight"] != before["head.weight"]) for after in later)
    for after in later:
        for name, values in before.items():
            if values.ndim > 1:
                assert not np.any(after[name][values == 0])


def test_a_packed_source_has_its_own_weights(model: Path, tmp_path: Path) -> None:
    run(model, tmp_path / "first", recipe(Share(epochs=0)))
    source = tmp_path / "first" / PACKED
    data = bytearray(source.read_bytes())

    with pytest.raises(UsageError, match=r"model\.ekp has its own weights and input shape"):
        run(source, tmp_path / "out", recipe(Share(epochs=0)), weights="w.pt")
    data[-40] ^= 1
    source.write_bytes(data)
    with pytest.raises(FormatError, match=r"."):
        run(source, tmp_path / "out", recipe(Share(epochs=0)))
    assert not (tmp_path / "out").exists()


def test_a_teacher_has_the_outputs_of_its_student(model: Path, tmp_path: Path) -> None:
    other = onnx.load(model)
    for tensor in other.graph.initializer:
        if tensor.name.startswith("head."):
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values[:2].copy(), tensor.name))
    del other.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(other, tmp_path / "two.onnx")

    with pytest.raises(RecipeError, match=r"the student's outputs are .*, 3\) and the teacher's"):
        run(
            model,
            tmp_path / "out",
            recipe(Share(epochs=1), distillation=Distillation()),
            teacher=tmp_path / "two.onnx",
        )


def test_a_grid_with_a_bound_needs_a_tensor_to_code(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.train.methods.method.MIN_CODED", 10_000)

    with pytest.raises(RecipeError, match="no tensor is large enough for codes"):
        run(model, tmp_path / "out", recipe(Grid(bits_per_weight=2, epochs=1)))


def test_a_model_with_a_fixed_batch_is_judged_whole(tmp_path: Path) -> None:
    fixed = tiny_model()
    for value in (fixed.graph.input[0], fixed.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 7
    onnx.save(fixed, tmp_path / "fixed.onnx")
    write_tiny(tmp_path / "open.onnx")
    task = Classification()

    found = [
        measure_file(tmp_path / name, samples(96, 3), task, ALONE)
        for name in ("fixed.onnx", "open.onnx")
    ]

    assert found[0] == found[1]


def test_a_test_split_without_labels_is_refused_before_training(
    model: Path, tmp_path: Path
) -> None:
    data = dataclasses.replace(tiny_data(), test=samples(96, 3, labelled=False))
    seen: list[Progress] = []

    with pytest.raises(UsageError, match="the test split has no labels; leave it out"):
        finetune(
            str(model),
            tmp_path / "out",
            recipe=recipe(Share(epochs=1)),
            data=data,
            watch=lambda _stage, line: seen.append(line),
        )
    assert not seen


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_have_bounds(model: Path, tmp_path: Path, seed: int) -> None:
    with pytest.raises(UsageError, match="seed must be at least 0 and below"):
        run(model, tmp_path / "out", recipe(Share()), seed=seed)
    assert not (tmp_path / "out").exists()


def test_codes_that_did_not_come_down_are_told(model: Path, tmp_path: Path) -> None:
    report = run(model, tmp_path / "out", recipe(Grid(bits_per_weight=0.5, epochs=0.2)))

    console = Console(file=io.StringIO(), width=200)
    console.print(render_table(report))
    assert "bits a weight, 0.5 were asked for" in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_a_teacher_alone_needs_no_labels_and_heeds_none(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Grid(bits=4, epochs=2), distillation=Distillation(share=1.0))
    labelled = tiny_data()
    turned = dataclasses.replace(
        labelled,
        training=Samples(labelled.training.inputs, labelled.training.labels.flip(0)),  # type: ignore[attr-defined]  # it's a Samples
    )

    files = [
        finetune(str(model), tmp_path / str(number), recipe=chosen, data=data).sha256
        for number, data in enumerate((labelled, turned))
    ]

    assert files[0] == files[1]


def test_what_prunes_by_importance_prunes_otherwise(model: Path, tmp_path: Path) -> None:
    zeros = []
    for rank in ("magnitude", "importance"):
        run(model, tmp_path / rank, recipe(Prune(rank=rank, epochs=2), Share(epochs=0)))
        pruned = numbers(tmp_path / rank / "1-prune.onnx")
        zeros.append({name: (values == 0).tobytes() for name, values in pruned.items()})

    assert zeros[0] != zeros[1]


def test_the_seed_draws_the_random_start_of_shared_values(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Share(bits=3, start="random", epochs=0))

    found = []
    for number in range(3):
        run(model, tmp_path / str(number), chosen, seed=number // 2)
        found.append(numbers(tmp_path / str(number) / "1-share.onnx")["head.weight"].tobytes())

    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    "last", [Share(bits=4, epochs=1), Grid(bits=5, epochs=1), Grid(bits=5, bias_bits=6, epochs=1)]
)
def test_large_biases_pack_as_they_were_trained(tmp_path: Path, last: Stage) -> None:
    rng = np.random.default_rng(4)
    initializers = [
        numpy_helper.from_array((0.3 * rng.standard_normal(shape)).astype(np.float32), name)
        for name, shape in {"a": (64, 36), "a.bias": (64,), "b": (3, 64), "b.bias": (3,)}.items()
    ]
    small = tiny_model()
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "a", "a.bias"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "b", "b.bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(nodes, "m", small.graph.input, small.graph.output, initializers)
    path = tmp_path / "biases.onnx"
    onnx.save(helper.make_model(graph, opset_imports=small.opset_import, ir_version=8), path)

    run(path, tmp_path / "out", recipe(last))

    decompress(tmp_path / "out" / PACKED, tmp_path / "back.onnx")
    back, trained = numbers(tmp_path / "back.onnx"), numbers(tmp_path / f"out/1-{last.kind}.onnx")
    np.testing.assert_array_equal(back["a.bias"], trained["a.bias"])
    assert np.any(trained["a.bias"] != numpy_helper.to_array(initializers[1]))
    if last.kind == "share" or last.bias_bits == 16:  # type: ignore[union-attr]  # a Grid
        as_half = trained["a.bias"].astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(trained["a.bias"], as_half)


def test_a_teacher_for_other_inputs_is_refused_before_a_training(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    chosen = recipe(Train(epochs=1), Share(epochs=0), distillation=Distillation())
    out = tmp_path / "out"

    with pytest.raises(RecipeError, match=r"the teacher takes inputs of shape \(1, 6, 6\)"):
        finetune("squeezenet_fashion", out, recipe=chosen, data=str(folder), teacher=model)
    assert not out.exists()
