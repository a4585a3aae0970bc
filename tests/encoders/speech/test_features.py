"""The log-mel front end against its definition, term by term in float64."""

import math

import numpy as np
import pytest
import spoken
import torch

from kdx2i.encoders.speech.features import BANDS, HOP, RATE, WINDOW, filter_bank, log_mel, speech_features
from kdx2i.errors import UserError


def hertz(mel):
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def by_definition(wave, mode):
    """Return the log-mel of float64 samples: padded, framed, windowed, transformed and summed one by one."""
    half = WINDOW // 2
    padded = np.pad(wave, half, mode=mode)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    corners = [hertz(mel) for mel in np.linspace(0, 15 + 27 * math.log(RATE / 2000) / math.log(6.4), BANDS + 2)]
    frames = []
    for start in range(0, len(padded) - WINDOW + 1, HOP):
        power = np.abs(np.fft.rfft(padded[start : start + WINDOW] * window)) ** 2
        bands = []
        for low, middle, high in zip(corners, corners[1:], corners[2:], strict=False):
            total = 0.0
            for number, energy in enumerate(power):
                frequency = number * RATE / WINDOW
                height = min((frequency - low) / (middle - low), (high - frequency) / (high - middle))
                total += max(0.0, height) * 2 / (high - low) * energy
            bands.append(math.log(total + 1e-6))
        frames.append(bands)
    return np.array(frames)


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("samples", [3301, 220 * 16])
def test_log_mel_is_its_definition(mode, samples):
    wave = spoken.tone(1, 0, samples)
    expected = by_definition(wave.double().numpy(), mode)
    assert expected.shape == (1 + (samples - 1) // HOP, BANDS)
    np.testing.assert_allclose(log_mel(wave, mode).numpy(), expected, atol=2e-3)


def test_each_filter_has_the_area_of_its_band():
    # A triangle of height 2 / (width in Hz) has the area 1; the spectrum has a number every 40 Hz.
    areas = filter_bank().double().sum(1) * RATE / WINDOW
    assert filter_bank().shape == (BANDS, WINDOW // 2 + 1)
    torch.testing.assert_close(areas[20:], torch.ones(20, dtype=torch.float64), atol=0.02, rtol=0)


def test_each_band_is_normalised_over_time():
    features = speech_features(spoken.tone(0, 3), RATE)
    torch.testing.assert_close(features.mean(0), torch.zeros(BANDS), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(0, correction=0), torch.ones(BANDS), atol=1e-3, rtol=0)


def test_silence_has_finite_features():
    assert bool(torch.isfinite(speech_features(torch.zeros(5000), RATE)).all())


@pytest.mark.parametrize(
    ("samples", "rate", "words"), [(5000, 16_000, "16000 Hz"), (3300, RATE, "too short"), (0, RATE, "too short")]
)
def test_what_cannot_be_heard_is_refused(samples, rate, words):
    with pytest.raises(UserError, match=words):
        speech_features(torch.zeros(samples), rate)
