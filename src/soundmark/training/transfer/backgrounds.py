"""Backgrounds: sounds that are none of the classes, as further classes of the discriminant that the model leaves out.

Synthetic noises are one of them; recordings of nature are one for each group, such as rain. Recordings that sound like
a class of the data set are not used: nobody who trains a class "rain" wants rain to be no event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from soundmark.models.pretrained.mobilenet import N_AUDIOSET
from soundmark.models.pretrained.named_models import audioset_classes
from soundmark.training.calibration import logistic
from soundmark.training.moments import Moments

SYNTHETIC = "synthetic"  # the group of the synthetic backgrounds


RECORDED_WEIGHT = 4.0  # a recorded background counts as that many examples (LOG.md, 2026-11-29)


SIMILAR = 0.15  # mean probability of a family's AudioSet classes from which on a class sounds like the family


@dataclass(frozen=True, kw_only=True)
class Family:
    """Groups of recordings that are left out together, if a class has one of the names or sounds like the family."""

    name: str
    groups: tuple[str, ...]
    names: tuple[str, ...]  # English words in the name of a class, singular
    audioset: tuple[str, ...]  # the classes that the network gives such sounds


FAMILIES = (
    Family(
        name="rain and water",
        groups=("rain", "storm", "dripping", "stream", "waterfall"),
        names=("rain", "rainfall", "rainstorm", "raindrop", "drizzle", "hail", "storm", "thunder", "thunderstorm",
               "water", "waterfall", "waterdrop", "stream", "brook", "creek", "river", "sea", "ocean", "wave", "surf",
               "drip", "dripping", "drop", "splash", "fountain", "faucet", "tap", "shower"),
        audioset=("Rain", "Raindrop", "Rain on surface", "Thunder", "Thunderstorm", "Water", "Stream", "Waterfall",
                  "Ocean", "Waves, surf", "Splash, splatter", "Trickle, dribble", "Drip", "Gurgling", "Pour", "Liquid",
                  "Water tap, faucet", "Sink (filling or washing)", "Bathtub (filling or washing)", "Toilet flush"),
    ),
    Family(
        name="wind",
        groups=("wind", "wind in hollows"),
        names=("wind", "windy", "gale", "gust", "breeze"),
        audioset=("Wind", "Wind noise (microphone)", "Rustling leaves"),
    ),
    Family(
        name="animals",
        groups=("birds", "rooster", "owl", "insects", "night"),
        names=("bird", "birdsong", "rooster", "hen", "chicken", "duck", "crow", "owl", "insect", "cricket", "cicada",
               "bee", "mosquito", "frog"),
        audioset=("Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet", "Squawk", "Pigeon, dove", "Coo",
                  "Crow", "Caw", "Owl", "Hoot", "Fowl", "Chicken, rooster", "Crowing, cock-a-doodle-doo", "Insect",
                  "Cricket", "Mosquito", "Fly, housefly", "Bee, wasp, etc.", "Frog", "Croak"),
    ),
    Family(
        name="fire",
        groups=("fire", "lava"),
        names=("fire", "campfire", "bonfire", "wildfire", "fireplace", "flame", "burning", "lava"),
        audioset=("Fire", "Crackle"),
    ),
    Family(
        name="clock",
        groups=("clock",),
        names=("clock", "tick", "ticking"),
        audioset=("Clock", "Tick", "Tick-tock"),
    ),
)  # fmt: skip
"""The families of the groups of ``soundmark.audio.nature``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Backgrounds:
    """The features of backgrounds, float32 ``[m, f]``, and the group of each, ``[m]``.

    If there are recorded ones, the last 527 features are logits of AudioSet's classes.
    """

    features: np.ndarray
    groups: np.ndarray

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The groups; the synthetic one is the first.

        >>> Backgrounds(features=np.zeros((3, 2)), groups=np.array(["rain", "synthetic", "rain"])).names
        ('synthetic', 'rain')
        """
        return tuple(sorted(set(self.groups.tolist()), key=lambda name: (name != SYNTHETIC, name)))

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the recordings.

        >>> Backgrounds(features=np.zeros((2, 2)), groups=np.array(["synthetic", "owl"])).families
        ('animals',)
        """
        return tuple(family.name for family in FAMILIES if set(family.groups) & set(self.names))

    def moments(self, n_classes: int, n_views: int) -> Moments:
        """Return the moments of the backgrounds, as examples of classes after the first ``n_classes``.

        Each counts once per view, so that its weight beside the clips does not depend on their number of views; a
        recorded one counts ``RECORDED_WEIGHT`` times as much.

        >>> noises = Backgrounds(features=np.ones((3, 2)), groups=np.array(["rain", "synthetic", "rain"]))
        >>> noises.moments(n_classes=4, n_views=2).class_sizes.tolist()
        [0.0, 0.0, 0.0, 0.0, 2.0, 16.0]
        """
        targets = np.zeros((len(self.groups), n_classes + len(self.names)))
        targets[np.arange(len(targets)), [n_classes + self.names.index(group) for group in self.groups]] = 1
        is_synthetic = self.groups == SYNTHETIC
        return Moments.sum(
            Moments.of(self.features[None, chosen], targets[chosen]).scaled(weight * n_views)
            for chosen, weight in ((is_synthetic, 1.0), (~is_synthetic, RECORDED_WEIGHT))
        )

    def suited_to(
        self,
        classes: Sequence[str],
        features: np.ndarray,
        targets: np.ndarray,
        sources: np.ndarray,
        *,
        background_rows: Sequence[int] = (),
    ) -> Backgrounds:
        """Leave out the families that sound like one of ``classes``.

        A class is similar to a family if its name contains one of the family's words, or if the network finds the
        family's AudioSet classes in its clips: ``features`` ``[n, f]`` with ``targets`` ``[n, classes]`` from the
        recordings ``sources`` ``[n]``. The mean is that of the recordings. Classes in ``background_rows`` are no
        reason.

        >>> noises = Backgrounds(features=np.zeros((3, 528)), groups=np.array(["synthetic", "rain", "fire"]))
        >>> clips, targets, sources = np.full((2, 528), -9.0), np.eye(2), np.array(["a.wav", "b.wav"])
        >>> noises.suited_to(["dog", "Camp fire"], clips, targets, sources).names
        ('synthetic', 'rain')
        """
        if not self.families:
            return self
        sounds = [row for row in range(len(classes)) if row not in background_rows]
        _, recording = np.unique(sources, return_inverse=True)
        out = [
            group
            for family in FAMILIES
            if any(_is_named(classes[row], family) for row in sounds)
            or _sounds_like(family, features, targets[:, sounds] > 0, recording)
            for group in family.groups
        ]
        kept = ~np.isin(self.groups, out)
        return self if kept.all() else replace(self, features=self.features[kept], groups=self.groups[kept])


def _is_named(label: str, family: Family) -> bool:
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", label)  # CampFire: camp, fire
    words = re.findall(r"[^\W\d_]+", parts.casefold()) + re.findall(r"[^\W\d_]+", label.casefold())
    return any(word in family.names or word.removesuffix("s") in family.names for word in words)


def _sounds_like(family: Family, features: np.ndarray, belongs: np.ndarray, recording: np.ndarray) -> bool:
    """Whether the mean probability of the family's likeliest AudioSet class reaches ``SIMILAR`` in one of the classes.

    ``belongs`` ``[n, classes]`` says which clips belong to a class, and ``recording`` ``[n]`` numbers the recordings.
    """
    names = audioset_classes()
    columns = [features.shape[1] - N_AUDIOSET + names.index(name) for name in family.audioset]
    likeliest = logistic(features[:, columns].max(1).astype(np.float64))
    for chosen in belongs.T:
        clips = np.bincount(recording[chosen])
        means = np.bincount(recording[chosen], likeliest[chosen])[clips > 0] / clips[clips > 0]
        if len(means) and means.mean() >= SIMILAR:
            return True
    return False
