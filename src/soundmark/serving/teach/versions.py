"""The models that were taught, in the folder ``models`` of the corrections; which one is in use; what happened.

    models/
        versions.jsonl          a line per event, with a checksum: started, trained, ended, use
        model-1.onnx

A model is written before its line. So after a kill there is the line, or a file that is not used; and a training that
was started and did not end is known to have been interrupted. A line that is damaged is ignored. No file is replaced.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.models.bundle import Bundle, read_bundle
from soundmark.runtime import atomic, checksums
from soundmark.runtime.checks import read_regular
from soundmark.runtime.locks import exclusive
from soundmark.runtime.output_folder import check_path

FOLDER, JOURNAL = "models", "versions.jsonl"


HEAD = b'{"base": "'  # of the journal


MAX_JOURNAL_BYTES = 1 << 28


REMEDY = "Choose another folder with --corrections."


@dataclass(frozen=True, kw_only=True)
class Version:
    """A model that was taught: its number from 1, the corrections that it was trained on, and its report."""

    number: int
    base: str  # digest of the model that the server was started with
    digest: str
    time: str
    clips: frozenset[str]  # names of the corrections
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class History:
    """What the journal says about the models of one base; 0 is the base itself."""

    versions: tuple[Version, ...]
    in_use: int
    interrupted: str | None  # when a training began that did not end


class Versions:
    """The models that were taught from the model with the digest ``base``, below the folder of corrections."""

    def __init__(self, corrections: Path, base: str) -> None:
        self.folder, self.base = corrections / FOLDER, base
        self.path = self.folder / JOURNAL

    def history(self) -> History:
        """Read the journal.

        >>> Versions(folder, "1234").history()
        History(versions=(), in_use=0, interrupted=None)
        """
        versions: dict[int, Version] = {}
        in_use, started = 0, None
        for line in self._lines():
            if line.get("base") != self.base:
                continue
            kind, number = line.get("kind"), line.get("number", 0)
            if kind == "started":
                started = str(line.get("time"))
            elif kind == "ended":
                started = None
            elif kind == "trained":
                started = None
                values = {key: line[key] for key in ("number", "base", "digest", "time", "report")}
                versions[number] = Version(**values, clips=frozenset(line["clips"]))
                in_use = number
            elif kind == "use" and (number == 0 or number in versions):
                in_use = number
        return History(versions=tuple(versions.values()), in_use=in_use, interrupted=started)

    def started(self, time: str) -> None:
        """Record that a training begins."""
        self._append({"kind": "started", "time": time})

    def ended(self, outcome: str) -> None:
        """Record that a training ended without a model: "cancelled", "failed" or "seen", after an interruption."""
        self._append({"kind": "ended", "outcome": outcome})

    def add(self, bundle: Bundle, *, time: str, clips: frozenset[str], report: dict[str, Any]) -> Version:
        """Save a model; it is in use from now on."""
        check_path(self.folder.parent, f"{FOLDER}/{JOURNAL}", REMEDY)
        with exclusive(self.folder, on_wait=_wait, remedy=REMEDY):
            number = 1 + max((int(line.get("number", 0)) for line in self._lines()), default=0)
            while os.path.lexists(self.model_path(number)):  # of a killed server, or of someone else
                number += 1
            bundle.write(self.model_path(number))
            made = Version(number=number, base=self.base, digest=bundle.digest, time=time, clips=clips, report=report)
            about = {"number": number, "digest": made.digest, "time": time, "clips": sorted(clips), "report": report}
            self._append({"kind": "trained", **about})
        return made

    def use(self, number: int) -> None:
        """Record which model is in use; 0 is the base."""
        self._append({"kind": "use", "number": number})

    def model_path(self, number: int) -> Path:
        """Return the path of a model."""
        return self.folder / f"model-{number}.onnx"

    def read(self, version: Version) -> Bundle:
        """Read a model.

        Raises:
            BundleError: it is missing, or another file.
        """
        path = self.model_path(version.number)
        found = read_bundle(path)
        if found.digest != version.digest:
            raise BundleError(f'"{path}" is not the model that was saved there: train again.')
        return found

    def _append(self, values: dict[str, Any]) -> None:
        size = check_path(self.folder.parent, f"{FOLDER}/{JOURNAL}", REMEDY)
        if size and not self._is_own():
            raise OutputError(f'"{self.path}" exists already and was not written by soundmark. {REMEDY}')
        line = json.dumps(checksums.with_checksum({"base": self.base, **values}), ensure_ascii=False).encode() + b"\n"
        with exclusive(self.folder, on_wait=_wait, remedy=REMEDY):
            try:
                with self.path.open("a+b") as file:
                    size = file.seek(0, os.SEEK_END)
                    if size:
                        file.seek(size - 1)
                        line = line if file.read(1) == b"\n" else b"\n" + line
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise atomic.cannot_write(self.path, error, REMEDY) from error

    def _is_own(self) -> bool:
        with self.path.open("rb") as file:
            return HEAD.startswith(file.read(len(HEAD)))

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            content = read_regular(self.path, MAX_JOURNAL_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SettingsError(f'"{self.path}" cannot be read: {error.strerror}. {REMEDY}') from error
        for line in content.splitlines():
            with suppress(ValueError):
                values = checksums.parse_verified(line)
                if _is_event(values):
                    yield values


def _is_event(values: dict[str, Any]) -> bool:
    """Whether a line of the journal, whose checksum anyone can compute, has the values of its kind."""
    is_trained = values.get("kind") != "trained" or (
        "number" in values
        and all(isinstance(values.get(name), str) for name in ("base", "digest", "time"))
        and isinstance(values.get("report"), dict)
        and isinstance(clips := values.get("clips"), list)
        and all(isinstance(name, str) for name in clips)
    )
    return is_trained and type(values.get("number", 0)) is int


def _wait() -> None:
    """Wait for another process that saves a model."""
