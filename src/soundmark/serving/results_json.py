"""Read results as ``classify --format json`` writes them, from a client: every value is checked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NoReturn

from soundmark.audio import timestamps
from soundmark.detection.file_result import FileResult
from soundmark.models.events import Event
from soundmark.serving.http.problems import Problem

MOST_S = 1e9  # 31 years: no recording is longer


MOST_DB = 1e3


def results_of(body: bytes) -> list[FileResult]:
    """Read a list of results.

    Raises:
        Problem: the body is not such a list.

    >>> results_of(b'[{"file": "a.wav", "duration_s": 4.0, "classes": [], "events": []}]')[0].file
    'a.wav'
    """
    try:
        content = json.loads(body, parse_constant=_refuse)
        if not isinstance(content, list):
            raise TypeError
        return [_result(one) for one in content]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Problem(400, "the body is not a list of results as POST /v1/classify returns it.") from error


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(constant)


def _result(one: dict[str, Any]) -> FileResult:
    return FileResult(
        file=_text(one["file"]),
        duration_s=_number(one["duration_s"], 0, MOST_S),
        answer=[_class(entry) for entry in one["classes"]],
        events=[_event(event) for event in one["events"]],
        started=_time(one["began"]) if "began" in one else None,
        note=_text(one["note"]) if "note" in one else None,
    )


def _class(entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"label": _text(entry["label"]), "score": _number(entry["score"], 0, 1)}
    return found | ({"present": bool(entry["present"])} if "present" in entry else {})


def _event(event: dict[str, Any]) -> Event:
    times = {name: _number(event[name], 0, MOST_S) for name in ("start_s", "stop_s")}
    shares = {name: _number(event[name], 0, 1) for name in ("confidence", "peak")}
    levels = {name: _number(event[name], -MOST_DB, MOST_DB) for name in ("level_dbfs", "level_dba") if name in event}
    return Event(label=_text(event["label"]), **times, **shares, **levels)


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(value)
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _time(value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    if found.year not in timestamps.YEARS:
        raise ValueError(value)
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
