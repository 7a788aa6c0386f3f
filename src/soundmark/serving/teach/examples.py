"""The clips that a model is retrained on: those of its training data, if they are given, and the corrections.

Features of the training data are in the feature store; those of a correction are computed once, when it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soundmark.datasets import Clip, Dataset, features
from soundmark.datasets.clip_windows import ClipWindows, cut_clips, whole_clips, with_window
from soundmark.datasets.dataset import NEGATIVE_LABELS, with_background
from soundmark.datasets.layouts.corrections import CLIPS, has_labels
from soundmark.datasets.layouts.joining import joined
from soundmark.errors import AudioError, DatasetError, SettingsError, SoundmarkError
from soundmark.models.classifier import Model
from soundmark.models.pretrained.backbone import Backbone
from soundmark.models.pretrained.model_parts import backbone_of
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import counted, listed
from soundmark.training import methods
from soundmark.training.named_recipes import recipe_named
from soundmark.training.recipe import Recipe
from soundmark.training.transfer.backgrounds import Backgrounds
from soundmark.training.transfer.embeddings import Embeddings

TOLERANCE = 1e-3  # relative, between a backbone and the part of a model that should be the same


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """What a head is fitted on: windows of clips, with their features in several views."""

    data: Dataset
    views: np.ndarray  # float32 [views, windows, features]
    clip_of: np.ndarray  # int64 [windows], ascending
    correction: np.ndarray  # bool [clips]: whether a clip is a correction
    backgrounds: Backgrounds | None

    @property
    def targets(self) -> np.ndarray:
        """The classes of the windows, float64 ``[windows, classes]``."""
        return self.data.targets[self.clip_of].astype(np.float64)

    @property
    def sources(self) -> np.ndarray:
        """The recordings of the windows, ``[windows]``."""
        return self.data.sources[self.clip_of]


class ExampleSource:
    """Gives the examples for retraining ``model``; ``training`` is the data set that it was trained on, or None."""

    def __init__(self, model: Model, training: Dataset | None) -> None:
        self.model, self.training = model, training and with_window(training, model.card.window_s)
        self.recipe = _recipe_of(model)
        self._extractor: Embeddings | None = None
        self._known: dict[tuple[Path, float, float | None], np.ndarray] = {}  # features of a correction's windows
        self._rows: dict[tuple[Path, float, float | None], np.ndarray] | None = None

    def examples(self, folder: Path, *, progress: Progress = no_progress) -> Examples:
        """Return the examples: the training data, and the corrections in ``folder``.

        ``progress`` may raise an error to end the work.

        Raises:
            DatasetError: there are too few classes or recordings to fit a head.
        """
        data = self._data(folder)
        clips, kept, parts = data.clips, [], []
        for number, clip in enumerate(clips):
            if clip.path.parent == folder / CLIPS:
                progress("features", number, len(clips), "clips")
            found = self._features_of(clip, progress)
            if found is not None:
                kept.append(number)
                parts.append(found)
        data = data.select(kept)
        _check(data)
        views = np.moveaxis(np.concatenate(parts), 1, 0)
        examples = Examples(
            data=data,
            views=views,
            clip_of=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            correction=np.array([clip.path.parent == folder / CLIPS for clip in data.clips], bool),
            backgrounds=None,
        )
        return replace(examples, backgrounds=self._backgrounds(examples, progress))

    def _backgrounds(self, examples: Examples, progress: Progress) -> Backgrounds | None:
        """Return the backgrounds that suit the examples; multi-label heads are fitted without."""
        if examples.data.multi_label:
            return None
        found = methods.backgrounds_of(self.recipe, self.extractor, jobs=1, progress=progress)
        return methods.suited_backgrounds(found, examples.data, examples.views, examples.targets, examples.sources)

    def warm(self, *, progress: Progress = no_progress) -> None:
        """Read or compute the features of the training data."""
        if self._rows is None:
            self._rows = self._stored(progress)

    def prepare(self, clips: Iterable[Clip]) -> None:
        """Compute the features of corrections ahead of a training."""
        for clip in clips:
            self._features_of(clip, no_progress)

    @property
    def extractor(self) -> Embeddings:
        """What converts a sound to features: the backbone of the model."""
        if self._extractor is None:
            self._extractor = Embeddings(
                representation=self.model.card.representation,
                backbone=_backbone(self.model, self.recipe, named=self.training is not None),
                partial_views=self.recipe.partial_views,
            )
        return self._extractor

    def _data(self, folder: Path) -> Dataset:
        found = [] if self.training is None else [self.training]
        if has_labels(folder):
            found.append(Dataset.open(folder))
        if not found:
            raise DatasetError("there is nothing to train on yet: label some sounds first.")
        data = with_window(joined(found), self.model.card.window_s)
        multi_label = self.model.card.task.has_thresholds
        if data.multi_label and not multi_label:
            raise DatasetError("a clip has several classes, but the classes of this model exclude each other.")
        data = replace(data, multi_label=multi_label)
        known = self.model.card.background
        names = [name for name in data.classes if name in known or name.casefold() in NEGATIVE_LABELS]
        return with_background(data, names or "none")

    def _features_of(self, clip: Clip, progress: Progress) -> np.ndarray | None:
        """Return the features of a clip's windows, ``[windows, views, features]``; None if it cannot be read."""
        key = (clip.path, clip.start_s, clip.stop_s)
        self.warm(progress=progress)
        assert self._rows is not None
        if key in self._rows:
            return self._rows[key] if len(self._rows[key]) else None
        if key not in self._known:
            self._known[key] = self._computed(clip)
        return self._known[key] if len(self._known[key]) else None

    def _stored(self, progress: Progress) -> dict[tuple[Path, float, float | None], np.ndarray]:
        """Return the features of the training data, computed if the feature store does not have them."""
        if self.training is None:
            return {}
        data = self.training
        store = features.build(data, self.extractor, window_s=data.window_s, jobs=1, progress=progress)
        rows = [store.rows(np.array([number])) for number in range(len(data))]
        array = store.array[np.concatenate(rows)] if rows else np.zeros(0)
        parts = np.split(array, np.cumsum([len(each) for each in rows])[:-1]) if rows else []
        return {(clip.path, clip.start_s, clip.stop_s): part for clip, part in zip(data.clips, parts, strict=True)}

    def _computed(self, clip: Clip) -> np.ndarray:
        one = Dataset(name="clip", root=clip.path.parent, classes=(clip.label,), clips=(clip,))
        cut: ClipWindows = cut_clips(one, self.model.card.window_s) if self.extractor.real_time else whole_clips(one)
        try:
            sounds = [window.read() for window in cut.windows.clips]
            return np.stack([self.extractor(sound.samples, sound.rate_hz) for sound in sounds])
        except AudioError:
            return np.zeros((0, *self.extractor.shape), np.float32)


