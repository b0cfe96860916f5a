"""Arm against x86_64, a line a check: `compare FOLDER`; code 1 at the first difference."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edgekit.bench.remote.worker import NUMPY_DECODES

MOST_DIFFERENCE = 1e-4
"""Of an output, relative to the largest one: float kernels add in different orders."""


def main(folder: Path) -> None:
    """Compare what both machines left."""
    here, there = (_digests(folder, machine) for machine in ("x86_64", "aarch64"))
    _demand(here == there, "decoded weights differ between the machines")
    wrong = [name for name, digests in there.items() if digests["numpy"] != digests["native"]]
    _demand(not wrong, f"the decoders disagree about {', '.join(wrong)}")
    _say("decoders", f"{len(there)} files, numpy and compiled, bit for bit as on x86_64")

    ours, theirs = (np.load(folder / f"outputs-{m}.npy") for m in ("x86_64", "aarch64"))
    difference = float(np.max(np.abs(ours - theirs)) / np.max(np.abs(ours)))
    _demand(np.isfinite(theirs).all(), "outputs on Arm aren't finite")
    _demand(difference <= MOST_DIFFERENCE, f"outputs differ by {difference:.1e} of the largest")
    same = int(np.sum(ours.argmax(1) == theirs.argmax(1)))
    _demand(same == len(ours), f"top-1 differs on {len(ours) - same} of {len(ours)} images")
    _say("load", f"{same} of {len(ours)} answers the same, outputs within {difference:.1e}")

    verified = json.loads((folder / "verify.json").read_text())
    decoders = verified["integrity"]["decoders"]
    _demand(decoders == ["numpy", "native"], f"verify used the decoders {decoders}")
    agreement = verified["answers"]["agreement"]
    _demand(agreement == 1.0, f"packed file and original agree on {agreement:.1%} of inputs")
    _say("verify", "the packed file is whole, and answers like the original")

    report = json.loads((folder / "bench.json").read_text())
    cpu = report["host"]["cpu"]
    _demand(cpu["architecture"] == "aarch64", f"bench ran on {cpu['architecture']}")
    _demand(cpu["model"] == "Cortex-A72", f"bench saw a {cpu['model']}")
    counts = [(case["kind"], case["warm"]["count"], len(case["cold"])) for case in report["cases"]]
    _demand(counts == [("ekp", 3, 3), ("onnx", 3, 3)], f"bench measured {counts}")
    _say("bench", "both files started and ran; the times of an emulator mean nothing")

    looked = json.loads((folder / "doctor.json").read_text())
    found = {check["name"]: check for check in looked["checks"]}
    _demand(looked["usable"] is True, "doctor finds something broken")
    _demand(found["decoder"]["found"] == "compiled", "doctor misses the compiled decoder")
    _demand("no dotprod" in found["int8"]["found"], f"int8 is said to be {found['int8']['found']}")
    _say("doctor", f"{found['processor']['found']}; int8: {found['int8']['found']}")

    device = json.loads((folder / "device.json").read_text())
    found_cpu = device["host"]["cpu"]["architecture"]
    _demand(found_cpu == "aarch64", f"the device is said to be {found_cpu}")
    _demand(NUMPY_DECODES in device["warnings"], "no word about a decoder that isn't compiled")
    _demand(device["cases"][0]["path"] == str(folder / "model.ekp"), "the device's name leaks out")
    _say("device", "a machine of another kind gets the sources and sends its report")


def _digests(folder: Path, machine: str) -> dict[str, dict[str, str]]:
    digests: dict[str, dict[str, str]] = json.loads(
        (folder / f"weights-{machine}.json").read_text()
    )
    return digests


def _say(name: str, text: str) -> None:
    sys.stdout.write(f"{name}: {text}\n")


def _demand(met: object, otherwise: str) -> None:
    if not met:
        sys.exit(f"arm: {otherwise}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
