"""``Review``: the decisions of reviewers about windows of an index and one class, in memory or in a folder on disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundmark.datasets.dataset import split_label
from soundmark.datasets.layouts.corrections import UNDO, Correction, standing
from soundmark.detection.archive import review
from soundmark.detection.archive.corrections import MAX_CELL_CHARS, Corrections, source_name
from soundmark.detection.archive.review import Outlook, PrecisionCurve
from soundmark.errors import AudioError, SettingsError, as_line, unknown_name
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
    review continues where an earlier process ended, even if it was killed.
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

    def score_of(self, number: int) -> float:
        """Return the score of the class in the window ``number``."""
        return float(self._scores[number])

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
    def outlook(self) -> Outlook:
        """About how many more reviews a safe threshold needs, and how likely it is that there will be one."""
        answered = _answered(self.decisions)
        return review.outlook(self._scores, *answered, wanted=self.wanted, bins=self._bins, seed=self._seed)

    # --- The corrections on disk ---

    def _record(self, number: int, decision: str, label: str) -> tuple[str, ...]:
        """Append a decision to the corrections; return the ids of its rows."""
        if self._corrections is None:
            return ()
        (window,) = self._index.windows([number], self.label)
        about: Any = {
            "score": window.score,
            "model": self._index.model_digest,
            "reviewer": self.reviewer,
            "source": self._source_of(window.file),
        }
        labels: str | list[str] = self._with_others(window, label or self.label) if decision in ("yes", "label") else ""
        row = self._corrections.add(
            window.file, window.start_s, window.stop_s, decision=decision, label=labels, asked=self.label, **about
        )
        self._seen += 1
        return (row.id,)

    def _with_others(self, window: FoundWindow, label: str) -> list[str]:
        """Return a label with those that the reviewer gave the window in reviews of other classes.

        Of a model whose classes exclude each other, the last label counts alone.
        """
        assert self._corrections is not None
        section = (self._source_of(window.file), round(window.start_s, 3), round(window.stop_s, 3))
        others = [
            each
            for each in standing(self._corrections.rows.corrections.values())
            if each.section == section and each.reviewer == self.reviewer and each.asked != self.label
        ]
        labels = [name for each in others if each.decision in ("yes", "label") for name in split_label(each.label)]
        if not labels or not self._is_multi_label:
            return [label]
        return list(dict.fromkeys([*labels, label]))

    @cached_property
    def _is_multi_label(self) -> bool:
        return self._index.model.card.task.has_thresholds

    def _refresh(self) -> None:
        """Read the decisions on disk again, if another process or another tab has added some."""
        if self._corrections is None:
            return
        rows = self._corrections.rows.corrections
        if len(rows) == self._seen:
            return
        undone = {row.undoes for row in rows.values() if row.decision == UNDO}
        self._made, self._seen = {}, len(rows)
        for row in rows.values():
            if row.asked == self.label and row.decision in ANSWERS and row.id not in undone:
                number = self._number_of(row)
                if number is not None:
                    self._made.pop(number, None)
                    label = row.label if row.decision == "label" else ""
                    self._made[number] = Decision(number, row.decision, label, (row.id,))

    def _number_of(self, row: Correction) -> int | None:
        """Return the window of a decision; None if the index does not have it."""
        for path in self._paths_by_name.get(row.source.rpartition(" ")[0], ()):
            try:
                is_same = self._source_of(path) == row.source
            except AudioError:  # the recording is missing
                continue
            number = self._index.number_of(path, row.source_start_s, row.source_end_s) if is_same else None
            if number is not None:
                return number
        return None

    def _source_of(self, path: str) -> str:
        if path not in self._sources:
            self._sources[path] = source_name(path)
        return self._sources[path]

    @cached_property
    def _paths_by_name(self) -> dict[str, list[str]]:
        """The recordings, by the name that their source has in the corrections."""
        found: dict[str, list[str]] = defaultdict(list)
        for recording in self._index.recordings:
            last = (
                recording.path.rstrip("/").rsplit("/", 1)[-1] if is_url(recording.path) else Path(recording.path).name
            )
            found[as_line(last)[:MAX_CELL_CHARS]].append(recording.path)
        return found

    def __repr__(self) -> str:
        numbers, contain = _answered(self.decisions)
        threshold, precision = self.safe_threshold, f"a precision of {100 * self.wanted:g} %"
        end = f"no threshold has {precision} yet" if threshold is None else f"{threshold:g} has {precision}"
        return f"Review({self.label}: {counted(len(numbers), 'window')} reviewed, {contain.sum()} contain it; {end})"


def _answered(decisions: Iterable[Decision]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the numbers of the windows with an answer, and the answers."""
    known = [each for each in decisions if each.contains is not None]
    return np.array([each.number for each in known], np.int64), np.array([each.contains for each in known], bool)
