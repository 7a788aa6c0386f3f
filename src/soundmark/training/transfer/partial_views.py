"""Views of clips as the windows of a long recording contain them: in part, shifted, over a background."""

from __future__ import annotations

import numpy as np

from soundmark.spectrograms.logmel import MIDDLE, QUIETEST, SPREAD

SHORTEST_PART = 0.3  # of a clip in a partial view


MAX_SNR_DB = 60.0


LOWEST_POWER = 1e-12  # of a background of samples; a quieter one is silence


def partial_view(spectrogram: np.ndarray, backgrounds: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a view of a clip as a window of a long recording contains it, float32 ``[freq, time]``.

    A random part of the ``logmel`` ``spectrogram`` ``[freq, time]``, at least 0.3 of it, is placed at the start, at the
    end, or anywhere in the window. One of ``backgrounds`` ``[m, freq, time]`` is added to all of it, 0 to 60 dB below
    the clip's mean power.

    >>> clip, noise = np.ones((4, 10), np.float32), np.zeros((3, 4, 10), np.float32)
    >>> partial_view(clip, noise, np.random.default_rng(0)).shape
    (4, 10)
    """
    clip, width = _power(spectrogram), spectrogram.shape[1]
    frames = max(1, int(generator.uniform(SHORTEST_PART, 1.0) * width))
    first = int(generator.integers(0, width - frames + 1))
    position = int(generator.choice([0, width - frames, generator.integers(0, width - frames + 1)]))
    view = _power(backgrounds[generator.integers(len(backgrounds))])
    snr_db = generator.uniform(0, MAX_SNR_DB)
    view *= np.float32(float(clip.mean()) * 10 ** (-snr_db / 10) / max(float(view.mean()), QUIETEST * 1e-3))
    view[:, position : position + frames] += clip[:, first : first + frames]
    result: np.ndarray = (np.log(view + np.float32(QUIETEST)) - np.float32(MIDDLE)) / np.float32(SPREAD)
    return result


def partial_view_of_samples(samples: np.ndarray, background: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a view of a clip like ``partial_view``, as samples float32 ``[n]``; ``background`` is ``[n]`` too.

    >>> partial_view_of_samples(np.ones(100, np.float32), np.zeros(100, np.float32), np.random.default_rng(0)).shape
    (100,)
    """
    n = len(samples)
    length = max(1, int(generator.uniform(SHORTEST_PART, 1.0) * n))
    first = int(generator.integers(0, n - length + 1))
    position = int(generator.choice([0, n - length, int(generator.integers(0, n - length + 1))]))
    snr_db = generator.uniform(0, MAX_SNR_DB)
    powers = [float(np.square(each, dtype=np.float64).mean()) for each in (samples, background)]
    gain = np.sqrt(powers[0] * 10 ** (-snr_db / 10) / max(powers[1], LOWEST_POWER))
    view: np.ndarray = (background * np.float32(gain)).astype(np.float32, copy=False)
    view[position : position + length] += samples[first : first + length]
    return view


def _power(spectrogram: np.ndarray) -> np.ndarray:
    """Return the mel powers of a ``logmel`` spectrogram, float32."""
    power: np.ndarray = np.exp(spectrogram * np.float32(SPREAD) + np.float32(MIDDLE)) - np.float32(QUIETEST)
    return np.maximum(power, 0, out=power)
