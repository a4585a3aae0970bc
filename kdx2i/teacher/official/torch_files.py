"""Tensors from files of `torch.save` (zip and legacy containers), read without running any of their code.

Everything is lazy: a tensor is a description (storage, offset, size, stride) until `materialise` copies the
ones that are wanted, and never more bytes than the file has.
"""

import io
import math
import mmap
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import torch
from torch import Tensor

from kdx2i.bounds import TENSOR_DIMENSIONS
from kdx2i.errors import UserError
from kdx2i.foreign import open_plain, refusing
from kdx2i.teacher.official.pickle_reader import Attributes, Inert, MalformedPickleError, only, read_pickle

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL: Final = 1001

STORAGES: Final[Mapping[tuple[str, str], torch.dtype]] = {
    ("torch", "FloatStorage"): torch.float32,
    ("torch", "DoubleStorage"): torch.float64,
    ("torch", "HalfStorage"): torch.float16,
    ("torch", "BFloat16Storage"): torch.bfloat16,
    ("torch", "LongStorage"): torch.int64,
    ("torch", "IntStorage"): torch.int32,
    ("torch", "ShortStorage"): torch.int16,
    ("torch", "CharStorage"): torch.int8,
    ("torch", "ByteStorage"): torch.uint8,
    ("torch", "BoolStorage"): torch.bool,
}


@dataclass
class Storage:
    """Raw little-endian values; `read` returns exactly numel * itemsize bytes."""

    dtype: torch.dtype
    numel: int
    read: Callable[[], bytes | memoryview] | None = None

    @property
    def nbytes(self) -> int:
        """Return the size in bytes that the file claims."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class LazyTensor:
    """A strided view of a storage; its bounds have been checked."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Return the size in bytes of the copied tensor."""
        return math.prod(self.size) * self.storage.dtype.itemsize

    def load(self) -> Tensor:
        """Return the values as a new contiguous tensor; `MalformedPickleError` if the bytes are not there."""
        data = None if self.storage.read is None else self.storage.read()
        if data is None or len(data) != self.storage.nbytes:
            raise MalformedPickleError("a tensor without its values")
        if not math.prod(self.size):
            return torch.empty(self.size, dtype=self.storage.dtype)
        flat = torch.frombuffer(bytearray(data), dtype=self.storage.dtype)
        return flat.as_strided(self.size, self.stride, self.offset).clone(memory_format=torch.contiguous_format)


def _natural(value: Any) -> int:
    """Return a value that must be an integer of at least zero."""
    if type(value) is not int or value < 0:
        raise MalformedPickleError("a size that is not a natural number")
    return value


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> LazyTensor:
    """Stand for `torch._utils._rebuild_tensor_v2`: check the view's bounds and keep it."""
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise MalformedPickleError("a tensor that is not made from a storage")
    if len(size) != len(stride) or len(size) > TENSOR_DIMENSIONS:
        raise MalformedPickleError("a tensor whose size and stride disagree")
    offset, size, stride = _natural(offset), tuple(map(_natural, size)), tuple(map(_natural, stride))
    if max((offset, *size, *stride)) >= 2**63:
        raise MalformedPickleError("a tensor larger than any file")
    if math.prod(size):
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if last >= storage.numel:
            raise MalformedPickleError("a tensor beyond the end of its storage")
    return LazyTensor(storage, offset, size, stride)


def rebuild_parameter(data: Any, *_: Any) -> LazyTensor:
    """Stand for `torch._utils._rebuild_parameter`: the tensor itself."""
    if not isinstance(data, LazyTensor):
        raise MalformedPickleError("a parameter that is not a tensor")
    return data


def ordered_dict(items: Any = ()) -> dict[Any, Any]:
    """Stand for `collections.OrderedDict`: an empty dict, filled by later opcodes."""
    if items != ():
        raise MalformedPickleError("an OrderedDict with arguments")
    return {}


def plain_set(items: Any = ()) -> set[Any]:
    """Stand for `set` (protocols before 4): a set of strings."""
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
        raise MalformedPickleError("a set of something else than names")
    return set(items)


class NumpyDtype:
    """Stand for `numpy.dtype`: a plain little-endian number type."""

    CODES: Final[Mapping[str, str]] = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i", "u1": "<B", "b1": "<?"}

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or code not in self.CODES:
            raise MalformedPickleError(f"the number type {code if isinstance(code, str) else type(code).__name__}")
        self.format = self.CODES[code]

    def build(self, state: Any) -> None:
        """Check the byte order of the state (3, '<', ...)."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise MalformedPickleError("numbers in a foreign byte order")


def numpy_scalar(dtype: Any, data: Any) -> float | int | bool:
    """Stand for `numpy.core.multiarray.scalar`: the number."""
    if not isinstance(dtype, NumpyDtype) or not isinstance(data, bytes):
        raise MalformedPickleError("a number without its type")
    try:
        (value,) = struct.unpack(dtype.format, data)
    except struct.error:
        raise MalformedPickleError("a number of the wrong length") from None
    return value  # type: ignore[no-any-return]


def latin1_bytes(text: Any, encoding: Any) -> bytes:
    """Stand for `_codecs.encode`, by which protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise MalformedPickleError("bytes in a foreign encoding")
    return text.encode("latin1")


