"""``Corrections``: the decisions of reviewers about sections of recordings, as a data set that is only appended to.

>>> import soundmark as sm
>>> corrections = sm.Corrections(folder / "corrections")
>>> added = corrections.add(city.clips[0].path, 1.0, 3.0, decision="label", label="siren", reviewer="ann")
>>> corrections.add(city.clips[1].path, 0.0, 4.0, decision="no", asked="siren").path
''
>>> [(clip.label, clip.source == added.source) for clip in sm.Dataset.open(folder / "corrections")]
[('siren', True)]

``datasets/layouts/corrections`` describes the folder, the decisions, and what ``Dataset.open`` makes of them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

import numpy as np

from soundmark import audio
from soundmark.audio import Sound
from soundmark.datasets import Clip
from soundmark.datasets.dataset import BACKGROUND, SEPARATOR
from soundmark.datasets.layouts.corrections import (
    CLIPS,
    COLUMNS,
    DECISIONS,
    MAX_CELL_CHARS,
    TABLE,
    UNDO,
    WITH_LABEL,
    Correction,
    Rows,
    as_cell,
    is_complete,
    read,
    source_name,
    standing,
)
from soundmark.datasets.layouts.table_reader import MAX_LABEL_CHARS
from soundmark.errors import AudioError, DatasetError, OutputError, SettingsError, as_line, unknown_name
from soundmark.models.pretrained.speech import SpeechDetector
from soundmark.runtime import atomic
from soundmark.runtime.checks import is_finite, is_url, read_regular
from soundmark.runtime.locks import exclusive
from soundmark.runtime.output_folder import check_path

DEFAULT_MAX_BYTES = 2_000_000_000  # of clips

MOST_RATE_HZ_OF_FLAC = 655_350  # a clip of a higher sample rate is saved as WAV

TAIL_BYTES = 1 << 16  # of the table, in which its last row is found

REMEDY = "Choose another folder for the corrections."

HEADER = ",".join(COLUMNS)


def _wait() -> None:
    """Wait for another process that adds to the same folder."""


class Corrections:
    """The corrections in ``folder``, with at most ``max_bytes`` of clips. It is created by the first correction.

    With ``speech``, clips in which it finds speech are discarded: their decisions are kept, but they are no clips of
    the data set. Several processes and threads may add at once. A clip is written before its row, and both are synced
    to disk before ``add`` returns: a kill or a power failure loses nothing that was acknowledged.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        speech: SpeechDetector | None = None,
    ) -> None:
        self.folder, self.max_bytes, self.speech = Path(folder), max_bytes, speech
        self.table = self.folder / TABLE
        self._read: tuple[tuple[int, int], Rows] | None = None

    def add(
        self,
        sound: str | PathLike[str] | Sound,
        start_s: float,
        end_s: float,
        *,
        decision: str,
        label: str | Sequence[str] = "",
        asked: str = "",
        score: float | None = None,
        model: str = "",
        reviewer: str = "",
        source: str | None = None,
        clip: Sound | None = None,
    ) -> Correction:
        """Add a decision about a section of a recording; return it with its id.

        Args:
            sound: the recording: a path, a URL, or its samples; of samples, ``source`` names the recording.
            start_s: where the section begins, in seconds.
            end_s: where it ends.
            decision: "yes", "label", "none", "no" or "skip": see ``datasets/layouts/corrections``.
            label: the class that is present, or several; for "yes", ``asked`` unless given.
            asked: the class that was asked about.
            score: the score of that class then.
            model: the digest of the model.
            reviewer: who decided.
            source: the name of the recording (default: that of its file, and a hash of its content).
            clip: the samples of the section, if they have been read; the recording is then only identified.

        Raises:
            SettingsError: a value is invalid.
            AudioError: the section is outside of the recording, or cannot be read.
            OutputError: the folder cannot be written, or the clips would exceed ``max_bytes``.
        """
        _check_decision(decision)
        if isinstance(sound, Sound) and not source:
            raise SettingsError("the samples of a correction need a source: the name of the recording.")
        name = as_cell(source) if source else source_name(sound)  # type: ignore[arg-type]
        start_s, end_s = _section(start_s, end_s)
        row = Correction(
            label=_labels(decision, label, asked),
            source=name,
            source_start_s=start_s,
            source_end_s=end_s,
            decision=decision,
            asked=_checked(asked, "asked"),
            score=None if score is None else round(float(score), 6),
            model=as_cell(model),
            reviewer=_checked(reviewer, "reviewer"),
        )
        cut = None
        if decision in WITH_LABEL:
            cut = self._without_speech(clip if clip is not None else _section_of(sound, start_s, end_s))
        with self._locked():
            return self._append([self._with_clip(row, cut) if cut else row])[0]

    def undo(self, correction: Correction | str, *, reviewer: str = "") -> Correction:
        """Undo a decision, given itself or its id: append a row that says so. Return that row.

        Raises:
            SettingsError: there is no such decision, or it is undone already.
        """
        wanted = correction if isinstance(correction, str) else correction.id
        with self._locked():
            rows = [*self.rows.corrections.values()]
            if not any(each.id == wanted and each.decision != UNDO for each in rows):
                raise SettingsError(f'the corrections in "{self.folder}" have no decision "{wanted}".')
            if any(each.undoes == wanted for each in rows):
                raise SettingsError(f'the decision "{wanted}" is undone already.')
            return self._append([Correction(decision=UNDO, undoes=wanted, reviewer=_checked(reviewer, "reviewer"))])[0]

    @property
    def rows(self) -> Rows:
        """All decisions ever made, and the rows of the table that are damaged."""
        try:
            status = self.table.stat()
            state = (status.st_mtime_ns, status.st_size)
        except OSError:
            state = (0, 0)
        if self._read is None or self._read[0] != state:
            self._read = state, read(self.table)
        return self._read[1]

    def standing(self) -> list[Correction]:
        """Return the decisions that count: not undone, and not replaced by a later one of the same reviewer."""
        return standing(self.rows.corrections.values())

    def __len__(self) -> int:
        return len(self.standing())

    def __iter__(self) -> Iterator[Correction]:
        return iter(self.standing())

    def __repr__(self) -> str:
        return f"Corrections({fspath(self.folder)!r}: {len(self)} decisions count)"

    def located(self, paths: Iterable[str]) -> list[tuple[Correction, Clip]]:
        """Return the decisions that count about the recordings at ``paths``, each with its section there as a ``Clip``.

        ``Index.suggest(labelled=...)`` takes these. Files that have the name of no recording are not opened.
        """
        found = self.standing()
        names = {each.source.rpartition(" ")[0] for each in found}
        at: dict[str, str] = {}
        for path in paths:
            last = path.rstrip("/").rsplit("/", 1)[-1] if is_url(path) else Path(path).name
            if as_cell(last) in names:
                with suppress(AudioError):  # the recording is missing
                    at[source_name(path)] = path
        return [(each, _clip_at(each, at[each.source])) for each in found if each.source in at]

    def merge(self, other: str | PathLike[str]) -> int:
        """Add the clips and rows of another folder of corrections that this one does not have; return the rows' number.

        Raises:
            DatasetError: the other folder is not one of corrections.
            AudioError: a clip of it cannot be read, or is a link out of it.
            OutputError: this folder cannot be written, or the clips would exceed ``max_bytes``.
        """
        there = Path(other)
        if not (there / TABLE).is_file():
            raise DatasetError(f'"{there}" is not a folder of corrections: it has no "{TABLE}".')
        found = read(there / TABLE)
        with self._locked():
            known = {each.id for each in self.rows.corrections.values()}
            new = [each for each in found.corrections.values() if each.id not in known]
            for each in new:
                if each.path:
                    self._save(each.path, _content(there, each.path, self.max_bytes))
            if new:
                self._append(new)
        return len(new)

    def _locked(self) -> AbstractContextManager[None]:
        return exclusive(self.folder, on_wait=_wait, remedy=REMEDY)

    def _without_speech(self, sound: Sound) -> _Cut | None:
        return None if self.speech is not None and self.speech.find(sound) is not None else _Cut(sound)

    def _with_clip(self, row: Correction, clip: _Cut) -> Correction:
        stem = re.sub(r"[^A-Za-z0-9-]+", "_", row.source.rpartition(" ")[0].rpartition(".")[0] or row.source)
        name = f"{CLIPS}/{stem.strip('_')[:40] or 'clip'}_{clip.digest}.{clip.suffix}"
        self._save(name, clip.content)
        return replace(row, path=name, end_s=clip.duration_s)

    def _save(self, name: str, content: bytes) -> None:
        """Write a clip, if it is new: the hash in its name is that of its samples."""
        path = self.folder / name
        if check_path(self.folder, name, REMEDY) is not None:
            if not _is_same_sound(path, content):
                raise OutputError(f'"{path}" exists already and is another clip. Move it, or choose another folder.')
            return
        used = _bytes_in(self.folder / CLIPS)
        if used + len(content) > self.max_bytes:
            raise OutputError(
                f'the corrections in "{self.folder}" have {used / 1e6:.1f} MB of clips; this one has '
                f"{len(content) / 1e6:.1f} MB: the limit is {self.max_bytes / 1e6:g} MB. Raise it, or use a new folder."
            )
        atomic.write_bytes(path, content)

    def _append(self, rows: Sequence[Correction]) -> list[Correction]:
        """Append rows, with ids and times where they have none, and sync them to disk."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        written = [replace(each, id=each.id or f"c{secrets.token_hex(8)[1:]}", time=each.time or now) for each in rows]
        check_path(self.folder, TABLE, REMEDY)
        try:
            with self.table.open("a+b") as file:
                lead = _repaired(file, self.table)
                file.write((lead + "".join(map(_line, written))).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise atomic.cannot_write(self.table, error, REMEDY) from error
        return written


class _Cut:
    """A section of a recording as the content of a sound file."""

    def __init__(self, sound: Sound) -> None:
        import soundfile

        digest = hashlib.blake2b(np.ascontiguousarray(sound.samples, "<f4").tobytes(), digest_size=8)
        digest.update(str(sound.rate_hz).encode())
        self.digest, self.duration_s = digest.hexdigest(), round(sound.duration_s, 6)
        self.suffix = "flac" if sound.rate_hz <= MOST_RATE_HZ_OF_FLAC else "wav"
        encoded = io.BytesIO()
        soundfile.write(encoded, sound.samples, sound.rate_hz, format=self.suffix.upper(), subtype="PCM_24")
        self.content = encoded.getvalue()


def _section_of(sound: str | PathLike[str] | Sound, start_s: float, end_s: float) -> Sound:
    if not isinstance(sound, Sound):
        return audio.read(sound, start_s=start_s, stop_s=end_s)
    first, last = round(start_s * sound.rate_hz), round(end_s * sound.rate_hz)
    if first >= len(sound.samples):
        raise AudioError(f"the section begins at {start_s:g} s; the sound ends at {sound.duration_s:g} s.")
    return replace(sound, samples=sound.samples[first:last])


def _clip_at(correction: Correction, path: str) -> Clip:
    return Clip(
        path=Path(path),
        label=correction.label,
        start_s=correction.source_start_s,
        stop_s=correction.source_end_s,
        source=correction.source,
    )


def _line(correction: Correction) -> str:
    def cell(name: str) -> str:
        if name == "start" and not correction.path:
            return ""
        value = getattr(correction, name if hasattr(correction, name) else f"{name}_s")
        return "" if value is None else value if isinstance(value, str) else f"{value:.6f}".rstrip("0").rstrip(".")

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([cell(name) for name in COLUMNS])
    return text.getvalue()


def _repaired(file: BinaryIO, table: Path) -> str:
    """Remove a last row that was cut off; return what must precede the next row: the header, a line end or nothing.

    Raises:
        OutputError: the table has other columns.
    """
    file.seek(0)
    first = file.readline(TAIL_BYTES)
    if HEADER.encode().startswith(first):  # empty, or cut off while the header was written
        file.truncate(0)
        return f"{HEADER}\n"
    if first.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").decode(errors="replace") != HEADER:
        raise OutputError(f'"{table}" has other columns: expected "{HEADER}". {REMEDY}')
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    last = file.read().rpartition(b"\n")[2]
    if is_complete(last):
        return "\n"
    file.truncate(size - len(last))
    return ""


def _content(folder: Path, name: str, max_bytes: int) -> bytes:
    """Read a clip of a folder from someone else: its links could lead to any file of this machine."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise AudioError(f'"{path}" is a link out of its folder of corrections. Replace it by the file.')
    try:
        return read_regular(path, max_bytes)
    except OSError as error:
        raise AudioError(f'"{path}" cannot be read: {error.strerror}.') from error


