"""Log-mel features of speech (`data_processing/Audio_to_mel.py` of xinshengwang/S2IGAN), computed with torch.

Frames of 25 ms every 10 ms at 22,050 Hz, 40 bands from 0 Hz to 11,025 Hz on Slaney's mel scale, normalised by area.
"""

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from kdx2i.errors import UserError

RATE = 22_050
WINDOW = 551
HOP = 220
BANDS = 40
FLOOR = 1e-6
SHORTEST = 16
"""Frames that the two convolutions of the encoder need at least: 0.15 s of speech."""

FramePadding = Literal["reflect", "constant"]


def slaney_hertz(mel: Tensor) -> Tensor:
    """Return frequencies in Hz of mel numbers (N,): linear up to 1,000 Hz, which is 15, logarithmic above."""
    linear = mel * (200.0 / 3.0)
    return torch.where(mel < 15.0, linear, 1000.0 * torch.exp((mel - 15.0) * (math.log(6.4) / 27.0)))


@cache
def filter_bank() -> Tensor:
    """Return the triangular filters, float32 (40, 276), over the frequencies of a frame's spectrum."""
    highest = 15.0 + 27.0 * math.log(RATE / 2 / 1000.0) / math.log(6.4)
    corners = slaney_hertz(torch.linspace(0.0, highest, BANDS + 2, dtype=torch.float64))
    frequencies = torch.arange(WINDOW // 2 + 1, dtype=torch.float64) * RATE / WINDOW
    steps = corners[1:] - corners[:-1]
    distances = corners[:, None] - frequencies
    rising, falling = -distances[:-2] / steps[:-1, None], distances[2:] / steps[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0.0)
    return (triangles * (2.0 / (corners[2:] - corners[:-2]))[:, None]).float()


def log_mel(waveform: Tensor, padding: FramePadding = "reflect") -> Tensor:
    """Return log-mel energies (1 + (N - 1) // 220, 40) of a waveform float32 (N,) at 22,050 Hz.

    Frames are centred; the ends are padded by reflection, as librosa did until 0.9, or with zeros (`constant`, its
    default since 0.10): protocol entry s2igan-frame-padding. `UserError` for less than 0.15 s.
    """
    if waveform.ndim != 1 or 1 + (len(waveform) - 1) // HOP < SHORTEST:
        least = ((SHORTEST - 1) * HOP + 1) / RATE
        raise UserError(f"an utterance of {waveform.shape[-1] / RATE:.2f} s is too short: it must have {least:.2f} s")
    window = torch.hann_window(WINDOW, device=waveform.device)
    spectrum = torch.stft(
        waveform.float(), WINDOW, HOP, WINDOW, window, center=True, pad_mode=padding, return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.log(filter_bank().to(power.device) @ power + FLOOR).T


def speech_features(waveform: Tensor, rate: int, padding: FramePadding = "reflect") -> Tensor:
    """Return the features (frames, 40) of a waveform (N,): each band of the log-mel has mean 0 and deviation 1.

    `UserError` for another rate than 22,050 Hz and for less than 0.15 s.
    """
    if rate != RATE:
        raise UserError(f"speech at {rate} Hz cannot be encoded: the encoder hears {RATE} Hz, resample it first")
    features = log_mel(waveform, padding)
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    return (features - mean) / (deviation + 1e-16)
