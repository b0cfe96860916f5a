"""Runs onnxsim over one file: `python _simplify_child.py SOURCE TARGET`, in a process of its own.

Started as a script by edgekit.export.simplify, so that a crash of native code ends only this.
"""

import sys

# onnxsim imports torch where it can, for quantizers that aren't used here: two seconds less.
sys.modules["torch"] = None  # type: ignore[assignment]  # the documented way to block an import

import onnx  # noqa: E402
import onnxsim  # noqa: E402


def main(source: str, target: str) -> int:
    """Simplify `source` into `target`; 0 if onnxsim's own check agrees with the result."""
    simplified, agrees = onnxsim.simplify(onnx.load(source))
    if not agrees:
        sys.stderr.write("onnxsim's own check found different answers\n")
        return 1
    onnx.save(simplified, target)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
