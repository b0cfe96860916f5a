"""The compiled decoder and kernels.

Kernels have the signatures and results of their numpy twins; the decoder takes whole files.

Importing this module never fails; `available` says whether the compiled module is there. All
calls release the interpreter lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.huffman import stream_codes
from edgekit.codec.streams import segment_counts
from edgekit.codec.survey import Survey
from edgekit.errors import (
    ChecksumError,
    CorruptError,
    FormatError,
    LimitError,
    TruncatedError,
    UsageError,
    VersionError,
)

try:
    from edgekit.codec._native import ffi, lib
except ImportError as error:
    available = False
    reason = f"the compiled decoder isn't installed ({error})"
else:
    available = True
    reason = ""
    lib.ekk_prepare()
    # cffi's own allocator fills memory with zeros, which takes longer than a small tensor.
    _allocate = ffi.new_allocator(should_clear_after_alloc=False)

Buffer = bytes | memoryview | NDArray[np.uint8]

_ERRORS: dict[str, type[FormatError]] = {
    "truncated": TruncatedError,
    "checksum": ChecksumError,
    "version": VersionError,
    "corrupt": CorruptError,
    "limit": LimitError,
}

_THREAD = threading.local()

_RESTORED = ("", "f4", "f2", "u2", "f8", "i1", "u1", "i4", "i8")
"""numpy types of the restored types of chapter 3.2, in their order."""


def crc32c(data: Buffer, value: int = 0) -> int:
    """CRC-32C of bytes, continuing from the `value` of those before."""
    view = ffi.from_buffer("uint8_t[]", data)
    return int(lib.ekk_crc32c(value, view, len(view)))


def histogram(symbols: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each byte occurs; (256,) int64."""
    counts = np.empty(256, np.int64)
    lib.ekk_histogram(_read(symbols), symbols.size, _write("int64_t[]", counts))
    return counts


