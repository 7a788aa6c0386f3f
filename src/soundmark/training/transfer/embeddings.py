"""The features that a linear head is fitted on: those of clips, stored like spectrograms, and those of backgrounds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soundmark.audio import nature
from soundmark.audio.backgrounds import background
from soundmark.models.card import ASSUMED_RATE_HZ
from soundmark.models.pretrained.backbone import Backbone
from soundmark.models.pretrained.mobilenet import N_AUDIOSET
from soundmark.runtime import atomic, parallel
from soundmark.runtime.cache import cache_folder
from soundmark.runtime.progress import Progress, no_progress
from soundmark.spectrograms import LogMel, Representation, Waveform
from soundmark.training.recipe import WINDOW_S
from soundmark.training.transfer.backgrounds import SYNTHETIC, Backgrounds
from soundmark.training.transfer.partial_views import partial_view, partial_view_of_samples

VERSION = 1  # incremented when the same parameters give different features


SHORTEST_S = 2.0  # of windows in which the network recognises rain or birds


N_MIXED = 64  # backgrounds that partial views are mixed with


BATCH = 32  # backgrounds per work item


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """Converts a sound to the features of a backbone in several views, float32 ``[1 + partial_views, f]``.

    The first view is the sound; the others contain a part of it, over a background. They are random, but depend only on
    the sound.
    """

    representation: Representation
    backbone: Backbone
    partial_views: int = 0

    @property
    def name(self) -> str:
        """The name in messages and of the folder of the store."""
        return self.backbone.name

    @property
    def version(self) -> int:
        """The version of the features."""
        return VERSION

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the result, [views, f]."""
        return 1 + self.partial_views, self.backbone.n_features

    @property
    def real_time(self) -> bool:
        """Whether long clips are cut into windows; see ``Representation``."""
        return self.representation.real_time

    def settings(self) -> dict[str, Any]:
        """Return what the features depend on, as JSON values."""
        return {
            "name": self.name,
            "backbone": self.backbone.digest,
            "representation": self.representation.settings(),
            "representation_version": self.representation.version,
            "partial_views": self.partial_views,
        }

    def __call__(self, samples: npt.ArrayLike, rate_hz: int) -> np.ndarray:
        """Compute the features of samples [n] at ``rate_hz``.

        Raises:
            AudioError: the samples are empty, not mono or not finite.
        """
        spectrogram = self.representation(samples, rate_hz)
        views = [spectrogram]
        if self.partial_views:
            seed = int.from_bytes(hashlib.sha256(spectrogram.tobytes()).digest()[:8], "little")
            generator = np.random.default_rng(seed)
            if isinstance(self.representation, LogMel):
                mixed = _mixed_backgrounds(self.representation)
                views += [partial_view(spectrogram, mixed, generator) for _ in range(self.partial_views)]
            else:
                views += _views_of_samples(self.representation, samples, rate_hz, generator, self.partial_views)
        return self.backbone.features(np.stack(views))

    @property
    def can_use_recordings(self) -> bool:
        """Whether recordings of nature can be compared with the clips of a data set.

        It takes the network's AudioSet classes, which need a window of 2 s or more, all frequencies and normal speed.
        """
        kind = self.representation
        is_usual = isinstance(kind, LogMel) and kind == LogMel(size=kind.size)
        has_classes = self.backbone.n_features - self.backbone.embedding_size == N_AUDIOSET
        n_samples, rate_hz = _length_of(kind)
        return is_usual and has_classes and n_samples >= SHORTEST_S * rate_hz

    def of_backgrounds(
        self, synthetic: int, recorded: int = 0, *, jobs: parallel.Jobs = None, progress: Progress = no_progress
    ) -> Backgrounds:
        """Return backgrounds, from the cache if they were computed before.

        They are ``synthetic`` noises, and ``recorded`` variations of each recording of nature, if those can be used.

        Raises:
            OutputError: the cache folder cannot be written.
        """
        recorded = recorded if self.can_use_recordings else 0
        names = nature.recording_groups()
        groups = np.repeat([SYNTHETIC, *names], [synthetic, *[recorded] * len(names)])
        return Backgrounds(features=self._features_of(synthetic, recorded, len(groups), jobs, progress), groups=groups)

    def _features_of(
        self, synthetic: int, recorded: int, n: int, jobs: parallel.Jobs, progress: Progress
    ) -> npt.NDArray[np.float32]:
        if not n:
            return np.zeros((0, self.backbone.n_features), np.float32)
        what = [self.settings(), VERSION, synthetic, recorded, nature.digest() if recorded else None]
        key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
        path = cache_folder() / "features" / f"backgrounds-{self.name}-{key}.bin"
        stored = _read(path, (n, self.backbone.n_features))
        if stored is not None:
            return stored
        items = [(self, synthetic, recorded, range(start, min(start + BATCH, n))) for start in range(0, n, BATCH)]
        found: dict[int, np.ndarray] = {}
        for index, computed in parallel.map_unordered(_background_features, items, jobs=jobs):
            found[index] = computed
            progress("backgrounds", sum(map(len, found.values())), n, "sounds")
        nature.recordings.cache_clear()
        result = np.concatenate([found[index] for index in range(len(items))])
        atomic.make_folder(path.parent, "Set SOUNDMARK_CACHE to another folder.")
        atomic.write_bytes(path, result.tobytes() + hashlib.sha256(result.tobytes()).digest())
        return result


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Return a stored array; None if it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content, digest = data[:-32], data[-32:]
    if len(content) != 4 * shape[0] * shape[1] or hashlib.sha256(content).digest() != digest:
        return None
    return np.frombuffer(content, np.float32).reshape(shape)


