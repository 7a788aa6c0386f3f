"""What the summaries of single-label and multi-label scores have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from soundmark.metrics.intervals import Headline, Integers


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a summary and how it is written: a share as a percentage, another with three digits."""

    name: str
    value: float
    is_share: bool


@dataclass(frozen=True, kw_only=True)
class ClassColumn:
    """A column of a table of classes: its heading, and the field of the scores of one class."""

    name: str
    field: str
    is_share: bool  # written as a percentage where the other shares are

    def value(self, scores: ClassFigures) -> float:
        """The number in this column of the row for ``scores``."""
        return float(getattr(scores, self.field))


class ClassFigures(Protocol):
    """The scores of one class that every summary has."""

    @property
    def label(self) -> str:
        """The class."""

    @property
    def precision(self) -> float:
        """Share of the clips predicted as this class that are of it."""

    @property
    def recall(self) -> float:
        """Share of the clips of this class that were predicted as it."""

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""

    @property
    def support(self) -> int:
        """Test clips of this class."""


class ScoreSummary(ABC):
    """All scores of one classifier on one set of test clips."""

    class_columns: ClassVar[tuple[ClassColumn, ...]] = ()  # beside precision, recall and F1

    n: int  # test clips
    macro_f1: float
    log_loss: float
    ece: float

    @property
    @abstractmethod
    def headline(self) -> Headline:
        """The figure that a classifier is judged by."""

    @property
    @abstractmethod
    def second_figure(self) -> Figure:
        """A figure that only summaries of this kind have."""

    @property
    @abstractmethod
    def class_figures(self) -> Sequence[ClassFigures]:
        """The scores of each class, in class order."""

    @property
    def by_salience(self) -> dict[str, dict[str, Any]]:
        """``n`` and ``accuracy`` of the clips in the foreground and in the background; empty where unknown."""
        return {}

    @property
    def confusion_matrix(self) -> Integers | None:
        """How often each class was called each class, int64 [true, predicted]; None where there is no such thing."""
        return None

    @abstractmethod
    def brief(self) -> dict[str, Any]:
        """The scores for a model's card."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All scores, under the keys of ``metrics.json``."""

    @abstractmethod
    def per_clip(self, n_answers: int) -> Self:
        """The summary with counts of clips, where each clip was answered ``n_answers`` times (once per seed)."""