def split_gaps(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Nonzero codes and gap symbols of one chunk (chapter 4.2)."""
    values, gaps = np.empty(codes.size, np.uint8), np.empty(codes.size, np.uint8)
    found = ffi.new("size_t *")
    used = lib.ekk_split_gaps(
        _read(codes), codes.size, _write("uint8_t[]", values), _write("uint8_t[]", gaps), found
    )
    return values[: found[0]].copy(), gaps[:used].copy()


def split_mask(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Nonzero codes and mask bytes of one chunk (chapter 4.2)."""
    values, masks = np.empty(codes.size, np.uint8), np.empty(-(-codes.size // 8), np.uint8)
    used = lib.ekk_split_mask(
        _read(codes), codes.size, _write("uint8_t[]", values), _write("uint8_t[]", masks)
    )
    return values[:used].copy(), masks


def survey(codes: NDArray[np.uint8], chunk_elements: int) -> Survey:
    """Count gap symbols and mask bytes of flat codes that are cut into chunks."""
    gaps, masks = np.empty(256, np.int64), np.empty(256, np.int64)
    lib.ekk_survey(
        _read(codes),
        codes.size,
        chunk_elements,
        _write("int64_t[]", gaps),
        _write("int64_t[]", masks),
    )
    return Survey(gaps, masks)


def encode_streams(
    symbols: NDArray[np.uint8], lengths: NDArray[np.uint8], streams: int
) -> list[bytes]:
    """The bit streams of a sequence of symbols (chapters 4.1 and 4.4)."""
    codes = np.ascontiguousarray(stream_codes(lengths), np.uint16)
    counts = segment_counts(symbols.size, streams)
    out = np.empty(counts[0] * 12 // 8 + 16, np.uint8)
    coded = []
    for start, count in zip(accumulate(counts, initial=0), counts, strict=False):
        used = lib.ekk_encode_stream(
            _read(symbols[start : start + count]),
            count,
            ffi.from_buffer("uint16_t[]", codes),
            ffi.from_buffer("uint8_t[]", lengths),
            _write("uint8_t[]", out),
        )
        coded.append(out[:used].tobytes())
    return coded


def encode_rans(symbols: NDArray[np.uint8], frequencies: NDArray[np.uint16]) -> bytes:
    """The rANS stream of a sequence of symbols (chapter 4.6)."""
    out = np.empty(symbols.size * 2 + 16, np.uint8)
    used = lib.ekk_encode_rans(
        _read(symbols),
        symbols.size,
        ffi.from_buffer("uint16_t[]", np.ascontiguousarray(frequencies)),
        _write("uint8_t[]", out),
        out.size,
    )
    return out[out.size - used :].tobytes()


def search_trellis(
    wanted: NDArray[np.float64],
    weights: NDArray[np.float64],
    begins: NDArray[np.bool_],
    limit: int,
) -> NDArray[np.int8]:
    """The nearest codes along each path of a trellis (chapter 4.7)."""
    paths, count = wanted.shape
    codes, work = np.empty(wanted.shape, np.int8), np.empty(69 * count, np.int8)
    lib.ekk_search_trellis(
        ffi.from_buffer("double[]", np.ascontiguousarray(wanted, np.float64)),
        ffi.from_buffer("double[]", np.ascontiguousarray(weights, np.float64)),
        _read(begins.view(np.uint8)),
        paths,
        count,
        limit,
        _write("int8_t[]", work),
        _write("int8_t[]", codes),
    )
    return codes


def decode_weights(file: Buffer, *, threads: int = 1, max_bytes: int) -> list[NDArray[Any]]:
    """The restored weights of every tensor of a packed file, bfloat16 as uint16 patterns.

    threads: tensors are shared out among them. max_bytes: the most that the weights may take.
    Raises the FormatError of the rule that the file breaks, and UsageError below 1 thread.
    """
    if threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    view, opened = _open(file)
    tensors = list(_tensors(opened))
    arrays = []
    room = max_bytes
    for tensor in tensors:
        # Counted before any memory is taken.
        room -= tensor.elements * lib.ekd_restored_bytes(ffi.addressof(tensor))
        if room < 0:
            raise LimitError(
                f"the weights take more than the {max_bytes} bytes that the caller allows",
                tensor=tensor.index,
            )
    for tensor in tensors:
        shape = tuple(tensor.dims[axis] for axis in range(tensor.rank))
        arrays.append(np.empty(shape, _RESTORED[tensor.restored]))
    if threads == 1:
        _decode(opened, list(zip(tensors, arrays, strict=True)))
    else:
        with ThreadPoolExecutor(threads) as pool:
            shares = _shares(list(zip(tensors, arrays, strict=True)), threads)
            list(pool.map(lambda share: _decode(opened, share), shares))
    del view
    return arrays


class StoredElements:
    """The stored elements of a file's tensors, one tensor at a time.

    The file is opened once, and tensors that are asked for in order are found in order. Raises
    the FormatError of the rule that the file breaks, without saying where.
    """

    def __init__(self, file: Buffer) -> None:
        self._view, self._opened = _open(file)
        self._tensor = ffi.new("ekd_tensor *")
        self._has_begun = False

    def decode(self, index: int) -> NDArray[np.uint8]:
        """The flat codes of tensor `index`, or its stored bytes where it isn't coded."""
        if not self._has_begun or index < self._tensor.index:
            _check(lib.ekd_first(self._opened, self._tensor), None)
            self._has_begun = True
        while self._tensor.index < index:
            _check(lib.ekd_next(self._opened, self._tensor), None)
        out = np.empty(self._tensor.elements * lib.ekd_stored_bytes(self._tensor), np.uint8)
        result = lib.ekd_decode_stored(
            self._opened,
            self._tensor,
            _work(),
            lib.EKD_WORK_FAST,
            _write("uint8_t[]", out),
            out.size,
        )
        _check(result, None)
        return out


def _work() -> Any:
    """The thread's work memory for the decoder: as much as it can use, aligned for its tables."""
    if not hasattr(_THREAD, "work"):
        _THREAD.work = _allocate("uint64_t[]", lib.EKD_WORK_FAST // 8)
    return _THREAD.work


def _open(file: Buffer) -> tuple[Any, Any]:
    """A view that keeps the bytes alive, and the opened file in them."""
    view = ffi.from_buffer("uint8_t[]", file)
    opened = ffi.new("ekd_file *")
    _check(lib.ekd_open(view, len(view), opened), None)
    return view, opened


def _tensors(opened: Any) -> Iterator[Any]:
    tensor = ffi.new("ekd_tensor *")
    result = lib.ekd_first(opened, tensor)
    while result == lib.EKD_OK:
        yield ffi.new("ekd_tensor *", tensor[0])[0]
        result = lib.ekd_next(opened, tensor)
    if result != lib.EKD_END:
        _check(result, int(tensor.index))


def _shares(pairs: list[tuple[Any, Any]], count: int) -> Sequence[list[tuple[Any, Any]]]:
    """The tensors in `count` lists of about the same number of elements, largest first."""
    shares: list[list[tuple[Any, Any]]] = [[] for _ in range(count)]
    loads = [0] * count
    for pair in sorted(pairs, key=lambda pair: -int(pair[0].elements)):
        least = loads.index(min(loads))
        shares[least].append(pair)
        loads[least] += int(pair[0].elements)
    return shares


def _decode(opened: Any, pairs: list[tuple[Any, Any]]) -> None:
    work = _work()
    for tensor, array in pairs:
        out = ffi.from_buffer("uint8_t[]", array.reshape(-1).view(np.uint8), require_writable=True)
        result = lib.ekd_decode_restored(
            opened, ffi.addressof(tensor), work, lib.EKD_WORK_FAST, out, len(out)
        )
        _check(result, int(tensor.index))


def _check(result: int, tensor: int | None) -> None:
    if result == lib.EKD_OK:
        return
    name = ffi.string(lib.ekd_result_name(result)).decode()
    raise _ERRORS.get(name, FormatError)(
        f"the packed file is {name}; get it again" if name in _ERRORS else f"decoder: {name}",
        tensor=tensor,
    )


def _read(array: NDArray[np.uint8]) -> Any:
    return ffi.from_buffer("uint8_t[]", np.ascontiguousarray(array))


def _write(kind: str, array: NDArray[Any]) -> Any:
    return ffi.from_buffer(kind, array, require_writable=True)
