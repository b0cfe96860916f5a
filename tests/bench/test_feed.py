"""Made-up inputs fit what a model declares, or the fault is named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from edgekit.bench.feed import make_feed
from edgekit.errors import DataError, ModelFileError, UsageError

Input = tuple[int, Sequence[int | str | None]]


def identity(**inputs: Input) -> ort.InferenceSession:
    """A session that gives each of its inputs back."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [name], [f"{name}_out"]) for name in inputs],
            "identity",
            [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
            [helper.make_tensor_value_info(f"{name}_out", *kind) for name, kind in inputs.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("shape", "batch", "filled"),
    [
        (["N", 3, "H", "W"], 1, (1, 3, 1, 1)),
        ([None, 3, 8, 8], 4, (4, 3, 8, 8)),
        ([2, 3], 2, (2, 3)),
        ([-1, 5], 3, (3, 5)),
        ([], 1, ()),
    ],
)
def test_open_sizes_are_1_and_an_open_first_one_is_the_batch(
    shape: Sequence[int | str | None], batch: int, filled: tuple[int, ...]
) -> None:
    session = identity(x=(TensorProto.FLOAT, shape))

    feed = make_feed(session, "m.onnx", batch=batch)

    assert feed["x"].shape == filled
    session.run(None, feed)


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        (TensorProto.FLOAT, np.float32),
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.DOUBLE, np.float64),
        (TensorProto.INT64, np.int64),
        (TensorProto.UINT8, np.uint8),
        (TensorProto.BOOL, np.bool_),
    ],
)
def test_values_have_the_input_s_type_and_integers_are_indices(
    code: int, dtype: type[np.generic]
) -> None:
    session = identity(x=(code, [200]))

    values = make_feed(session, "m.onnx")["x"]

    assert values.dtype == dtype
    assert len(np.unique(values)) > 1
    if np.dtype(dtype).kind != "f":
        assert set(np.unique(values).tolist()) == {0, 1}


def test_the_seed_repeats_every_input() -> None:
    session = identity(x=(TensorProto.FLOAT, [3]), y=(TensorProto.FLOAT, [3]))

    first, same, other = (make_feed(session, "m.onnx", seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first["x"], same["x"])
    np.testing.assert_array_equal(first["y"], same["y"])
    assert not np.array_equal(first["x"], other["x"])
    assert not np.array_equal(first["x"], first["y"])


def test_a_given_shape_fills_open_sizes() -> None:
    session = identity(x=(TensorProto.FLOAT, ["N", 3, "H", "W"]))

    feed = make_feed(session, "m.onnx", input_shape=(2, 3, 5, 7))

    assert feed["x"].shape == (2, 3, 5, 7)


@pytest.mark.parametrize("shape", [(1, 4, 5, 5), (1, 3, 5), (0, 3, 5, 5)])
def test_a_shape_that_the_model_refuses_is_told_with_what_it_takes(shape: tuple[int, ...]) -> None:
    session = identity(x=(TensorProto.FLOAT, ["N", 3, "H", "W"]))

    with pytest.raises(UsageError, match=r"m\.onnx: input x takes the shape \?,3,\?,\?, not"):
        make_feed(session, "m.onnx", input_shape=shape)


def test_a_batch_that_a_fixed_model_refuses_is_a_usage_error() -> None:
    session = identity(x=(TensorProto.FLOAT, [1, 3]))

    with pytest.raises(UsageError, match="fixed first dimension of 1, not 8"):
        make_feed(session, "m.onnx", batch=8)


def test_one_shape_for_two_inputs_is_a_usage_error() -> None:
    session = identity(x=(TensorProto.FLOAT, ["N"]), y=(TensorProto.FLOAT, ["N"]))

    with pytest.raises(UsageError, match=r"m\.onnx has 2"):
        make_feed(session, "m.onnx", input_shape=(1,))


def test_an_input_of_text_can_not_be_made_up() -> None:
    session = identity(x=(TensorProto.STRING, [1]))

    with pytest.raises(ModelFileError, match=r"input x of type tensor\(string\)"):
        make_feed(session, "m.onnx")


def test_given_arrays_are_cut_to_the_rows_that_the_model_takes() -> None:
    session = identity(x=(TensorProto.FLOAT, ["N", 3]), y=(TensorProto.INT64, [2, 3]))
    given = {"x": np.arange(12.0).reshape(4, 3), "y": np.arange(12).reshape(4, 3)}

    feed = make_feed(session, "m.onnx", batch=3, given=given)

    np.testing.assert_array_equal(feed["x"], given["x"][:3])
    assert feed["x"].dtype == np.float32
    assert feed["y"].shape == (2, 3)


@pytest.mark.parametrize("names", [["x"], ["anything"], ["inputs", "labels"]])
def test_the_only_input_takes_the_only_array_or_the_one_called_inputs(names: list[str]) -> None:
    session = identity(x=(TensorProto.FLOAT, ["N", 3]))
    given = {name: np.ones((1, 3), np.float32) for name in names}

    assert make_feed(session, "m.onnx", given=given)["x"].sum() == 3


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((1, 4), np.float32), r"takes the shape \?,3 with 1 rows, the data have 1,4"),
        (np.ones(3, np.float32), r"takes the shape \?,3 with 1 rows, the data have 3"),
        (np.ones((0, 3), np.float32), r"with 1 rows, the data have 0,3"),
        (np.ones((1, 3), np.complex64), "takes float32, the data are complex64"),
        (np.array([["a", "b", "c"]]), "takes float32, the data are <U1"),
    ],
)
def test_arrays_that_do_not_fit_are_told_with_what_the_model_takes(
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], words: str
) -> None:
    session = identity(x=(TensorProto.FLOAT, ["N", 3]))

    with pytest.raises(DataError, match=f"m.onnx: input x {words}|{words}"):
        make_feed(session, "m.onnx", given={"x": array})


def test_an_input_without_an_array_is_named() -> None:
    session = identity(x=(TensorProto.FLOAT, [1]), y=(TensorProto.FLOAT, [1]))

    with pytest.raises(DataError, match=r"m\.onnx takes an input y, the data hold x, z"):
        make_feed(session, "m.onnx", given={"x": np.ones(1), "z": np.ones(1)})
