"""JSON of Whombat (AOEF, the format of soundevent): recordings, sound events with a geometry, and their tags.

Source: soundevent 2, ``soundevent.io.aoef``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from soundmark.datasets.layouts.annotations.annotation import Annotation, LabelFile
from soundmark.runtime.checks import is_finite, parse_json

MAX_VALUES = 1 << 22  # of the JSON: each takes up to 64 bytes of memory more than in the file


def matches(text: LabelFile) -> bool:
    """Return whether the text is a JSON object that contains recordings.

    >>> from pathlib import Path
    >>> matches(LabelFile(Path("project.json"), '{"version": "1.1.0", "data": {"recordings": []}}'))
    True
    """
    start = text.text.lstrip()[:1]
    return start == "{" and '"recordings"' in text.text and '"data"' in text.text[:10_000]


def read(text: LabelFile) -> list[Annotation]:
    """Read the annotated sound events, and the tags of clips. The labels are the tags with the most frequent key.

    Raises:
        DatasetError: it is not valid JSON, or not of this format, or it has too many values.

    >>> from pathlib import Path
    >>> read(LabelFile(Path("project.json"), '{"data": {"recordings": []}}'))
    []
    """
    if sum(map(text.text.count, ",[{")) > MAX_VALUES:
        raise text.error(1, f"it has more than {MAX_VALUES:,} values: divide it into several files")
    try:
        data = parse_json(text.text)["data"]
        recordings = {one["uuid"]: str(one["path"]) for one in data["recordings"]}
        tags = {one["id"]: (_key(one), str(one["value"])) for one in data.get("tags") or ()}
        found = [*_events(data, recordings, tags), *_clips(data, recordings, tags)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise text.error(1, f"it is not a valid file of Whombat ({type(error).__name__}: {error})") from error
    keys = Counter(key for *_, named in found for key, _ in named)
    chosen = keys.most_common(1)[0][0] if keys else None
    annotations = []
    for row, (path, start_s, stop_s, named) in enumerate(found, 1):
        labels = text.labels(row, [value for key, value in named if key == chosen])
        if labels and stop_s > start_s >= 0:
            annotations.append(Annotation(row=row, labels=labels, file=path, start_s=start_s, stop_s=stop_s))
    return annotations


_Found = tuple[str, float, float, list[tuple[str, str]]]


def _events(data: dict[str, Any], recordings: dict[str, str], tags: dict[Any, tuple[str, str]]) -> Iterator[_Found]:
    events = {one["uuid"]: one for one in data.get("sound_events") or ()}
    for annotation in data.get("sound_event_annotations") or ():
        event = events[annotation["sound_event"]]
        times = list(_times(event["geometry"]["type"], event["geometry"]["coordinates"]))
        named = [tags[tag] for tag in annotation.get("tags") or ()]
        yield recordings[event["recording"]], min(times), max(times), named


def _clips(data: dict[str, Any], recordings: dict[str, str], tags: dict[Any, tuple[str, str]]) -> Iterator[_Found]:
    clips = {one["uuid"]: one for one in data.get("clips") or ()}
    for annotation in data.get("clip_annotations") or ():
        clip = clips[annotation["clip"]]
        named = [tags[tag] for tag in annotation.get("tags") or ()]
        yield recordings[clip["recording"]], float(clip["start_time"]), float(clip["end_time"]), named


def _key(tag: dict[str, Any]) -> str:
    return str(tag.get("key") or tag.get("term") or "")


def _times(kind: str, coordinates: Any) -> Iterator[float]:
    """Yield the times of a geometry; coordinates are pairs of time and frequency, or a box of two of them."""
    if kind == "TimeStamp":
        values = [coordinates]
    elif kind == "TimeInterval":
        values = list(coordinates)
    elif kind == "BoundingBox":
        values = [coordinates[0], coordinates[2]]
    elif kind == "Point":
        values = [coordinates[0]]
    else:  # lists of points, or lists of such lists
        values = [point[0] for point in _points(coordinates)]
    for value in values:
        if not is_finite(value):
            raise ValueError(f"{value!r} is not a time")
        yield float(value)


def _points(coordinates: Any, depth: int = 4) -> Iterator[Any]:
    if depth and isinstance(coordinates[0], list):
        for part in coordinates:
            yield from _points(part, depth - 1)
    else:
        yield coordinates
