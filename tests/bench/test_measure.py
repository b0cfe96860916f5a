"""A benchmark runs what it says it runs, as often as it says."""

from __future__ import annotations

import gc
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bench import measure
from edgekit.bench.measure import Subject, bench, measure_warm
from edgekit.bench.opening import open_model
from edgekit.bench.reading import report_from_dict
from edgekit.bench.results import TURN
from edgekit.compress.pipeline import compress
from edgekit.errors import FormatError, InputError, ModelFileError, UsageError
from edgekit.report.latency_grids import name
from tests.bench.reports import SETTINGS
from tests.int8_nets import branchy, inputs


class Clockwork:
    """Stands for a session: notes each run, and takes the times it is given, in turn."""

    def __init__(self, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = log
        self.times = {"a": 0.010, "b": 0.020}
        monkeypatch.setattr(measure, "run_once", self.run)

    def run(self, _session: object, _feed: object, name: str) -> float:
        self.log.append(name)
        return self.times[name]


def subject(name: str) -> Subject:
    # Clockwork takes the place of what would use the session.
    session: Any = None
    return Subject(Path(name), "onnx", 1, "", 1, session, {})


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=6)
    return path


def test_every_case_gets_its_warm_up_and_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    Clockwork(log, monkeypatch)

    times = measure_warm([subject("a")], replace(SETTINGS, warmup=3, runs=25))

    assert times == [[0.010] * 25]
    assert len(log) == 3 + 25


def test_cases_take_turns_and_the_first_run_of_a_turn_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []
    Clockwork(log, monkeypatch)

    first, second = measure_warm(
        [subject("a"), subject("b")], replace(SETTINGS, warmup=0, runs=3 * TURN)
    )

    assert first == [0.010] * 3 * TURN
    assert second == [0.020] * 3 * TURN
    turn = TURN + 1
    rounds = [log[start : start + 2 * turn] for start in range(0, len(log), 2 * turn)]
    assert len(rounds) == 3
    for both in rounds:
        assert sorted([both[0], both[-1]]) == ["a", "b"]
        assert both == [both[0]] * turn + [both[-1]] * turn


def test_the_order_of_turns_is_drawn_and_repeats_with_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def order(seed: int) -> list[str]:
        log: list[str] = []
        Clockwork(log, monkeypatch)
        measure_warm([subject("a"), subject("b")], replace(SETTINGS, warmup=0, runs=200, seed=seed))
        return log[:: TURN + 1]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert {tuple(order(1)[i : i + 2]) for i in range(0, 40, 2)} == {("a", "b"), ("b", "a")}


def test_a_known_median_ends_a_case_early(monkeypatch: pytest.MonkeyPatch) -> None:
    Clockwork([], monkeypatch)

    (times,) = measure_warm([subject("a")], replace(SETTINGS, precision=0.02, runs=1000))

    assert len(times) == 20


def test_time_that_is_up_leaves_each_case_with_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    Clockwork([], monkeypatch)

    times = measure_warm(
        [subject("a"), subject("b")], replace(SETTINGS, max_seconds=1e-9, runs=1000)
    )

    assert [len(sample) for sample in times] == [1, 1]


def test_the_collector_is_off_while_measuring_and_on_again_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = []

    def failing(*_: object) -> float:
        states.append(gc.isenabled())
        raise ModelFileError("stops")

    monkeypatch.setattr(measure, "run_once", failing)

    with pytest.raises(ModelFileError):
        measure_warm([subject("a")], replace(SETTINGS, warmup=0))

    assert states == [False]
    assert gc.isenabled()


def test_a_report_tells_files_inputs_and_every_run(packed: Path, tiny_onnx_path: Path) -> None:
    report = bench([tiny_onnx_path, packed], runs=12, warmup=1, batch=3, cold=False)

    plain, coded = report.cases
    assert (plain.kind, coded.kind) == ("onnx", "ekp")
    assert coded.file_bytes == packed.stat().st_size
    assert coded.sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert coded.inputs == {"input": (3, 1, 12, 12)}
    assert coded.items == 3
    assert coded.warm.count == len(coded.times_s) == 12
    assert 0 < coded.warm.min_s <= coded.warm.p50_s <= coded.warm.max_s
    assert coded.throughput == pytest.approx(3 * 12 / sum(coded.times_s))
    assert report.settings.spinning is False


def test_a_cold_start_decodes_packed_files_only(packed: Path, tiny_onnx_path: Path) -> None:
    report = bench([tiny_onnx_path, packed], runs=1, warmup=0)

    plain, coded = (case.cold for case in report.cases)
    assert len(plain) == len(coded) == measure.COLD_STARTS
    assert {start.decode_s for start in plain} == {None}
    for start in coded:
        assert start.decode_s is not None
        assert start.load_s == start.decode_s + start.session_s
        assert start.decode_s > 0
        assert start.session_s > 0
        assert start.first_run_s > 0
        assert start.peak_bytes is not None
        assert start.peak_bytes > 20_000_000


