"""The `edgekit` program: registers the verbs, turns errors into one line and an exit code.

A verb's module is imported only when that verb is called, so `edgekit --help` needs typer and
nothing else. The lines of the help listing therefore stand here; a test holds each equal to the
first line of its command's docstring.

Exit codes: 0 ok, 1 failure, 2 usage, 3 a check was not met, 4 input unreadable or unsafe,
5 device unreachable, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from types import FrameType
from typing import Annotated

import typer

from edgekit import __version__, api
from edgekit.errors import EdgekitError

VERBS = {
    "models": "List the zoo, or show one model's card.",
    "export": "Export a torch model to ONNX and check that both give the same answers.",
    "train": "Train a model of the zoo on Fashion-MNIST.",
    "finetune": "Prune, retrain, quantize and pack a network by a recipe.",
    "compress": "Prune, quantize and Huffman-code an ONNX model into one packed file.",
    "decompress": "Turn a packed file back into a plain ONNX model.",
    "inspect": "Show the layers of a model and where its bytes go.",
    "verify": "Check a packed file, and how far its answers are from the original's.",
    "bench": "Measure load time and latency of models on this machine.",
    "bench compare": "Compare two latency reports: faster, slower or no difference.",
    "report": "Turn saved latency reports into one page, Markdown or CSV file.",
    "doctor": "Show what is installed and what will be fast or slow on this machine.",
    "embed": "Write a buildable app folder around a packed file.",
}

INTERRUPTED = 130
UNREADABLE = 4


def build_app(loaded: Collection[str]) -> typer.Typer:
    """The typer app, with the verbs in `loaded` imported and the others as lines of the help."""
    app = typer.Typer(
        name="edgekit",
        help="From a trained light CNN to a few hundred kilobytes inside an app.",
        no_args_is_help=True,
        add_completion=False,
        # Help in plain text: importing rich would take more time than all the rest.
        rich_markup_mode=None,
        # Errors meant for the caller are one line; any other traceback is a bug and stays plain.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for verb, summary in VERBS.items():
        # As its short help a line is wrapped; otherwise typer would cut it to the terminal's width.
        command = load_command(verb) if verb in loaded else _unloaded
        app.command(verb, short_help=summary)(command)
    return app


def load_command(verb: str) -> Callable[..., None]:
    """The function behind one verb: `edgekit.cli.<verb>.<verb>`, with _ for a space."""
    name = verb.replace(" ", "_")
    module = importlib.import_module(f"edgekit.cli.{name}")
    command: Callable[..., None] = getattr(module, name)
    return command


def main(arguments: Sequence[str]) -> int:
    """Run the program with `arguments` (without its own name) and return its exit code."""
    # The options before a verb take no values, so the first bare word is the verb.
    words = list(arguments)
    at = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    if " ".join(words[at : at + 2]) in VERBS:
        # A verb of two words is one command to typer; a file of the second name goes as ./NAME.
        words[at : at + 2] = [" ".join(words[at : at + 2])]
    verb = words[at] if at < len(words) else ""
    try:
        app = build_app([verb])
        app(args=words, prog_name="edgekit")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except EdgekitError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        missing = api.missing_dependency(error)
        if missing is None:
            raise
        return _fail(str(missing), missing.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"can't use {error.filename}: {error.strerror}", UNREADABLE)
    return 0


def run() -> None:
    """Entry point of the installed script."""
    # As an exception, a polite kill removes temporary files on its way out, like Ctrl-C.
    signal.signal(signal.SIGTERM, _terminate)
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 1
        # The interpreter flushes once more when it ends, and would complain.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _fail(message: str, code: int) -> int:
    # A message that quotes another library may span lines.
    typer.echo(f"edgekit: error: {' '.join(message.split())}", err=True)
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgekit {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def _unloaded() -> None:
    """Stand in for a verb in the help listing; `main` loads the verb that is called."""
    raise AssertionError("a verb was called that main() did not load")


if __name__ == "__main__":
    run()
