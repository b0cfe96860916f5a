"""Builds the native decoder; everything else about the package stands in pyproject.toml.

A machine without a C compiler or without Python's headers still gets an install: the extension
is optional, and numpy decodes in its place.
"""

from __future__ import annotations

from setuptools import setup
from setuptools.command.build_ext import build_ext


class OptionalBuildExt(build_ext):
    """A build_ext for which a failed compilation is a warning."""

    def finalize_options(self) -> None:
        """Mark every extension, those that cffi adds included, as optional."""
        super().finalize_options()
        for extension in self.extensions or []:
            extension.optional = True


setup(
    cffi_modules=["edgekit/codec/_build.py:ffibuilder"],
    cmdclass={"build_ext": OptionalBuildExt},
    # One wheel serves Python 3.11 and later: the extension uses the stable ABI alone.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
