"""Files and folders to what is heard in each, as rows for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from soundmark import audio
from soundmark.datasets import SUFFIXES, UNREAD
from soundmark.datasets.folders import entries
from soundmark.errors import AudioError, SettingsError
from soundmark.prediction import Model

Answer = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Classified:
    """Per file the classes, best first, as ``{"label", "score"}``; and the files that could not be read, with why.

    A sound that is none of the classes has the label ``unknown`` before them, with how surely it is none. Where each
    class is there or not by itself (``tells_present``), ``"present"`` says whether it is. ``notes`` has a sentence for
    each file that was cut off and heard as far as it goes.
    """

    answers: Mapping[str, Answer]
    failures: Mapping[str, str]
    notes: Mapping[str, str]
    tells_present: bool = False
    unknown: str | None = None  # as ``Model.unknown``; None: no answer says it

    def to_json(self) -> str:
        """A list with an object per file: ``file`` and ``classes``, or ``file`` and ``error``; ``note``, if any."""
        rows: list[dict[str, Any]] = [
            {"file": name, "classes": list(answer)} | ({"note": self.notes[name]} if name in self.notes else {})
            for name, answer in self.answers.items()
        ]
        rows += [{"file": name, "error": reason} for name, reason in self.failures.items()]
        text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        # A name that is not UTF-8 has no other form in JSON than that of its escaped halves of characters.
        return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)

    def to_csv(self) -> str:
        """A line per file and class: file, rank, label, score; and one per file that could not be read, with error.

        ``note`` stands where the file was cut off and heard as far as it goes; ``present``, 1 or 0, behind the score
        where each class is there or not by itself.
        """
        extra = ["present"] if self.tells_present else []
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "rank", "label", "score", *extra, "error", "note"])
        for name, answer in self.answers.items():
            writer.writerows(
                [
                    name,
                    rank,
                    entry["label"],
                    f"{entry['score']:.6g}",
                    *(int(entry[key]) for key in extra),
                    "",
                    self.notes.get(name, ""),
                ]
                for rank, entry in enumerate(answer, 1)
            )
        writer.writerows([name, "", "", "", *([""] * len(extra)), reason, ""] for name, reason in self.failures.items())
        return text.getvalue()


def classify(model: Model, inputs: Sequence[str | PathLike[str]], *, top_k: int, unknown: bool = True) -> Classified:
    """What ``model`` hears in each file of ``inputs`` and below each folder; one that cannot be read stops no other.

    A model with sigmoid outputs says of each class whether it is there, and names all that are, also beyond ``top_k``.
    ``unknown`` is as in ``Model.classify``.

    Raises:
        SettingsError: an input is the empty string, which would mean the current folder.

    >>> found = classify(model, [city.clips[0].path, folder / "none.wav"], top_k=2)
    >>> [len(answer) for answer in found.answers.values()], list(found.failures) == [str(folder / "none.wav")]
    ([2], True)
    """
    if "" in inputs:
        raise SettingsError('an input is "": give the path of a sound file or folder; the current folder is ".".')
    answers: dict[str, Answer] = {}
    failures: dict[str, str] = {}
    notes: dict[str, str] = {}
    for path in _files([Path(path) for path in inputs], failures):
        name = str(path)
        try:
            sound = audio.read(path)
            answers[name] = _answer(model, sound, top_k, unknown)
        except AudioError as error:
            failures[name] = str(error) if name in str(error) else f'"{name}": {error}'
        else:
            if sound.note:
                notes[name] = audio.shortened(name, sound.note)
    return Classified(
        answers,
        failures,
        notes,
        tells_present=model.thresholds is not None,
        unknown=model.unknown if unknown else None,
    )


def _answer(model: Model, sound: audio.Sound, top_k: int, unknown: bool) -> Answer:
    if model.thresholds is None:
        return model.classify(sound, top_k=top_k, unknown=unknown)
    least: dict[str | None, float] = dict(zip(model.classes, model.thresholds.tolist(), strict=True))
    least[model.unknown] = 0.0  # where it is said, it is meant; and it counts for none of the ``top_k``
    answer = model.classify(sound, unknown=unknown)
    told = [entry | {"present": entry["score"] >= least[entry["label"]]} for entry in answer]
    top_k += bool(answer) and answer[0]["label"] == model.unknown
    return [entry for place, entry in enumerate(told) if place < top_k or entry["present"]]


def _files(inputs: Sequence[Path], failures: dict[str, str]) -> Iterator[Path]:
    for path in inputs:
        if _is_folder(path):
            yield from _sounds_below(path, failures)
        else:
            yield path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # reading it will say so
        return False


def _sounds_below(folder: Path, failures: dict[str, str]) -> Iterator[Path]:
    """The sound files below a folder, by name; what cannot be looked into, or is in no format that is read, fails."""
    count = len(failures)

    def unreadable(place: str, error: OSError) -> None:
        failures[place] = f'the folder "{place}" cannot be read: {error.strerror}. Look at its permissions.'

    found = [folder.joinpath(*parts) for parts, is_inner in entries(str(folder), unreadable=unreadable) if not is_inner]
    sounds = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
    for path in sorted(path for path in found if path.suffix.lower() in UNREAD):
        failures[str(path)] = f'"{path}": {path.suffix} files cannot be read: convert it to WAV or FLAC.'
    if not sounds and len(failures) == count:
        failures[str(folder)] = f'the folder "{folder}" has no sound files ({", ".join(SUFFIXES)}) in it.'
    yield from sounds