def _recipe_of(model: Model) -> Recipe:
    """Return the recipe of a model with a backbone; for others, the settings of the default recipe."""
    try:
        recipe = Recipe.from_settings(model.card.recipe)
        if recipe.backbone is not None:
            return recipe
    except (SettingsError, KeyError, TypeError, ValueError):
        pass
    return recipe_named("transfer")


def _backbone(model: Model, recipe: Recipe, *, named: bool) -> Backbone:
    """Return the backbone of a model: the named one, under which the feature store knows it, or a part of the model."""
    part = backbone_of(model.bundle)
    if not named:
        return part
    try:
        found = methods.extractor_of(recipe)
    except SoundmarkError:  # its weights, or its file, are not on this machine
        return part
    if not isinstance(found, Embeddings) or found.representation != model.card.representation:
        return part
    noise = np.random.default_rng(0).normal(size=(1, *model.card.representation.shape)).astype(np.float32)
    same = np.allclose(found.backbone.features(noise), part.features(noise), rtol=TOLERANCE, atol=TOLERANCE)
    return found.backbone if same else part


def _check(data: Dataset) -> None:
    names: Sequence[str] = data.classes
    counts = data.targets.sum(axis=0)
    if data.multi_label:
        if not len(data) or (data.targets == data.targets[0]).all():
            raise DatasetError(
                "all clips have the same classes, so no difference can be learned: label sounds of another class, or "
                'some as "none of the classes".'
            )
    elif np.count_nonzero(counts) < 2:
        present = listed([name for name, n in zip(names, counts, strict=True) if n]) or "no class"
        raise DatasetError(
            f"a model needs at least two classes, and the clips have {present}: label sounds of another class, or some "
            'as "none of the classes". Training with the data of the first model needs --train-data.'
        )
    n = len(set(data.sources))
    if n < 2:
        raise DatasetError(
            f"the clips are of {counted(n, 'recording')}: label sounds in at least two recordings, because a model can "
            "only be tested on a recording that it was not trained on."
        )
