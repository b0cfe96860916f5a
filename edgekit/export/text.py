"""Other libraries' errors as a few words for our one-line messages."""

from __future__ import annotations

MAX_CHARACTERS = 200


def brief(error: BaseException) -> str:
    """The kind of an error and the first line that says something, without long explanations."""
    # torch's exporter wraps the cause in an error that begins with advice to its developers.
    cause = error.__cause__ or error
    lines = (line.strip() for line in str(cause).splitlines())
    text = next((line for line in lines if line), "no message")
    return f"{type(cause).__name__}: {text[:MAX_CHARACTERS]}"
