"""Find wrong labels: recordings whose label is contradicted by a model that was trained without them.

    features ─ heads fitted without each recording ─▶ probabilities ─ log odds of the label ─▶ LabelCheck

A recording's score is the mean over its clips of ln(p of its label / p of the most probable other class). In
multi-label data, it is that of the least log odds of a class being present or absent as labelled. The lowest scores
come first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from soundmark.datasets import Dataset, Skipped, features, splits
from soundmark.errors import AudioError, DatasetError, SettingsError
from soundmark.evaluation.report.clips import player
from soundmark.evaluation.report.markup import Html, element, join, text
from soundmark.metrics.intervals import Floats
from soundmark.runtime import atomic, provenance
from soundmark.runtime.checks import check_jobs
from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import aligned, counted, html_table, percent
from soundmark.training import DEFAULT_RECIPE, named_recipes
from soundmark.training.methods import background_features, build_features, held_out_scores
from soundmark.training.recipe import Recipe
from soundmark.training.single_model import open_dataset, prepare, warn_skipped

if TYPE_CHECKING:
    import pandas


LISTED = 0.05  # fraction of the recordings that the table and the page show


LEAST_LISTED, MOST_PLAYED = 5, 50  # recordings in the table at least, and on the page at most


LEAST_PROBABILITY = 1e-9


SUFFIXES = (".csv", ".html")


@dataclass(frozen=True, kw_only=True)
class SuspectLabel:
    """A label of a recording, and the class that the held-out predictions prefer."""

    recording: str
    label: str
    predicted: str  # multi-label: with "no " if the label should be removed
    log_odds: float  # of the label, mean over the clips; below 0: contradicted
    clips: tuple[int, ...]  # indices in the data set, most contradicted first

    @property
    def is_contradicted(self) -> bool:
        """Whether the predictions contradict the label."""
        return self.log_odds < 0


@dataclass(frozen=True, kw_only=True, repr=False)
class LabelCheck:
    """All recordings, those with the most contradicted labels first; displays the first ones in Jupyter."""

    dataset: Dataset
    recipe: Recipe
    suspects: tuple[SuspectLabel, ...]
    skipped: tuple[Skipped, ...]

    header = ("recording", "label", "predicted", "log odds", "clips", "first clip")

    def __repr__(self) -> str:
        return "\n".join([self.sentence, *aligned([self.header, *self.rows(self.listed)], left=3)])

    def _repr_html_(self) -> str:
        return html_table(self.rows(self.listed), header=self.header, caption=self.sentence)

    @property
    def listed(self) -> int:
        """The number of recordings that the table shows: the first 5 %, at least 5."""
        return min(len(self.suspects), max(LEAST_LISTED, round(LISTED * len(self.suspects))))

    @property
    def sentence(self) -> str:
        """How many labels are contradicted."""
        wrong = sum(one.is_contradicted for one in self.suspects)
        n = len(self.suspects)
        return (
            f"{self.recipe.name} contradicts the labels of {wrong:,} of {counted(n, 'recording')} "
            f"({percent(wrong / max(1, n))} %) of {self.dataset.name}, from models trained without them. Listen to the "
            "first ones: a model can be wrong too."
        )

    def rows(self, limit: int | None = None) -> list[list[str]]:
        """Return the cells of the table, at most ``limit`` rows."""
        return [
            [
                one.recording,
                one.label or "no class",
                one.predicted,
                f"{one.log_odds:.1f}",
                f"{len(one.clips)}",
                self.dataset.relative_path(self.dataset.clips[one.clips[0]]),
            ]
            for one in self.suspects[:limit]
        ]

    def to_csv(self) -> str:
        """Return all recordings as CSV."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([self.header, *self.rows()])
        return table.getvalue()

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row per recording, most contradicted first.

        Raises:
            SettingsError: pandas is not installed.
        """
        return import_pandas().DataFrame(self.rows(), columns=list(self.header))

    def save(self, path: str | PathLike[str]) -> Path:
        """Write all recordings as CSV, or the first ones with players as an HTML page, by the suffix of ``path``.

        Raises:
            SettingsError: another suffix.
            OutputError: the file cannot be written.
        """
        path = check_suffix(Path(path).expanduser())
        content = self.to_csv() if path.suffix.lower() == ".csv" else self.to_html()
        atomic.write_bytes(path, content.encode(errors="surrogateescape"))
        return path

    def to_html(self) -> str:
        """Return the first recordings as a page with players, without scripts or external resources."""
        cards = [self._card(rank, one) for rank, one in enumerate(self.suspects[: min(self.listed, MOST_PLAYED)], 1)]
        body = join([element("p", self.sentence), element("div", *cards, class_="cards")])
        folder = files("soundmark.evaluation.report")
        return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
            title=text(f"Labels of {self.dataset.name}"),
            css=(folder / "page.css").read_text(encoding="utf-8"),
            contents="",
            sections=element("section", body, id="labels"),
            version=text(provenance.versions().get("soundmark", "")),
        )

    def _card(self, rank: int, one: SuspectLabel) -> Html:
        clip = self.dataset.clips[one.clips[0]]
        try:
            sound = player(clip.read(), one.label)
        except AudioError:
            sound = element("p", "This clip could not be read again.", class_="quiet")
        return element(
            "article",
            element("h3", f"{rank}. {one.recording}"),
            element("p", "Label: ", element("strong", one.label or "no class")),
            element("p", "Predicted: ", element("strong", one.predicted), f" (log odds {one.log_odds:.1f})"),
            sound,
            element("p", f"{counted(len(one.clips), 'clip')}; played: ", class_="quiet"),
            element("p", element("code", self.dataset.relative_path(clip)), class_="file"),
            class_="card",
        )


def check_suffix(path: Path) -> Path:
    """Return the path of a table or page of labels, if its suffix is ".csv" or ".html".

    Raises:
        SettingsError: it is not.

    >>> check_suffix(Path("labels.csv")).name
    'labels.csv'
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f'"{path.name}" is neither a table nor a page: choose a name with .csv or .html.')
    return path


