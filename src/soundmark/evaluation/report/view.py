"""The data that the sections of the report share: results by protocol, colours of recipes, sounds of clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import comb
from typing import TYPE_CHECKING

from soundmark import audio
from soundmark.datasets import Clip, Skipped
from soundmark.datasets.protocols import most_trusted
from soundmark.datasets.splits import count_recordings
from soundmark.errors import AudioError
from soundmark.evaluation.report import figures
from soundmark.evaluation.report.markup import Html, element
from soundmark.evaluation.report.words import reverse
from soundmark.metrics.task import Task
from soundmark.runtime.text import count, listed

if TYPE_CHECKING:
    from soundmark.audio import Sound
    from soundmark.evaluation.learning_curve import LearningCurve
    from soundmark.evaluation.results import Comparison, Evaluation, Result
    from soundmark.metrics.significance import PairedDifference


LONGEST_S = 10.0  # longer clips are drawn and played up to here


@dataclass
class View:
    """An ``Evaluation`` with the derived data that the sections of the report share."""

    evaluation: Evaluation
    curves: Sequence[LearningCurve] = ()
    unreadable: dict[str, Skipped] = field(default_factory=dict)  # clips that could not be read again, by path

    @cached_property
    def recipes(self) -> tuple[str, ...]:
        """The names of the recipes in the order of the results; the index of a recipe determines its colour."""
        return self.evaluation.recipes

    @cached_property
    def by_protocol(self) -> dict[str, list[Result]]:
        """The results of each protocol, in order."""
        return {
            name: [one for one in self.evaluation.results if one.protocol == name] for name in self.evaluation.protocols
        }

    @property
    def main_protocol(self) -> str:
        """The protocol of the headline score: one that keeps recordings apart if there is one. Requires results."""
        return most_trusted(self.by_protocol)

    @cached_property
    def first_of_recipe(self) -> list[Result]:
        """One result of each recipe, for data that do not depend on the protocol."""
        return [next(one for one in self.evaluation.results if one.recipe.name == name) for name in self.recipes]

    @cached_property
    def image_minus_mel(self) -> list[Comparison]:
        """The comparisons that test the notebook's claim, an image recipe minus a mel recipe, one per protocol."""
        kinds = {result.recipe.name: result.recipe.representation.name for result in self.evaluation.results}
        fitting = [
            one for one in self.evaluation.comparisons if [kinds[name] for name in one.recipes] == ["image", "mel"]
        ]
        return list({one.protocol: one for one in reversed(fitting)}.values())[::-1]

    @property
    def is_notebook_comparison(self) -> bool:
        """Whether only image and mel recipes were compared, as in the notebook."""
        kinds = {result.recipe.representation.name for result in self.evaluation.results}
        return bool(self.image_minus_mel) and kinds == {"image", "mel"}

    @cached_property
    def with_epochs(self) -> frozenset[str]:
        """The recipes that were trained in epochs and so have training curves."""
        return frozenset(one.recipe.name for one in self.evaluation.results if any(fold.history for fold in one.folds))

    def colours(self, results: list[Result]) -> list[str]:
        """Return the colour of each result's recipe in figures."""
        return [figures.recipe_colour(self.recipes.index(result.recipe.name)) for result in results]

    def badge(self, recipe: str) -> Html:
        """Render the name of a recipe with a dot in its colour."""
        return element("span", element("i", class_=f"dot recipe-{self.colour_index(recipe)}"), recipe, class_="badge")

    def colour_index(self, recipe: str) -> int:
        """Return the index of a recipe's colour in the style sheet."""
        return self.recipes.index(recipe) % len(figures.RECIPES)

    def legend(self, *extra: object, only: Collection[str] | None = None) -> Html:
        """Render a legend with all recipes, or ``only`` some, and ``extra`` entries."""
        parts = [self.badge(name) for name in self.recipes if only is None or name in only]
        return element("p", *parts, *(element("span", one, class_="key") for one in extra), class_="legend")

    def read(self, clip: Clip) -> Sound | None:
        """Read at most ``LONGEST_S`` of a clip at its file's sample rate; record it and return None if unreadable."""
        latest_s = clip.start_s + LONGEST_S
        try:
            end_s = audio.info(clip.path).duration_s if clip.stop_s is None else clip.stop_s
            return audio.read(clip.path, start_s=clip.start_s, stop_s=latest_s if end_s > latest_s else clip.stop_s)
        except AudioError as error:
            self.add_unreadable(clip, error)
            return None

    def add_unreadable(self, clip: Clip, error: AudioError) -> None:
        """Record a clip that cannot be read or drawn, to be listed in the report."""
        self.unreadable[str(clip.path)] = Skipped(self.evaluation.dataset.relative_path(clip), str(error))

    @cached_property
    def skipped_paths(self) -> frozenset[str]:
        """The paths of the clips whose features could not be computed."""
        absent = set(self.evaluation.dataset.skipped)
        return frozenset(one.path for one in self.evaluation.skipped if one not in absent)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of each training."""
        return self.evaluation.results[0].seeds if self.evaluation.results else ()

    @property
    def over_seeds(self) -> str:
        """Text to add to a score that is a mean over seeds; "" with one seed."""
        return f", mean of {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""

    @property
    def task(self) -> Task:
        """The task, single-label or multi-label."""
        return Task.of(self.evaluation.dataset.multi_label)

    @cached_property
    def unit(self) -> str:
        """The unit of intervals and tests: recordings if known, else files if some have several clips, else clips."""
        data = self.evaluation.dataset
        if data.sources_known:
            return "recordings"
        return "clips" if count_recordings(data) == len(data.clips) else "files"

    def origin_of(self, result: Result) -> str:
        """Text to add to the number of test clips of a result; see ``origin``."""
        return self.origin(count_recordings(self.evaluation.dataset, result.test))

    def origin(self, n: int) -> str:
        """Text to add to a number of test clips from ``n`` units; "" if the unit is the clip."""
        return "" if self.unit == "clips" else f" from {count(n)} {self.unit}"

    def n_pairs(self, protocol: str) -> int:
        """Count the pairs of recipes under a protocol."""
        return comb(len(self.by_protocol[protocol]), 2)

    def difference(self, protocol: str, first: str, second: str) -> PairedDifference | None:
        """Return the paired difference ``first`` minus ``second`` of two recipes; None if they were not compared."""
        found = {one.recipes: one.difference for one in self.evaluation.comparisons if one.protocol == protocol}
        if (first, second) in found:
            return found[first, second]
        return reverse(found[second, first]) if (second, first) in found else None

    def verdict(self, protocol: str, first: str, second: str) -> str | None:
        """Return the verdict on two recipes in words; None if they were not compared."""
        for one in self.evaluation.comparisons:
            if one.protocol == protocol and set(one.recipes) == {first, second}:
                return one.verdict.in_words(*one.recipes)
        return None

    @cached_property
    def sample_rates(self) -> str:
        """The sample rates of the tested clips' files as text, most frequent first."""
        return _rates_text(self.evaluation.sample_rates)


def _rates_text(found: Counter[int]) -> str:
    """List the sample rates with their numbers of files: the three most frequent, and the number of others."""
    if len(found) <= 1:
        return f"{count(next(iter(found)))} Hz" if found else "unknown (the files can no longer be read)"
    shown = [f"{count(rate)} Hz ({count(files)} files)" for rate, files in found.most_common(3)]
    others = len(found) - len(shown)
    return listed([*shown, f"{others} other rate{'s' if others > 1 else ''}"] if others else shown)