NUMPY: Final[Mapping[tuple[str, str], Any]] = {
    ("numpy", "dtype"): Inert(NumpyDtype),
    ("numpy.core.multiarray", "scalar"): Inert(numpy_scalar),
    ("numpy._core.multiarray", "scalar"): Inert(numpy_scalar),
}

CHECKPOINT: Final[Mapping[tuple[str, str], Any]] = {
    **STORAGES,
    **NUMPY,
    ("torch._utils", "_rebuild_tensor"): Inert(rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Inert(rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Inert(rebuild_parameter),
    ("collections", "OrderedDict"): Inert(ordered_dict),
    ("argparse", "Namespace"): Inert(Attributes),
    ("_codecs", "encode"): Inert(latin1_bytes),
}
"""What a checkpoint of `torch.save` may name."""


def _storage_id(pid: Any) -> tuple[torch.dtype, str, int]:
    """Return dtype, key and numel of a persistent id ('storage', class, key, location, numel[, None])."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
        raise MalformedPickleError("a persistent id that is not a storage")
    dtype, key = pid[1], pid[2]
    if not isinstance(dtype, torch.dtype) or not isinstance(key, str):
        raise MalformedPickleError("a storage of an unknown kind")
    return dtype, key, _natural(pid[4])


def read_legacy(stream: IO[bytes], size: int, table: Mapping[tuple[str, str], Any], path: object) -> Any:
    """Read the legacy container of `torch.save` from a stream of `size` bytes (an `mmap` or `io.BytesIO`)."""
    resolve = only(table, path)
    magic, protocol = read_pickle(stream, resolve), read_pickle(stream, resolve)
    system = read_pickle(stream, resolve)
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
        raise MalformedPickleError("a foreign container")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise MalformedPickleError("a big-endian file")
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        dtype, key, numel = _storage_id(pid)
        return storages.setdefault(key, Storage(dtype, numel))

    result = read_pickle(stream, resolve, persistent)
    keys = read_pickle(stream, resolve)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise MalformedPickleError("a file without its list of storages")
    position = stream.tell()
    view = memoryview(stream.getbuffer() if isinstance(stream, io.BytesIO) else stream)  # type: ignore[arg-type]
    for key in keys:
        storage = storages.get(key)
        if storage is None or position + 8 + storage.nbytes > size:
            raise MalformedPickleError("the values of a tensor are missing: the file ends too early")
        if int.from_bytes(view[position : position + 8], "little", signed=True) != storage.numel:
            raise MalformedPickleError("a storage whose length disagrees with its header")
        start, position = position + 8, position + 8 + storage.nbytes
        storage.read = lambda start=start, end=position: view[start:end]
    return result


def _read_zip(path: Path) -> Any:
    """Read the zip container of `torch.save`; its members must be stored, not compressed."""
    archive = zipfile.ZipFile(path)
    members = {info.filename: info for info in archive.infolist()}
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise MalformedPickleError("compressed members, which torch.save does not write")
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise MalformedPickleError("a zip file that torch.save did not write")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise MalformedPickleError("a big-endian file")
    storages: dict[str, Storage] = {}

    def persistent(pid: Any) -> Storage:
        dtype, key, numel = _storage_id(pid)
        name = f"{root}data/{key}"
        storage = Storage(dtype, numel, lambda: archive.read(name))
        if name not in members or members[name].file_size != storage.nbytes:
            raise MalformedPickleError("a storage that the file does not hold in full")
        return storages.setdefault(key, storage)

    return read_pickle(io.BytesIO(archive.read(pickles[0])), only(CHECKPOINT, path), persistent)


def is_zip(path: Path) -> bool:
    """Tell whether the file starts like a zip file."""
    with open_plain(path) as handle:
        return handle.read(4) == b"PK\x03\x04"


def read_torch_file(path: Path) -> Any:
    """Read a checkpoint of `torch.save`: dicts, lists, numbers, strings and `LazyTensor`s.

    A file that asks for anything but tensor data, or that is damaged, raises `UserError`.
    """
    with refusing(f"{path} is damaged or is not a PyTorch checkpoint"):
        if is_zip(path):
            return _read_zip(path)
        with open_plain(path) as handle:
            mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        return read_legacy(cast(IO[bytes], mapped), len(mapped), CHECKPOINT, path)


def materialise(tensors: Mapping[str, LazyTensor], path: Path) -> dict[str, Tensor]:
    """Copy the tensors out of the file; together they may not be larger than the file is."""
    total = sum(tensor.nbytes for tensor in tensors.values())
    if total > path.stat().st_size:
        raise UserError(f"{path} is refused: it describes more tensor data than it holds")
    with refusing(f"{path} is damaged"):
        return {name: tensor.load() for name, tensor in tensors.items()}
