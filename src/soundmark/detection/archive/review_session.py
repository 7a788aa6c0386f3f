"""``Review``: the decisions of reviewers about windows of an index and one class, in memory or in a folder on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundmark.datasets.dataset import SEPARATOR, split_label
from soundmark.datasets.layouts.corrections import UNDO, WITH_LABEL, Correction, standing
from soundmark.detection.archive import review
from soundmark.detection.archive.corrections import Corrections, source_name
from soundmark.detection.archive.review import PrecisionCurve
from soundmark.errors import AudioError, SettingsError, unknown_name
from soundmark.runtime.checks import is_count, is_url
from soundmark.runtime.text import counted

if TYPE_CHECKING:
    from soundmark.detection.archive.index import FoundWindow, FoundWindows, Index

ANSWERS = {"yes": True, "no": False, "label": False, "none": False, "skip": None}
"""The decisions of a review, and whether the window contains its class; None: the reviewer cannot say."""


@dataclass(frozen=True)
class Decision:
    """What was decided about the window ``number``; ``label`` is the other class, of the decision "label".

    >>> Decision(3, "label", "dog").contains
    False
    """

    number: int
    decision: str
    label: str = ""
    ids: tuple[str, ...] = ()  # of its rows in the corrections

    @property
    def contains(self) -> bool | None:
        """Whether the window contains the class that was asked about; None: unknown."""
        return ANSWERS[self.decision]


class Review:
    """Reviews of one class in an index: ``next`` windows, ``answer`` each, read ``curve`` and ``safe_threshold``.

    With ``corrections``, the decisions are those on disk, of all reviewers; the latest one about a window counts. So a
    review goes on where an earlier process ended, even if it was killed.
    """

    def __init__(
        self,
        index: Index,
        label: str,
        *,
        wanted: float,
        seed: int,
        corrections: Corrections | None = None,
        reviewer: str = "",
    ) -> None:
        self.label, self.wanted, self.reviewer = label, wanted, reviewer
        self._index, self._seed, self._corrections = index, seed, corrections
        self._scores = index.scores(label)
        self._bins = review.binned(self._scores)
        self._returned: dict[FoundWindow, int] = {}  # by ``next``, with their numbers
        self._made: dict[int, Decision] = {}  # by number of the window, the latest last
        self._sources: dict[str, str] = {}  # by path
        self._seen = -1  # rows of the corrections

    @property
    def decisions(self) -> list[Decision]:
        """The decisions that count, in the order in which they were made."""
        self._refresh()
        return list(self._made.values())

    def next(self, n: int = 1) -> FoundWindows:
        """Return up to ``n`` windows to review next; fewer if only few are left.

        Raises:
            SettingsError: ``n`` is not a whole number above 0.
        """
        if not is_count(n):
            raise SettingsError(f"n is {n!r}: expected a whole number of windows, at least 1.")
        chosen = self._chosen(self.decisions, n)
        found = self._index.windows(chosen, self.label)
        self._returned.update(zip(found, chosen.tolist(), strict=True))
        return found

    def upcoming(self) -> list[int]:
        """Return the numbers of the windows to review next, the same until they are decided; none if all are.

        The first ``EVENLY`` windows are chosen at once, then ``STEP`` at a time.
        """
        decisions = self.decisions
        decided = {each.number for each in decisions}
        answered = [each for each in decisions if each.contains is not None]
        beyond = len(answered) - review.EVENLY
        n, base = (review.STEP, len(answered) - beyond % review.STEP) if beyond >= 0 else (review.EVENLY, 0)
        chosen = [number for number in self._chosen(answered[:base], n).tolist() if number not in decided]
        return chosen or self._chosen(decisions, review.STEP).tolist()

    def _chosen(self, decisions: Iterable[Decision], n: int) -> NDArray[np.int64]:
        decisions = list(decisions)
        skipped = np.array([each.number for each in decisions if each.contains is None], np.int64)
        return review.next_windows(
            self._scores,
            *_answered(decisions),
            n,
            wanted=self.wanted,
            seed=self._seed,
            skipped=skipped,
            bins=self._bins,
        )

    def answer(self, window: FoundWindow, *, contains: bool) -> None:
        """Record whether a window contains the class; a later answer replaces an earlier one.

        Raises:
            SettingsError: ``next`` did not return this window.
        """
        if window not in self._returned:
            raise SettingsError(f'"{window.file}" at {window.start_s:g} s was not returned by next: answer those only.')
        self.decide(self._returned[window], "yes" if contains else "no")

    def decide(self, number: int, decision: str, label: str = "") -> None:
        """Record a decision about the window ``number``; a later one replaces an earlier one.

        ``decision`` is "yes"; "no"; "label", another class, given as ``label``; "none" of the classes; or "skip".

        Raises:
            SettingsError: there is no such window or decision, or the label is missing or that of this review.
            AudioError: the recording cannot be read, of which a clip is cut out.
            OutputError: the corrections cannot be written, or their clips would exceed the limit.
        """
        self._refresh()
        if decision not in ANSWERS:
            raise unknown_name("decision", decision, ANSWERS)
        if not 0 <= number < len(self._index):
            raise SettingsError(f"there is no window {number}: the index has {counted(len(self._index), 'window')}.")
        if (decision == "label") != bool(label) or label == self.label:
            raise SettingsError('give another class with the decision "label", and with no other decision.')
        made = Decision(number, decision, label, self._record(number, decision, label))
        self._made.pop(number, None)
        self._made[number] = made

    def undo(self, number: int | None = None) -> int | None:
        """Undo the last decision, or that about the window ``number``; return the number, or None: there is none.

        Raises:
            OutputError: the corrections cannot be written.
        """
        self._refresh()
        if number is None:
            number = next(reversed(self._made), None)
        if number is None or number not in self._made:
            return None
        if self._corrections:
            for row in self._made[number].ids:
                self._corrections.undo(row, reviewer=self.reviewer)
            self._seen = -1  # an earlier decision about the window counts again
        else:
            del self._made[number]
        return number

    @property
    def curve(self) -> PrecisionCurve:
        """The precision by threshold, with intervals."""
        answered = _answered(self.decisions)
        return review.precision_curve(self._scores, *answered, wanted=self.wanted, bins=self._bins)

    @property
    def safe_threshold(self) -> float | None:
        """The lowest threshold whose precision is the wanted one with a probability of 90 %; None: none yet."""
        return self.curve.safe_threshold

    @property
    def needed(self) -> int | None:
        """About how many more reviews a safe threshold needs: see ``review.reviews_needed``."""
        answered = _answered(self.decisions)
        return review.reviews_needed(self._scores, *answered, wanted=self.wanted, bins=self._bins)

    # --- The corrections on disk ---

    def _record(self, number: int, decision: str, label: str) -> tuple[str, ...]:
        """Append a decision to the corrections; return the ids of its rows."""
        if self._corrections is None:
            return ()
        (window,) = self._index.windows([number], self.label)
        about = {
            "score": window.score,
            "model": self._index.model_digest,
            "reviewer": self.reviewer,
            "source": self._source_of(window.file),
        }
        section = (window.file, window.start_s, window.stop_s)
        if decision == "label":  # two facts: this class is absent, another one is present
            rows = [
                self._corrections.add(*section, decision="no", asked=self.label, **about),
                self._corrections.add(*section, decision="label", label=self._with_others(window, label), **about),
            ]
        else:
            labels = self._with_others(window, self.label) if decision == "yes" else ""
            rows = [self._corrections.add(*section, decision=decision, label=labels, asked=self.label, **about)]
        self._seen += len(rows)
        return tuple(row.id for row in rows)
