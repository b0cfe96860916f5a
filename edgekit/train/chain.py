"""The folder of a finetuning run: a model a stage, a report, and the state of the work under way.

```
out/finetune.json     settings, and each finished stage with its measurements
out/0-train.*         weights and log of a train stage, where the recipe begins with one
out/0-float.onnx      the model before the first stage
out/1-prune.onnx ...  the model after each stage, with the numbers as its layers saw them
out/state.pt          the stage under way, after its last epoch; gone when the stage is done
out/log.jsonl         one line an epoch
out/model.ekp         the packed file, at the end
out/model.md          its card, from `edgekit finetune` alone: a card names the command
```
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edgekit.errors import InputError, OutputError, UsageError
from edgekit.files import write_atomic
from edgekit.train.plain import record
from edgekit.train.state import BROKEN, broken_state, write_plain
from edgekit.train.tuning import Progress

REPORT, STATE, LOG, PACKED = "finetune.json", "state.pt", "log.jsonl", "model.ekp"
CARD = "model.md"
CONTENTS = "contents"
"""The setting that says what the data hold."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """A finished stage.

    file: the model after it, in the run's folder. file_bytes, file_sha256: of that ONNX file,
    uncompressed; runs that were begun by an earlier edgekit have no digest.
    validation: the task's metric. sparsity: share of zeros among the weights that are coded.
    bits_per_weight: entropy of their codes, where there are codes. bound: what it was to come down
    to. attempts: how often the stage was begun, with a higher bound each time. epochs, seconds: of
    training, in all attempts.
    """

    number: int
    kind: str
    file: str
    file_bytes: int
    validation: float
    sparsity: float
    bits_per_weight: float | None
    epochs: float
    seconds: float
    file_sha256: str | None = None
    attempts: int = 1
    bound: float | None = None


class Chain:
    """What a run's folder holds."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], *, resume: bool, writes: bool = True
    ) -> None:
        """Look into the folder; nothing is written yet.

        writes: whether this process is the one that does, among workers that train together.
        Raises UsageError where it holds another run, or a packed file of none, or resumption isn't
        asked for, InputError where its report can't be read, OutputError for what is no folder.
        """
        self.folder = folder
        self.writes = writes
        # As JSON gives them back: tuples become lists.
        self.settings = json.loads(json.dumps(settings))
        self.stages: list[StageResult] = []
        self._before: dict[str, Any] = {}
        report = folder / REPORT
        if _exists(report):
            if not resume:
                raise UsageError(
                    f"{folder} holds a run already; continue it with --resume, or name another "
                    "folder"
                )
            self._take_up(report)
            return
        if _exists(folder) and not folder.is_dir():
            raise OutputError(f"{folder} is no folder; name one, which is made where it is missing")
        for name in (PACKED, CARD):
            if _exists(folder / name):
                raise UsageError(f"{folder} holds a {name} of no run; name another folder")

    def path(self, file: str) -> Path:
        """Where a file of the run lies."""
        return self.folder / file

    def found(self, contents: dict[str, Any]) -> None:
        """Take note of what the data hold.

        Raises UsageError where they held something else when the run was begun.
        """
        before = self._before.get(CONTENTS)
        if before is not None and before != contents:
            raise UsageError(
                f"the data have changed since the run in {self.folder} was begun; continue it with "
                "the same data, or name another folder"
            )
        self.settings[CONTENTS] = contents

    def begin(self) -> None:
        """Keep the settings, where a training comes before the first stage. Raises OutputError."""
        if self.writes and not self.path(REPORT).exists():
            self._write()

    def add(self, result: StageResult, data: bytes) -> None:
        """Keep a finished stage and its model, an ONNX file's bytes. Raises OutputError."""
        self.stages.append(replace(result, file_sha256=hashlib.sha256(data).hexdigest()))
        if not self.writes:
            return
        make_folder(self.folder)
        write_atomic(self.path(result.file), data)
        self._write()
        self.path(STATE).unlink(missing_ok=True)

    def save(self, number: int, state: dict[str, Any], history: list[Progress]) -> None:
        """Keep the state of stage `number` after an epoch, and its line of the log."""
        if not self.writes:
            return
        plain = {"number": number, "history": [asdict(line) for line in history], **state}
        write_plain(plain, self.path(STATE))
        self._write_log(number, history)

    def broken_state(self, error: Exception) -> InputError:
        """The error for a state that can't be used."""
        return broken_state(self.path(STATE), error, work="stage", anew="begin the stage anew")

    def saved(self, number: int) -> tuple[dict[str, Any], list[Progress]] | None:
        """The state of stage `number` if it was under way. Raises InputError for a broken file.

        From here on the log has the lines of the finished stages and of this state, even where
        the process was killed between writing the one and the other.
        """
        found = self._read_state(number) if self.path(STATE).exists() else None
        if self.writes and (found is not None or self.path(LOG).exists()):
            self._write_log(number, [] if found is None else found[1])
        return found

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the report with what was measured at the end."""
        if self.writes:
            self._write(facts)
            # Where the process was killed before the last stage's state was gone, or while writing.
            self.path(STATE).unlink(missing_ok=True)
            for name in (STATE, LOG, REPORT, PACKED, *(stage.file for stage in self.stages)):
                for part in self.folder.glob(f".{name}.*.part"):
                    part.unlink(missing_ok=True)

    def _read_state(self, number: int) -> tuple[dict[str, Any], list[Progress]] | None:
        try:
            plain = torch.load(self.path(STATE), weights_only=True, map_location="cpu")
            found, lines = plain.pop("number"), plain.pop("history")
            if type(found) is not int or not 0 < found <= number:
                raise ValueError(f"it is of a stage {str(found)[:20]}")
            if found < number:
                return None
            history = [record(Progress, line) for line in lines]
            if not history:
                raise ValueError("its history is empty")
        except BROKEN as error:
            raise self.broken_state(error) from error
        return plain, history

    def _write_log(self, number: int, history: list[Progress]) -> None:
        """The lines of the stages before `number` as they are, then those of its history."""
        log = self.path(LOG)
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        kept = [line for line in text.splitlines() if _stage_of(line) < number]
        kept += [json.dumps({"stage": number, **asdict(line)}) for line in history]
        now = "".join(line + "\n" for line in kept)
        if now != text:
            write_atomic(log, now.encode())

    def _take_up(self, report: Path) -> None:
        try:
            plain = json.loads(report.read_text(encoding="utf-8"))
            before = plain["settings"]
            self.stages = [record(StageResult, stage) for stage in plain["stages"]]
            # The data are opened later.
            keys = (self.settings.keys() | before.keys()) - {CONTENTS}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{report} isn't the report of a run; name another folder") from error
        other = sorted(key for key in keys if before.get(key) != self.settings.get(key))
        if other:
            raise UsageError(
                f"{self.folder} holds a run with other settings ({', '.join(other)}); continue it "
                "with the same ones, or name another folder"
            )
        self._check_stages(report)
        self._before = before

    def _check_stages(self, report: Path) -> None:
        """Raise InputError unless the finished stages are the recipe's, with their files."""
        listed = [stage["kind"] for stage in self.settings["recipe"]["stages"]]
        kinds = ["float", *(kind for kind in listed if kind != "train")]
        for number, stage in enumerate(self.stages):
            name = stage_file(number, stage.kind)
            if (stage.number, stage.file, [stage.kind]) != (number, name, kinds[number:][:1]):
                raise InputError(
                    f"{report}: stage {number} isn't the recipe's; begin anew in another folder"
                )
            path = self.path(name)
            if not path.is_file():
                raise InputError(f"{self.folder} lacks {name}; begin anew in another folder")
            if path.stat().st_size != stage.file_bytes:
                raise InputError(
                    f"{path} has {path.stat().st_size} bytes and not the {stage.file_bytes} of "
                    "its run; begin anew in another folder"
                )
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if stage.file_sha256 not in {None, found}:
                raise InputError(
                    f"{path} has changed since its run wrote it; begin anew in another folder"
                )

    def _write(self, facts: dict[str, Any] | None = None) -> None:
        plain = {
            "settings": self.settings,
            "stages": [asdict(stage) for stage in self.stages],
            **(facts or {}),
        }
        write_atomic(self.path(REPORT), (json.dumps(plain, indent=2) + "\n").encode())


def stage_file(number: int, kind: str) -> str:
    """The name of the model after a stage, the float one being stage 0."""
    return f"{number}-{kind}.onnx"


def written_files(kinds: Sequence[str]) -> tuple[str, ...]:
    """The names of all that a run of these stages writes into its folder."""
    tuned = ["float", *(kind for kind in kinds if kind != "train")]
    stages = (stage_file(number, kind) for number, kind in enumerate(tuned))
    return (REPORT, STATE, LOG, PACKED, CARD, *stages)


def _stage_of(line: str) -> int:
    """The stage of a line of the log; a line that somebody has cut or changed counts for none."""
    try:
        return int(json.loads(line)["stage"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return sys.maxsize


def _exists(path: Path) -> bool:
    """Whether there is such a path. Raises OutputError for one that can't be."""
    try:
        return path.exists()
    except OSError as error:
        raise OutputError(f"can't use {path.parent}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't make {folder}: {error.strerror or error}") from error
