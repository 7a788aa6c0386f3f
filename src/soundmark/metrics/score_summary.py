"""The common interface of single-label and multi-label score summaries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from soundmark.metrics.intervals import Headline, Integers


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of a summary and its number format."""

    name: str
    value: float
    is_share: bool  # a fraction, printed as a percentage; otherwise printed with three digits


@dataclass(frozen=True, kw_only=True)
class ClassColumn:
    """A column of the table of classes: its heading and the field of the class scores that it shows."""

    name: str
    field: str
    is_share: bool  # a fraction, printed as a percentage like the other fractions of the table

    def value(self, scores: ClassFigures) -> float:
        """Return the value of this column for the scores of a class."""
        return float(getattr(scores, self.field))


class ClassFigures(Protocol):
    """The scores of one class that are common to all summaries."""

    @property
    def label(self) -> str:
        """Name of the class."""

    @property
    def precision(self) -> float:
        """Fraction of the clips predicted as this class that belong to it."""

    @property
    def recall(self) -> float:
        """Fraction of the clips of this class that were predicted as it."""

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""

    @property
    def support(self) -> int:
        """Number of test clips of this class."""


class ScoreSummary(ABC):
    """All scores of one classifier on one set of test clips."""

    class_columns: ClassVar[tuple[ClassColumn, ...]] = ()  # in addition to precision, recall and F1

    n: int  # number of test clips
    macro_f1: float
    log_loss: float
    ece: float

    @property
    @abstractmethod
    def headline(self) -> Headline:
        """The main metric of the classifier."""

    @property
    @abstractmethod
    def second_figure(self) -> Figure:
        """An additional metric that is specific to the kind of data."""

    @property
    @abstractmethod
    def class_figures(self) -> Sequence[ClassFigures]:
        """The scores of each class, in class order."""

    @property
    def by_salience(self) -> dict[str, dict[str, Any]]:
        """``n`` and ``accuracy`` of the clips with foreground and background salience; empty if it is unknown."""
        return {}

    @property
    def confusion_matrix(self) -> Integers | None:
        """The confusion matrix, int64 [true, predicted]; None for multi-label data."""
        return None

    @abstractmethod
    def brief(self) -> dict[str, Any]:
        """Return the main scores, for a model card."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return all scores with the keys of ``metrics.json``."""

    @abstractmethod
    def per_clip(self, n_answers: int) -> Self:
        """Return the summary with counts of clips instead of predictions (``n_answers`` per clip, one per seed)."""
