"""An ``Evaluation`` as the page looks at it: results by protocol, one colour for each recipe, clips read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from soundmark import audio
from soundmark.datasets import Clip, Skipped
from soundmark.errors import AudioError
from soundmark.evaluation.report import figures
from soundmark.evaluation.report.markup import Html, element
from soundmark.metrics.task import Task
from soundmark.runtime.text import count, listed

if TYPE_CHECKING:
    from soundmark.audio import Sound
    from soundmark.evaluation.results import Comparison, Evaluation, Result


LONGEST_S = 10.0  # of a clip that is drawn or played


@dataclass
class View:
    """What the sections of the page share."""

    evaluation: Evaluation
    unread: dict[str, Skipped] = field(default_factory=dict)  # clips that could not be read for drawing, by path

    @cached_property
    def recipes(self) -> tuple[str, ...]:
        """The recipes' names in the order of the results, each once: their place is their colour."""
        return tuple(dict.fromkeys(result.recipe.name for result in self.evaluation.results))

    @cached_property
    def by_protocol(self) -> dict[str, list[Result]]:
        """The results of each protocol, in order."""
        protocols = dict.fromkeys(result.protocol for result in self.evaluation.results)
        return {name: [one for one in self.evaluation.results if one.protocol == name] for name in protocols}

    @cached_property
    def first_of_recipe(self) -> list[Result]:
        """One result of each recipe, for what does not depend on the protocol."""
        return [next(one for one in self.evaluation.results if one.recipe.name == name) for name in self.recipes]

    @cached_property
    def image_minus_mel(self) -> list[Comparison]:
        """The comparisons that the notebook's claim is about: the notebook's image recipe minus its mel recipe."""
        kinds = {result.recipe.name: result.recipe.representation.name for result in self.evaluation.results}
        fitting = [
            one for one in self.evaluation.comparisons if [kinds[name] for name in one.recipes] == ["image", "mel"]
        ]
        return list({one.protocol: one for one in reversed(fitting)}.values())[::-1]

    @property
    def is_the_notebooks(self) -> bool:
        """Whether the notebook's claim is all that this is about: images and numbers, and nothing of another kind."""
        kinds = {result.recipe.representation.name for result in self.evaluation.results}
        return bool(self.image_minus_mel) and kinds == {"image", "mel"}

    @cached_property
    def with_epochs(self) -> frozenset[str]:
        """The recipes that were trained in epochs, of which there are curves."""
        return frozenset(one.recipe.name for one in self.evaluation.results if any(fold.history for fold in one.folds))

    def colours(self, results: list[Result]) -> list[str]:
        """The drawing colour of each result's recipe."""
        return [figures.recipe_colour(self.recipes.index(result.recipe.name)) for result in results]

    def badge(self, recipe: str) -> Html:
        """The recipe's name beside its colour."""
        index = self.recipes.index(recipe) % len(figures.RECIPES)
        return element("span", element("i", class_=f"dot recipe-{index}"), recipe, class_="badge")

    def legend(self, *extra: object, only: Collection[str] | None = None) -> Html:
        """The recipes' colours, of all or ``only`` some, and what else the drawings beside it use."""
        parts = [self.badge(name) for name in self.recipes if only is None or name in only]
        return element("p", *parts, *(element("span", one, class_="key") for one in extra), class_="legend")

    def read(self, clip: Clip) -> Sound | None:
        """The clip's sound at its file's own rate, at most ``LONGEST_S`` of it; None, and noted, if unreadable."""
        latest_s = clip.start_s + LONGEST_S
        try:
            end_s = audio.info(clip.path).duration_s if clip.stop_s is None else clip.stop_s
            return audio.read(clip.path, start_s=clip.start_s, stop_s=latest_s if end_s > latest_s else clip.stop_s)
        except AudioError as error:
            self.cannot_show(clip, error)
            return None

    def cannot_show(self, clip: Clip, error: AudioError) -> None:
        """Note a clip that cannot be read or drawn, for the page to name it."""
        self.unread[str(clip.path)] = Skipped(self.evaluation.dataset.relative_path(clip), str(error))

    @cached_property
    def unscored(self) -> frozenset[str]:
        """The paths of the clips that the features left out: whatever is wrong with them was said there."""
        absent = set(self.evaluation.dataset.skipped)
        return frozenset(one.path for one in self.evaluation.skipped if one not in absent)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that each training was made with."""
        return self.evaluation.results[0].seeds if self.evaluation.results else ()

    @property
    def over_seeds(self) -> str:
        """What is said of a figure that is a mean over seeds; "" where there is one seed."""
        return f", the mean of {len(self.seeds)} seeds" if len(self.seeds) > 1 else ""

    @property
    def task(self) -> Task:
        """Single-label or multi-label, with everything that differs between them."""
        return Task.of(self.evaluation.dataset.multi_label)

    @property
    def unit(self) -> str:
        """What intervals and tests count: recordings where they are known, else clips, or files of several clips."""
        data = self.evaluation.dataset
        if data.sources_known:
            return "recordings"
        return "clips" if len(set(data.sources.tolist())) == len(data.clips) else "files"

    @cached_property
    def rates(self) -> str:
        """The sample rates of the tested clips' files, commonest first, in words."""
        clips = self.evaluation.dataset.clips
        tested = {clips[i].path for result in self.evaluation.results for i in result.test}
        found: Counter[int] = Counter()
        for path in sorted(tested):
            try:
                found[audio.info(path).rate_hz] += 1
            except AudioError:
                continue  # it was readable when it was scored; the page says what it can
        return _rates_in_words(found)


def _rates_in_words(found: Counter[int]) -> str:
    """The rates of so many files each: all of them where they are few, the commonest three otherwise."""
    if len(found) <= 1:
        return f"{count(next(iter(found)))} Hz" if found else "sample rates that can no longer be read"
    shown = [f"{count(rate)} Hz ({count(files)} files)" for rate, files in found.most_common(3)]
    others = len(found) - len(shown)
    return listed([*shown, f"{others} other rate{'s' if others > 1 else ''}"] if others else shown)