def _is_same_sound(path: Path, content: bytes) -> bool:
    """Whether a file has the samples of ``content``: other versions of libsndfile write other bytes."""
    if path.read_bytes() == content:
        return True
    try:
        found, wanted = audio.read(path), audio.read(content)
    except AudioError:
        return False
    return found.rate_hz == wanted.rate_hz and np.array_equal(found.samples, wanted.samples)


def _bytes_in(folder: Path) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except FileNotFoundError:
        return 0


def _section(start_s: float, end_s: float) -> tuple[float, float]:
    if not (is_finite(start_s) and is_finite(end_s) and 0 <= start_s < end_s):
        raise SettingsError(f"the section is {start_s!r} to {end_s!r} s: expected times in seconds, the first smaller.")
    return round(float(start_s), 6), round(float(end_s), 6)


def _check_decision(decision: str) -> None:
    known = [name for name in DECISIONS if name != UNDO]
    if decision not in known:
        raise unknown_name("decision", decision, known)


def _labels(decision: str, label: str | Sequence[str], asked: str) -> str:
    """Return the label of a decision: "" for those without one."""
    names = [label] if isinstance(label, str) else list(label)
    if decision == "none":
        return BACKGROUND
    if decision == "yes" and names in ([], [""]):
        names = [asked]
    if decision not in WITH_LABEL:
        if any(names):
            raise SettingsError(f'the decision "{decision}" has no label; this one has "{names[0]}".')
        return ""
    for name in names:
        if not _checked(name, "label").strip() or SEPARATOR in name:
            raise SettingsError(f'the label "{name}" is not valid: expected the name of a class, without a semicolon.')
    return SEPARATOR.join(dict.fromkeys(name.strip() for name in names))


def _checked(text: str, what: str) -> str:
    """Return a text that fits into a cell: one line, not too long."""
    most = MAX_LABEL_CHARS if what in ("label", "asked") else MAX_CELL_CHARS
    if len(text) > most or text != as_line(text):
        raise SettingsError(f'{what} is "{text[:100]}": expected a line of at most {most:,} printable characters.')
    return text.strip()