def check_labels(
    dataset: Dataset | str | PathLike[str],
    recipe: Recipe | str | PathLike[str] = DEFAULT_RECIPE,
    *,
    subset: str | None = None,
    complete: bool = False,
    backbone: str | None = None,
    backbone_output: str | None = None,
    backbone_rate_hz: int | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> LabelCheck:
    """Rank the recordings of a data set by how much predictions of models trained without them contradict their labels.

    Args:
        dataset: a ``Dataset``, or the path of one.
        recipe: a recipe with a backbone: its name, a .toml file, or a ``Recipe``.
        subset: a named part of the data set, such as "esc10" of ESC-50.
        complete: everything of interest is annotated, as in ``Dataset.open``.
        backbone: "mn04", "mn10" or an .onnx file, the pretrained network of the recipe.
        backbone_output: the output of the file that is the embedding, if its metadata do not say so.
        backbone_rate_hz: the sample rate of the file's input, if its metadata do not say so.
        jobs: parallel workers for the features; default: all cores.
        quiet: show no progress.

    Raises:
        SettingsError: an unknown recipe, or one without a backbone.
        DatasetError: the path is not a data set, or it has too few recordings.

    >>> check_labels(city, "notebook-mel")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the recipe notebook-mel cannot check labels: ...
    """
    fields = {"backbone": backbone, "backbone_output": backbone_output, "backbone_rate_hz": backbone_rate_hz}
    chosen = named_recipes.recipe(recipe, **fields)
    check_recipe(chosen)
    named_recipes.check_used([chosen], **fields)
    check_jobs(jobs)
    data = prepare(open_dataset(dataset, subset, complete=complete), [chosen])
    from soundmark.runtime.progress_bars import progress_bars  # imports rich, which is slow

    with progress_bars(quiet) as progress:
        found = find_suspects(data, chosen, jobs=jobs, progress=progress)
    warn_skipped(data, found.skipped)
    return found


def check_recipe(recipe: Recipe) -> None:
    """Check that a recipe can check labels: it has a backbone.

    Raises:
        SettingsError: it has none.

    >>> check_recipe(named_recipes.recipe_named("transfer"))
    """
    if recipe.backbone is None:
        raise SettingsError(
            f"the recipe {recipe.name} cannot check labels: that needs a recipe with a backbone, such as transfer."
        )


def find_suspects(
    dataset: Dataset, recipe: Recipe, *, jobs: int | None = None, progress: Progress = no_progress
) -> LabelCheck:
    """Compute held-out predictions of all clips, and rank the recordings by the log odds of their labels.

    Raises:
        DatasetError: the data set has fewer than two classes or recordings.

    >>> find_suspects(city, named_recipes.recipe_named("transfer")).suspects[0].clips  # doctest: +SKIP
    (12,)
    """
    splits.check_classes(dataset)
    fitted = recipe.for_window(dataset.window_s)
    store = build_features(dataset, fitted, jobs=jobs, progress=progress)
    features.warn_incomplete(store.notes)
    clips = np.flatnonzero(store.usable)
    if splits.count_recordings(dataset, clips) < 2:
        raise DatasetError(f"{dataset.name} has too few recordings to check labels: at least 2 are needed.")
    progress("label check", 0, 1, "fits")
    scored = held_out_scores(fitted, dataset, store, clips, backgrounds=background_features(fitted))
    progress("label check", 1, 1, "fits")
    suspects = rank_labels(dataset, clips, scored)
    return LabelCheck(dataset=dataset, recipe=fitted, suspects=suspects, skipped=(*dataset.skipped, *store.skipped))


def rank_labels(dataset: Dataset, clips: np.ndarray, probabilities: Floats) -> tuple[SuspectLabel, ...]:
    """Rank the recordings of ``clips`` ``[n]`` by the log odds of their labels in ``probabilities`` ``[n, classes]``.

    A recording whose clips have different labels has an entry for each.

    >>> p = np.eye(10)[city.labels] * 0.9 + 0.01
    >>> p[city.sources == city.sources[7]] = np.eye(10)[9]
    >>> first = rank_labels(city, np.arange(60), p)[0]
    >>> first.recording == city.sources[7], first.label == city.clips[7].label, first.predicted
    (True, True, 'street_music')
    """
    log_odds, preferred = _log_odds(dataset, clips, np.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
    groups: dict[tuple[str, str], list[int]] = {}
    for row, clip in enumerate(clips.tolist()):
        groups.setdefault((str(dataset.sources[clip]), dataset.clips[clip].label), []).append(row)
    found = []
    for (recording, label), rows in groups.items():
        rows.sort(key=lambda row: log_odds[row])
        found.append(
            SuspectLabel(
                recording=recording,
                label=label,
                predicted=preferred[rows[0]],
                log_odds=float(np.mean(log_odds[rows])),
                clips=tuple(int(clips[row]) for row in rows),
            )
        )
    return tuple(sorted(found, key=lambda one: one.log_odds))


def _log_odds(dataset: Dataset, clips: np.ndarray, p: Floats) -> tuple[Floats, Sequence[str]]:
    """Return the log odds of each clip's label ``[n]``, and what contradicts it most."""
    truth, rows = dataset.targets[clips] > 0, np.arange(len(clips))
    if not dataset.multi_label:
        other = np.where(truth, 0, p)
        best = other.argmax(axis=1)
        odds = np.log(p[truth]) - np.log(other[rows, best])
        return odds, [dataset.classes[i] for i in best]
    each = np.where(truth, 1, -1) * (np.log(p) - np.log1p(-p))
    worst = each.argmin(axis=1)
    names = [f"no {dataset.classes[i]}" if truth[row, i] else dataset.classes[i] for row, i in enumerate(worst)]
    return each[rows, worst], names
