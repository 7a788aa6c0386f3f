"""Reviews of the classes of archives: their state as JSON values, decisions, and the threshold that they lead to.

All reviewers work on the same decisions: those in the corrections, which also remain if the server is killed.
"""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime
from typing import Any

import numpy as np

from soundmark.detection.archive.corrections import Corrections
from soundmark.detection.archive.review import PrecisionCurve
from soundmark.detection.archive.review_session import Review
from soundmark.detection.settings import check_share
from soundmark.metrics.intervals import finite_or_none
from soundmark.runtime.text import counted
from soundmark.serving.archives import Archive
from soundmark.serving.thresholds import Thresholds

UPCOMING = 5  # windows that a client may load in advance


SHOWN = 200  # latest decisions, which a client lists


MOST_SESSIONS = 64  # kept in memory; another is read from the corrections again


class Reviews:
    """The reviews of one server; its methods are called from several threads."""

    def __init__(self, corrections: Corrections | None, thresholds: Thresholds) -> None:
        self._corrections, self._thresholds = corrections, thresholds
        self._sessions: dict[tuple[str, str], Review] = {}
        self._lock = threading.Lock()

    def state(self, archive: Archive, label: str, *, wanted: float) -> dict[str, Any]:
        """Return the state of a review, as JSON values.

        Raises:
            SettingsError: there is no such class, or ``wanted`` is not between 0 and 1.
        """
        with self._lock:
            return self._state(archive, self._session(archive, label, wanted))

    def decide(
        self,
        archive: Archive,
        label: str,
        *,
        wanted: float,
        window: int,
        decision: str,
        other: str = "",
        reviewer: str = "",
    ) -> dict[str, Any]:
        """Record a decision about a window, or undo it; return the state of the review afterwards.

        ``decision`` is one of ``review_session.ANSWERS``, with the class ``other`` of the decision "label"; or "undo".

        Raises:
            SettingsError, AudioError, OutputError: see ``Review.decide``.
        """
        with self._lock:
            session = self._session(archive, label, wanted)
            session.reviewer = reviewer
            if decision == "undo":
                session.undo(window)
            else:
                session.decide(window, decision, other)
            return self._state(archive, session)

    def use(self, archive: Archive, label: str, threshold: float, *, wanted: float, model: bool) -> dict[str, Any]:
        """Write a threshold into the file of thresholds, and with ``model`` a copy of the model that has all of them.

        Raises:
            SettingsError: the threshold is not from 0 to 1, or there is no file for it.
            OutputError: a file cannot be written.
        """
        check_share("threshold", threshold)
        with self._lock:
            session = self._session(archive, label, wanted)
            path = self._thresholds.write(label, threshold, comment=evidence(archive.name, session, threshold))
            written = self._thresholds.write_model() if model else None
        return {
            "file": str(path),
            "model": None if written is None else str(written),
            "thresholds": dict(self._thresholds.values),
        }

    def _session(self, archive: Archive, label: str, wanted: float) -> Review:
        """Return the review of a class; of those that are kept on disk, the ones used last are in memory."""
        key = archive.name, label
        found = self._sessions.get(key)
        if found is None or found.wanted != wanted:
            new = archive.index.review(label, wanted=wanted, corrections=self._corrections)
            found = found or new
            found.wanted = wanted
        self._sessions.pop(key, None)
        self._sessions[key] = found  # as the last one
        if self._corrections and len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return found

    def _state(self, archive: Archive, session: Review) -> dict[str, Any]:
        decisions, curve, outlook = session.decisions, session.curve, session.outlook
        answers = [each.contains for each in decisions if each.contains is not None]
        return {
            "archive": archive.name,
            "revision": archive.revision,
            "class": session.label,
            "wanted": session.wanted,
            "reviewed": len(answers),
            "contain": sum(answers),
            "skipped": len(decisions) - len(answers),
            "decisions": [
                {
                    "window": each.number,
                    "decision": each.decision,
                    "label": each.label,
                    "contains": each.contains,
                    "score": session.score_of(each.number),
                }
                for each in decisions[-SHOWN:]
            ],
            "upcoming": session.upcoming()[:UPCOMING],
            "curve": curve_json(curve),
            "safe_threshold": curve.safe_threshold,
            "outlook": {"reviews": outlook.reviews, "chance": round(outlook.chance, 4)},
            "threshold": self._thresholds.values.get(session.label),
            "kept": self._corrections is not None,
        }


def curve_json(curve: PrecisionCurve) -> list[dict[str, float | int | None]]:
    """Return the precision at each threshold, as JSON values: None where it is unknown.

    >>> from soundmark.detection.archive.review import precision_curve
    >>> rows = curve_json(precision_curve(np.linspace(0.3, 0.9, 9), np.array([8]), np.array([True])))
    >>> rows[0]["threshold"], rows[0]["windows"], rows[-1]["windows"], rows[-1]["precision"]
    (0.05, 9, 0, None)
    """
    names = ("precision", "low", "high")
    return [
        {"threshold": round(float(threshold), 6), "windows": int(curve.windows[row])}
        | {name: finite_or_none(getattr(curve, name)[row]) for name in names}
        | {"reached": float(curve.reached[row])}
        for row, threshold in enumerate(curve.thresholds)
    ]


def evidence(name: str, session: Review, threshold: float) -> str:
    """Return what a threshold is based on, as the comment of its line.

    >>> import soundmark as sm
    >>> index = sm.Index.build([clip.path for clip in city.clips[:8]], embedder, folder / "index", quiet=True)
    >>> evidence("street", index.review("siren"), 0.5)
    '0 reviews of "street", ...'
    """
    today, n = datetime.now(UTC).date().isoformat(), sum(each.contains is not None for each in session.decisions)
    what = f'{counted(n, "review")} of "{name}", {today}'
    curve = session.curve
    row = int(np.argmin(np.abs(curve.thresholds - threshold)))
    if not n or abs(curve.thresholds[row] - threshold) > 1e-6 or math.isnan(curve.precision[row]):
        return what
    interval = f"90 % interval {100 * curve.low[row]:.0f} to {100 * curve.high[row]:.0f} %"
    return f"precision {100 * curve.precision[row]:.0f} %, {interval}; {what}"
