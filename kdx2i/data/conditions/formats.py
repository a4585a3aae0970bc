"""The formats of condition files: to bytes and back, each bounded before it is decoded."""

import hashlib
import io
import json
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from kdx2i import bounds
from kdx2i.config import ConditionKind
from kdx2i.data.conditions.condition_rows import CONDITION_TABLE, ConditionRow
from kdx2i.data.decode import MAX_PIXELS, pixels_sha256, png_bytes
from kdx2i.errors import UserError
from kdx2i.foreign import parse_json, read_plain, reason

RATE = 22_050
SAMPLE_BYTES = 2
SUFFIXES: dict[ConditionKind, str] = {"captions": ".txt", "speech": ".wav", "label-maps": ".png"}
MAX_BYTES: Mapping[ConditionKind, int] = bounds.CONDITION_BYTES


def read_bounded(path: Path, kind: ConditionKind) -> bytes:
    """Return the bytes of a condition file, at most `MAX_BYTES` of its kind; `UserError` names it."""
    larger = f"is larger than the {MAX_BYTES[kind]} bytes that {kind} may have: refused"
    return read_plain(path, MAX_BYTES[kind], "run `kdx2i split` for its dataset", larger)


def checksum(data: bytes, row_kind: ConditionKind, image: str, name: str) -> str:
    """Return the SHA-256 of a condition file that `data` holds, as 64 hexadecimal digits.

    A label map counts by its size and numbers, as an image does by its pixels: versions of a PNG encoder differ
    in bytes. `image` is empty for the description of a kind, which counts by its bytes.
    """
    if row_kind == "label-maps" and image:
        return pixels_sha256(Image.fromarray(decode_label_map(data, name)))
    return hashlib.sha256(data).hexdigest()


def read_verified_file(folder: Path, row: ConditionRow) -> bytes:
    """Return the bytes of a row's file below a dataset's folder after comparing its checksum."""
    path = folder / row.file
    data = read_bounded(path, row.kind)
    if checksum(data, row.kind, row.image, str(path)) != row.sha256:
        raise UserError(f"{path} is not the file that {CONDITION_TABLE} states: run `kdx2i split` again")
    return data


def encode_captions(captions: Sequence[str], name: str) -> bytes:
    """Return captions as UTF-8, one a line; `UserError` names whose they are where one cannot be a line."""
    if not captions:
        raise UserError(f"{name} has no caption")
    for caption in captions:
        if not caption.strip() or "\n" in caption or "\r" in caption:
            raise UserError(f"{name} has the caption {caption[:60]!r}, which is empty or more than one line")
    try:
        data = "".join(f"{caption}\n" for caption in captions).encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} has a caption that is no Unicode text") from None
    if len(data) > MAX_BYTES["captions"]:
        raise UserError(f"{name} has captions of more than {MAX_BYTES['captions']} bytes")
    return data


def decode_captions(data: bytes, name: str) -> list[str]:
    """Return the captions of a file, at least one; `UserError` names a file that holds none or a blank one."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8 text") from None
    if not text.strip():
        raise UserError(f"{name} is empty: it has no caption")
    if not text.endswith("\n") or "\r" in text:
        raise UserError(f"{name} is not one caption a line: its last line is cut off, or its line ends are strange")
    captions = text[:-1].split("\n")
    if not all(caption.strip() for caption in captions):
        raise UserError(f"{name} has an empty caption in line {[bool(c.strip()) for c in captions].index(False) + 1}")
    return captions


def encode_speech(samples: np.ndarray) -> bytes:
    """Return int16 samples (N,) at `RATE` as a WAV file, mono."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(SAMPLE_BYTES)
        writer.setframerate(RATE)
        writer.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def decode_speech(data: bytes, name: str) -> np.ndarray:
    """Return the samples of a WAV file, int16 (N,) with N > 0, at `RATE`.

    Anything but a whole file of 16-bit PCM with one channel at that rate raises `UserError`.
    """
    try:
        with wave.open(io.BytesIO(data), "rb") as reader:
            layout = (reader.getnchannels(), reader.getsampwidth(), reader.getframerate())
            count = reader.getnframes()
            frames = reader.readframes(count)
    except Exception as error:  # noqa: BLE001 (the reader of chunks raises anything on broken bytes)
        raise UserError(f"{name} is not a WAV file that can be read: {reason(error)}") from None
    if layout != (1, SAMPLE_BYTES, RATE):
        raise UserError(f"{name} must be 16-bit PCM with one channel at {RATE} Hz")
    if not count or len(frames) != SAMPLE_BYTES * count:
        raise UserError(f"{name} holds no sound, or it is cut off")
    return np.frombuffer(frames, dtype="<i2").astype(np.int16)


def encode_label_map(numbers: np.ndarray) -> bytes:
    """Return a label map, uint8 (H, W), as a PNG file with one channel."""
    return png_bytes(Image.fromarray(numbers))


def decode_label_map(data: bytes, name: str) -> np.ndarray:
    """Return the label numbers of a PNG file, uint8 (H, W); the size in its header is bounded before decoding.

    Colours, palettes, transparency and more than 8 bits raise `UserError`: there a value is no number of a label.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            # Pillow stretches 2 and 4 bits to 8: then a value is no number of a label either.
            kept = image.tile[0].args if image.tile else image.mode
            if image.mode != "L" or kept != "L":
                raise UserError(f"{name} must have one channel of 8 bits, not the mode {kept}")
            image.load()
            return np.array(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{name} has more than {MAX_PIXELS} pixels: refused before decoding") from None
    except UnidentifiedImageError:
        raise UserError(f"{name} is not a PNG image that can be read") from None
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (Pillow's plug-ins raise anything on broken bytes)
        raise UserError(f"{name} is a truncated or broken image: {reason(error)}") from None


def require_known_labels(numbers: np.ndarray, labels: Sequence[str], name: str) -> None:
    """Raise `UserError` for a label map (`numbers`, uint8) with a number that no label has."""
    if numbers.max(initial=0) >= len(labels):
        raise UserError(f"{name} has the label number {numbers.max()}, but the {len(labels)} labels count from 0")


def encode_description(description: dict[str, Any]) -> bytes:
    """Return what describes a kind of condition as JSON."""
    return (json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode_labels(data: bytes, name: str) -> tuple[str, ...]:
    """Return the names of the labels, in the order of their numbers, from the description of label maps."""
    sentence = f"{name} does not list the names of the labels"
    described = parse_json(data, sentence)
    labels = described.get("labels") if isinstance(described, dict) else None
    if not labels or not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UserError(sentence)
    return tuple(labels)
