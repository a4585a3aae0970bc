"""Speech from text by espeak-ng: the same text and voice give the same samples, whatever was said before."""

import ctypes
import hashlib
from _ctypes import dlclose
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from kdx2i.data.conditions.formats import RATE, SAMPLE_BYTES
from kdx2i.errors import UserError

# Accents of English with variants of the voice: five lower and five higher ones.
VOICES = (
    *("en-us", "en-us+f2", "en-us+m3", "en-gb-x-rp", "en-gb-x-rp+f4"),
    *("en-gb-scotland+f1", "en-gb-scotland+m7", "en-029", "en-029+f3", "en+f5"),
)
SEED = 1
PACKAGE = "espeakng-loader"
# Numbers of espeak-ng's header speak_lib.h: deliver sound before the call returns; text is UTF-8.
_SYNCHRONOUS = 2
_UTF8 = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def voice_of(source: str) -> str:
    """Return the voice that speaks the captions of an image, by its `source`: one of `VOICES`."""
    return VOICES[int(hashlib.sha256(source.encode()).hexdigest(), 16) % len(VOICES)]


class Synthesiser:
    """espeak-ng, loaded anew for each utterance.

    The library keeps the phases of its oscillators and its random numbers between utterances, also when it is
    terminated and initialised again: only a fresh copy of it in memory says a text the same way twice. That
    takes about 20 ms an utterance. Other versions and processors may differ in the last bits.
    """

    def __init__(self) -> None:
        try:
            self._loader = import_module("espeakng_loader")
        except ImportError:
            raise UserError("speech needs a synthesiser: run `pip install -c constraints.txt -e '.[speech]'`") from None

    def describe(self) -> dict[str, Any]:
        """Return what the samples depend on: names and versions, voices, seed and rate, as JSON."""
        library = self._open()
        library.espeak_Info.restype = ctypes.c_char_p
        espeak = library.espeak_Info(None).decode()
        self._close(library)
        return {
            "synthesiser": f"espeak-ng {espeak}",
            "package": f"{PACKAGE} {version(PACKAGE)}",
            "voices": list(VOICES),
            "seed": SEED,
            "rate": RATE,
        }

    def say(self, text: str, voice: str) -> np.ndarray:
        """Return a text spoken by a voice of `VOICES`, int16 (N,), at `RATE`.

        A text without anything to say, or a voice that the library lacks, raises `UserError`.
        """
        heard = bytearray()

        def keep(samples: Any, count: int, _events: int | None) -> int:
            if samples and count > 0:
                heard.extend(ctypes.string_at(samples, SAMPLE_BYTES * count))
            return 0

        callback = _CALLBACK(keep)
        library = self._open()
        try:
            library.espeak_SetSynthCallback(callback)
            library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise UserError(f"the synthesiser has no voice {voice}")
            spoken = text.encode() + b"\0"
            size, start, end = ctypes.c_size_t(len(spoken)), ctypes.c_uint(0), ctypes.c_uint(0)
            failed = library.espeak_Synth(spoken, size, start, 0, end, ctypes.c_uint(_UTF8), None, None)
        finally:
            self._close(library)
        if failed or not any(heard):
            raise UserError(f"the synthesiser has no sound for the text {text[:60]!r}")
        return np.frombuffer(bytes(heard), dtype=np.int16)

    def _open(self) -> ctypes.CDLL:
        """Load and initialise a fresh copy of the library."""
        try:
            library = ctypes.CDLL(self._loader.get_library_path())
        except OSError as error:
            raise UserError(f"the speech synthesiser cannot be loaded: {error}") from None
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, self._loader.get_data_path().encode(), 0)
        if rate != RATE:
            self._close(library)
            raise UserError(f"the speech synthesiser does not start at {RATE} Hz (it says {rate}): install it again")
        return library

    @staticmethod
    def _close(library: ctypes.CDLL) -> None:
        """Stop the library and unload it, with everything that it remembers."""
        library.espeak_Terminate()
        dlclose(library._handle)