def _background_features(item: tuple[Embeddings, int, int, Sequence[int]]) -> np.ndarray:
    embeddings, synthetic, recorded, numbers = item
    spectrograms = [
        background_spectrogram(embeddings.representation, number)
        if number < synthetic
        else recorded_spectrogram(embeddings.representation, *divmod(number - synthetic, recorded))
        for number in numbers
    ]
    return embeddings.backbone.features(np.stack(spectrograms))


def _views_of_samples(
    representation: Representation,
    samples: npt.ArrayLike,
    rate_hz: int,
    generator: np.random.Generator,
    n_views: int,
) -> list[np.ndarray]:
    """Compute partial views of samples; the backgrounds are those of other representations, of the clip's length."""
    prepared, hz = representation.prepare(samples, rate_hz)
    if isinstance(representation, Waveform):
        prepared = representation.compute(prepared, hz)[0]
    views = []
    for _ in range(n_views):
        noise = np.random.default_rng([0, int(generator.integers(N_MIXED))])
        mixed = background(noise, len(prepared), representation.input_rate_hz or hz)
        views.append(representation.compute(partial_view_of_samples(prepared, mixed, generator), hz))
    return views


@lru_cache(maxsize=2)
def _mixed_backgrounds(representation: Representation) -> np.ndarray:
    """Return the backgrounds of partial views, float32 ``[N_MIXED, freq, time]``."""
    return np.stack([background_spectrogram(representation, number) for number in range(N_MIXED)])


def background_spectrogram(representation: Representation, number: int) -> np.ndarray:
    """Compute the spectrogram of a synthetic background; the same number is the same background.

    >>> from soundmark.spectrograms import LogMel
    >>> background_spectrogram(LogMel(size=(32, 50)), 3).shape
    (32, 50)
    """
    n_samples, rate_hz = _length_of(representation)
    return representation(background(np.random.default_rng([0, number]), n_samples, rate_hz), rate_hz)


def recorded_spectrogram(representation: Representation, number: int, number_of_variation: int) -> np.ndarray:
    """Compute the spectrogram of a variation of a recording of nature; the same numbers are the same variation.

    >>> from soundmark.spectrograms import LogMel
    >>> recorded_spectrogram(LogMel(size=(32, 50)), 3, 0).shape
    (32, 50)
    """
    n_samples, rate_hz = _length_of(representation)
    generator = np.random.default_rng([1, number, number_of_variation])
    return representation(nature.variation(nature.recordings(rate_hz)[number], generator, n_samples), rate_hz)


def _length_of(representation: Representation) -> tuple[int, int]:
    """Return the samples of a background, and their sample rate."""
    rate_hz = representation.input_rate_hz or ASSUMED_RATE_HZ
    hop = representation.settings().get("hop_samples", 1)
    n_samples = representation.shape[1] * hop if representation.real_time else round(WINDOW_S * rate_hz)
    return n_samples, rate_hz
