"""Names of files here and on a device, so that people read only their own."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from edgekit.bench.remote.payload import Model
from edgekit.bench.results import BenchReport


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """Which file of ours each name on the device stands for.

    models: in the order in which they are measured. data: by the setting that names it, its name
    there and here.
    """

    models: tuple[Model, ...]
    data: dict[str, tuple[str, str]]

    def in_text(self, text: str) -> str:
        """A message of the device with the names of our files."""
        for model in self.models:
            # With the device's folder before it or not, then the bare name.
            text = _replaced(rf"\S*{re.escape(model.name)}", model.path, text)
            text = text.replace(PurePath(model.name).name, PurePath(model.path).name)
        for there, here in self.data.values():
            text = _replaced(rf"[^\s'\"]*{re.escape(there)}", here, text)
        return text

    def in_report(self, report: BenchReport) -> BenchReport:
        """A report of the device with the names of our files."""
        paths = {model.name: model.path for model in self.models}
        cases = tuple(
            dataclasses.replace(case, path=paths.get(case.path, case.path)) for case in report.cases
        )
        stated: dict[str, Any] = {key: here for key, (_, here) in self.data.items()}
        settings = dataclasses.replace(report.settings, **stated)
        return dataclasses.replace(report, cases=cases, settings=settings)


def names_of(models: Sequence[Model], given: Mapping[str, Any], sent: Mapping[str, Any]) -> Names:
    """Names from the settings that were given here and those that were sent."""
    data = {
        key: (str(value), os.fspath(given[key]))
        for key, value in sent.items()
        if isinstance(value, str) and value != given[key]
    }
    return Names(tuple(models), data)


def _replaced(pattern: str, name: str, text: str) -> str:
    # By a function, because a name may hold what a template would read.
    return re.sub(pattern, lambda _: name, text)