def test_several_threads_are_cases_of_their_own(tiny_onnx_path: Path) -> None:
    report = bench(tiny_onnx_path, runs=2, warmup=0, threads=(1, 2), cold=False)

    assert [case.threads for case in report.cases] == [1, 2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"runs": 0}, "runs must be at least 1, got 0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"threads": ()}, "threads must be at least 1"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"batch": 10**11}, "there is no memory for an input of shape 100000000000x1x12x12"),
        ({"threads": 257}, "threads must be at most 256, got 257"),
        ({"threads": 10**20}, "threads must be at most 256"),
        ({"max_seconds": 0.0}, "max_seconds must be above 0"),
        ({"max_seconds": float("nan")}, "max_seconds must be above 0"),
        ({"precision": 1.0}, "precision is a share between 0 and 1"),
        ({"batch": 2, "input_shape": (2, 1, 12, 12)}, "either a batch or an input shape"),
        ({"input_data": "x.npz", "input_shape": (2, 1, 12, 12)}, "either input data or an input"),
        ({"sustain_s": 0.0}, "sustain must be above 0"),
        ({"sustain_s": float("nan")}, "sustain must be above 0"),
        ({"preprocess": "unit"}, "preprocess says how pictures"),
        ({"provider": "abacus"}, "no provider 'abacus'; it has .*CPUExecutionProvider"),
        ({"affinity": (4095,)}, "core 4095 isn't among the usable ones"),
    ],
)
def test_impossible_settings_are_usage_errors(
    tiny_onnx_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        bench(tiny_onnx_path, **settings)


def test_no_file_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no model"):
        bench([])


def test_a_bad_file_is_found_before_any_is_measured(
    packed: Path, tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    monkeypatch.setattr(measure, "measure_warm", lambda *_: log.append("measured"))
    packed.write_bytes(packed.read_bytes()[:-1])
    (tmp_path / "text.onnx").write_text("no model")

    with pytest.raises(FormatError):
        bench([tiny_onnx_path, packed], cold=False)
    with pytest.raises(ModelFileError, match="onnxruntime can't load"):
        bench([tiny_onnx_path, tmp_path / "text.onnx"], cold=False)
    with pytest.raises(InputError, match=r"can't read .*none\.onnx"):
        bench([tiny_onnx_path, tmp_path / "none.onnx"], cold=False)

    assert log == []


def test_all_that_can_be_asked_for_at_once(packed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    inputs = np.random.default_rng(1).standard_normal((40, 1, 12, 12)).astype(np.float32)
    np.savez(data, inputs=inputs, labels=np.zeros(40, np.int64))

    report = bench(
        packed,
        runs=5,
        warmup=0,
        cold=False,
        spinning=True,
        provider="cpu",
        input_data=data,
        profile=True,
        sustain_s=0.05,
        evaluate=data,
    )

    (found,) = report.cases
    assert found.inputs == {"input": (1, 1, 12, 12)}
    assert found.profile is not None
    assert found.endurance is not None
    assert found.endurance.windows[-1].end_s >= 0.05
    assert found.accuracy is not None
    assert found.accuracy.count == 40
    assert report.settings.provider == "CPUExecutionProvider"
    assert report.command == (
        f"edgekit bench {packed} --warmup 0 --runs 5 --no-cold --spin --input-data {data} "
        f"--profile --sustain 0.05 --eval {data}"
    )


def test_the_command_names_each_file_once_whatever_the_threads(tiny_onnx_path: Path) -> None:
    report = bench([tiny_onnx_path] * 2, runs=1, warmup=10, threads=(1, 2), cold=False)

    assert report.command == (
        f"edgekit bench {tiny_onnx_path} {tiny_onnx_path} --runs 1 --threads 1,2 --no-cold"
    )


def test_idle_threads_spin_only_when_asked(
    tiny_onnx_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sleeping = open_model(tiny_onnx_path, threads=2).session
    spinning = open_model(tiny_onnx_path, threads=2, spinning=True).session

    key = "session.intra_op.allow_spinning"
    assert sleeping.get_session_options().get_session_config_entry(key) == "0"
    with pytest.raises(RuntimeError, match=key):
        spinning.get_session_options().get_session_config_entry(key)
    # onnxruntime warns where an entry is set twice.
    assert capfd.readouterr().err == ""


def test_a_packed_file_is_measured_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.ekp"
    compress(
        branchy().SerializeToString(), path, calibration=inputs(20), run_as="int8", int8_floats=()
    )

    says, plain = (
        bench(path, runs=3, warmup=1, cold=form is None, run_as=form) for form in (None, "float")
    )

    assert (says.cases[0].kind, plain.cases[0].kind) == ("ekp-int8", "ekp")
    assert name(says.cases[0], says) == "net.ekp, int8"
    back = report_from_dict(json.loads(json.dumps(says.to_dict())))
    assert back.cases[0].kind == "ekp-int8"
    asked = bench(path, runs=3, warmup=1, cold=False, run_as="int8")
    assert "--run-as int8" in asked.command
    back = report_from_dict(json.loads(json.dumps(asked.to_dict())))
    assert back.settings.run_as == "int8"
    with pytest.raises(UsageError, match="run_as"):
        bench(path, run_as="auto")
