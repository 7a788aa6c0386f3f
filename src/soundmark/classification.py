"""Files and folders to what is heard in each, as rows for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from soundmark.datasets import SUFFIXES
from soundmark.errors import AudioError, SettingsError
from soundmark.prediction import Model

Answer = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Classified:
    """Per file the classes, best first, as ``{"label", "score"}``; and the files that could not be read, with why."""

    answers: Mapping[str, Answer]
    failures: Mapping[str, str]

    def to_json(self) -> str:
        """A list with an object per file: ``file`` and ``classes``, or ``file`` and ``error``."""
        rows: list[dict[str, Any]] = [{"file": name, "classes": list(answer)} for name, answer in self.answers.items()]
        rows += [{"file": name, "error": reason} for name, reason in self.failures.items()]
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """A line per file and class: file, rank, label, score; and one per file that could not be read, with error."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "rank", "label", "score", "error"])
        for name, answer in self.answers.items():
            writer.writerows(
                [name, rank, entry["label"], f"{entry['score']:.6g}", ""] for rank, entry in enumerate(answer, 1)
            )
        writer.writerows([name, "", "", "", reason] for name, reason in self.failures.items())
        return text.getvalue()


def classify(model: Model, inputs: Sequence[str | PathLike[str]], *, top_k: int) -> Classified:
    """What ``model`` hears in each file of ``inputs`` and below each folder; one that cannot be read stops no other.

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
    for path in _files([Path(path) for path in inputs], failures):
        try:
            answers[str(path)] = model.classify(path, top_k=top_k)
        except AudioError as error:
            failures[str(path)] = str(error)
    return Classified(answers, failures)


def _files(inputs: Sequence[Path], failures: dict[str, str]) -> Iterator[Path]:
    for path in inputs:
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not found:
            failures[str(path)] = f'the folder "{path}" has no sound files ({", ".join(SUFFIXES)}) in it.'
        yield from found
