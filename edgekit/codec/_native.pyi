# The compiled module that _build.py describes; cffi objects have no types of their own.

from typing import Any

ffi: Any
lib: Any
