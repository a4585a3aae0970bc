"""Files that others made: only plain files are read, in bounds, and what a library makes of one is one sentence."""

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from kdx2i import bounds
from kdx2i.errors import UserError, shortened

_ITEM_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64"), 64),
}
_MEANINGS = {
    MemoryError: "it asks for too much memory",
    RecursionError: "it is nested too deeply",
    EOFError: "it is cut off",
}


@contextmanager
def refusing(sentence: str) -> Iterator[None]:
    """Turn whatever a library raises about a file's bytes into `UserError`: `sentence`, then the library's reason.

    The block holds calls of that library and little else: a mistake of this code in it would be blamed on the file.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (no library says all that it raises on bytes that nobody planned for)
        raise UserError(f"{sentence}: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Return what an exception says, in at most `bounds.REASON` characters."""
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    for kind, meaning in _MEANINGS.items():
        words = meaning if isinstance(error, kind) and (kind is not EOFError or not str(error)) else words
    return shortened(" ".join(words.split()), bounds.REASON)


def open_plain(path: Path, missing: str = "") -> BufferedReader:
    """Open a plain file for reading; anything else (a folder, a device, a pipe) raises `UserError` naming it.

    `missing` is what to do where there is none. Opening a pipe does not wait for its writer.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist{missing and f': {missing}'}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    handle = os.fdopen(descriptor, "rb") if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    if handle is None:
        os.close(descriptor)
        raise UserError(f"{path} cannot be read: it is no plain file")
    return handle


def require_plain(path: Path) -> os.stat_result | None:
    """Return the state of a plain file, None where there is none; anything else raises `UserError` naming it."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    if not stat.S_ISREG(state.st_mode):
        raise UserError(f"{path} cannot be read: it is no plain file")
    return state


def read_plain(path: Path, limit: int, missing: str = "", larger: str = "") -> bytes:
    """Return the bytes of a plain file, at most `limit`; see `open_plain`.

    `larger` is what the sentence says of a longer file after its name.
    """
    with open_plain(path, missing) as handle:
        try:
            data = handle.read(limit + 1)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {reason(error)}") from None
    if len(data) > limit:
        raise UserError(f"{path} {larger or f'is larger than {limit} bytes: refused'}")
    return data


def read_text(path: Path, limit: int, missing: str = "") -> str:
    """Return the text of a plain UTF-8 file of at most `limit` bytes; see `open_plain`."""
    data = read_plain(path, limit, missing)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value.bit_length() > bounds.WHOLE_NUMBER_BITS:
        raise ValueError(f"the number {text[:20]} is too long")
    return value


def parse_json(data: bytes | str, sentence: str) -> Any:
    """Return a JSON value whose numbers are finite and short and whose nesting is bounded.

    Anything else raises `UserError`: `sentence`, then the reason.
    """
    with refusing(sentence):
        value = json.loads(data, parse_float=_finite, parse_int=_whole, parse_constant=_finite)
        if nesting(value) > bounds.DOCUMENT_NESTING:
            raise RecursionError
    return value


def read_document(path: Path) -> Any:
    """Return the value of a JSON file of at most `bounds.DOCUMENT_BYTES`; see `open_plain` and `parse_json`."""
    return parse_json(read_plain(path, bounds.DOCUMENT_BYTES), f"{path} is not a readable JSON file")


def nesting(value: Any) -> int:
    """Return how deep lists and mappings lie in each other, 0 for a plain value; without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, list | dict)]:
        depth += 1
        level = [below for item in level for below in (item.values() if isinstance(item, dict) else item)]
    return depth


def tensor_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a safetensors file of this suite after its whole header has been checked.

    The header is all that is read: its length, its nesting, and each tensor's type, shape and place are compared with
    the bounds and with the size of the file. `UserError` for any other file.
    """
    advice = f"{path} is not a whole safetensors file"
    with open_plain(path) as handle:
        size = os.fstat(handle.fileno()).st_size
        length = int.from_bytes(handle.read(8), "little")
        if not 2 <= length <= min(size - 8, bounds.TENSOR_HEADER_BYTES):
            raise UserError(f"{advice}: its header does not lie in it")
        header = parse_json(handle.read(length), advice)
    with refusing(advice):
        if not isinstance(header, dict) or len(header) > bounds.TENSORS:
            raise ValueError("its header is no table of tensors")
        stated = header.pop("__metadata__", {})
        if not isinstance(stated, dict) or not all(isinstance(value, str) for value in stated.values()):
            raise ValueError("its metadata are no texts")
        for name, tensor in header.items():
            _check_tensor(name, tensor, size - 8 - length)
    metadata = parse_json(stated.get("kdx2i", "{}"), f"{path} has metadata that cannot be read")
    if not isinstance(metadata, dict):
        raise UserError(f"{path} has metadata that are no JSON object: kdx2i did not write it")
    return metadata


def _check_tensor(name: str, tensor: Any, data_bytes: int) -> None:
    """Raise an exception unless a tensor's entry in a header fits itself and the file."""
    shape, (start, end) = tensor["shape"], tensor["data_offsets"]
    numbers = [*shape, start, end]
    if len(shape) > bounds.TENSOR_DIMENSIONS or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"the tensor {name} has an impossible shape or place")
    if math.prod(n for n in shape if n) > bounds.TENSOR_ELEMENTS or max(numbers) > data_bytes + 2**31:
        raise ValueError(f"the tensor {name} is larger than any file")
    if end > data_bytes or 8 * (end - start) != math.prod(shape) * _ITEM_BITS[tensor["dtype"]]:
        raise ValueError(f"the tensor {name} does not lie in the file")


def check_network(metadata: Mapping[str, Any], where: object) -> None:
    """Raise `UserError`, which starts with `where`, for the description of a network that no file could hold.

    `metadata["config"]` is looked through before any network is built from it: numbers of layers, other whole numbers
    and lists have bounds of their own (`kdx2i.bounds`).
    """
    waiting: list[tuple[str, Any]] = [("config", metadata.get("config"))]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.items())
            continue
        if isinstance(value, list):
            waiting.extend((name, item) for item in value[: bounds.NETWORK_LIST])
        most = bounds.NETWORK_LAYERS if "layers" in name else bounds.NETWORK_NUMBER
        most = bounds.NETWORK_RESOLUTION if "resolution" in name else most
        if isinstance(value, list) and len(value) > bounds.NETWORK_LIST:
            raise UserError(f"{where} describes no network: {name} has {len(value)} values")
        if isinstance(value, int) and not -1 <= value <= most:
            raise UserError(f"{where} describes no network: {name} is {value}, and the most is {most}")
