"""The pack of drawings, `icons.jsonl.xz`: one JSON object a line, read as a stream in bounded memory."""

import hashlib
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

from kdx2i import bounds
from kdx2i.data.svg import Icon
from kdx2i.errors import UserError
from kdx2i.foreign import parse_json, read_plain, refusing

MAX_PACK_BYTES = bounds.PACK_BYTES
MAX_DECODER_MEMORY = bounds.PACK_DECODER_MEMORY
MAX_UNPACKED_BYTES = bounds.PACK_UNPACKED_BYTES
MAX_LINE_BYTES = bounds.PACK_LINE_BYTES
MAX_SIDE_UNITS = bounds.DRAWING_UNITS
_CHUNK = 2**20
_KEYS = ["set", "name", "w", "h", "body"]


def read_verified(path: Path, sha256: str | None, limit: int = MAX_PACK_BYTES) -> bytes:
    """Return a file's bytes, at most `limit`, after comparing their SHA-256 with the stated one.

    The bytes that were hashed are the bytes that are used. A missing, larger or different file raises
    `UserError` naming it; `sha256=None` skips the comparison.
    """
    data = read_plain(path, limit, "restore it with git")
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path} is not the file that the dataset states (its SHA-256 differs): restore it with git")
    return data


def unpacked_lines(data: bytes, path: Path) -> Iterator[bytes]:
    """Yield the lines of an xz file held in `data`, without line ends, in bounded memory.

    `path` names the file in errors: broken xz, too long a line, too large a whole.
    """
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_DECODER_MEMORY)
    pending, total, given = b"", 0, data
    while not decoder.eof:
        try:
            chunk = decoder.decompress(given, max_length=_CHUNK)
        except lzma.LZMAError as error:
            raise UserError(f"{path} is not a readable xz file: {error}") from None
        if not chunk and decoder.needs_input and not decoder.eof:
            raise UserError(f"{path} is cut off: its xz stream does not end")
        given, total = b"", total + len(chunk)
        *lines, pending = (pending + chunk).split(b"\n")
        if total > MAX_UNPACKED_BYTES or len(pending) > MAX_LINE_BYTES:
            raise UserError(f"{path} unpacks to more than a pack of drawings may hold: refused")
        yield from lines
    if decoder.unused_data:
        raise UserError(f"{path} has bytes after its xz stream: refused")
    if pending:
        yield pending


def icon_line(icon: Icon) -> bytes:
    """Return the line of the pack that holds `icon`, without a line end."""
    values = [icon.set, icon.name, icon.width, icon.height, icon.body]
    record = dict(zip(_KEYS, values, strict=True))
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def parse_icon(line: bytes, where: str) -> Icon:
    """Return the drawing of one line; anything but the five keys with values in range raises `UserError`."""
    with refusing(f"{where} is not a drawing"):
        record = parse_json(line, f"{where} is not a drawing")
        if not isinstance(record, dict) or list(record) != _KEYS:
            raise ValueError(f"its keys are not {', '.join(_KEYS)}")
        texts = (record["set"], record["name"], record["body"])
        sides = (record["w"], record["h"])
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("set, name and body must be texts")
        if any(isinstance(side, bool) or not isinstance(side, int | float) for side in sides):
            raise ValueError("w and h must be numbers")
        if not all(0 < side <= MAX_SIDE_UNITS for side in sides):
            raise ValueError(f"w and h must lie between 0 and {MAX_SIDE_UNITS}")
    return Icon(texts[0], texts[1], sides[0], sides[1], texts[2])


def read_icons(path: Path, sha256: str | None) -> Iterator[Icon]:
    """Yield the drawings of a pack in its order, after its checksum was compared."""
    for number, line in enumerate(unpacked_lines(read_verified(path, sha256), path), start=1):
        yield parse_icon(line, f"{path}, line {number}")
