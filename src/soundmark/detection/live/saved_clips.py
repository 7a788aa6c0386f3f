"""The audio of each event as a file, within a limit on disk space."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from soundmark import audio
from soundmark.audio import Samples
from soundmark.errors import OutputError, SettingsError
from soundmark.models.events import Event
from soundmark.runtime import atomic

KEPT_S = 120.0  # of audio in memory: of a longer event, the end is saved


MARGIN_S = 0.5  # saved before and after an event


OURS = re.compile(r"\d{8}T\d{6}\.\d{3}Z_.+\.wav")  # names of clips; no other file is ever deleted


class SavedClips:
    """Writes the audio of events into ``folder``, 16-bit WAV at ``rate_hz``, at most ``most_bytes`` of them.

    The oldest clips are deleted first; a file that is not named like a clip is never touched.

    >>> clips = SavedClips(folder / "kept", rate_hz=8000, most_bytes=1_000_000)
    >>> clips.add(0, np.zeros(80_000, np.float32))
    >>> path = clips.save(Event(label="dog bark", start_s=2.0, stop_s=4.0, confidence=0.9, peak=0.9), None)
    >>> path.name[19:], audio.info(path).duration_s
    ('Z_dog_bark.wav', 3.0)
    """

    def __init__(self, folder: Path, *, rate_hz: int, most_bytes: int) -> None:
        self.folder = atomic.make_folder(folder, "Choose another folder with --save.")
        self.rate_hz, self.most_bytes = rate_hz, most_bytes
        self._past: deque[tuple[int, Samples]] = deque()

    def add(self, start: int, samples: Samples) -> None:
        """Remember ``samples`` [n]; the first of them is sample number ``start`` of the stream."""
        self._past.append((start, samples))
        while self._past and self._past[0][0] + len(self._past[0][1]) < start - KEPT_S * self.rate_hz:
            self._past.popleft()

    def save(self, event: Event, started: datetime | None) -> Path | None:
        """Write the clip of an event; None if its audio is no longer in memory."""
        first = round((event.start_s - MARGIN_S) * self.rate_hz)
        last = round((event.stop_s + MARGIN_S) * self.rate_hz)
        parts = [
            samples[max(0, first - start) : max(0, last - start)]
            for start, samples in self._past
            if start < last and start + len(samples) > first
        ]
        if not parts:
            return None
        moment = started + timedelta(seconds=event.start_s) if started else datetime.now(UTC)
        stamp = moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        label = re.sub(r"[^\w-]+", "_", event.label)[:60] or "_"
        path = self._free(f"{stamp}Z_{label}")
        audio.write(path, np.concatenate(parts), self.rate_hz)
        self._make_room()
        return path

    def _free(self, name: str) -> Path:
        """An unused path of that name: two events of a pipe that is read fast may share a millisecond."""
        number, path = 1, self.folder / f"{name}.wav"
        while path.exists():
            number += 1
            path = self.folder / f"{name}_{number}.wav"
        return path

    def _make_room(self) -> None:
        ours = self._ours()
        total = sum(size for _, size in ours)
        for path, size in ours[:-1]:  # the newest stays, however large
            if total <= self.most_bytes:
                return
            with suppress(OSError):  # another process may hold or have deleted it
                path.unlink(missing_ok=True)
                total -= size

    def _ours(self) -> list[tuple[Path, int]]:
        """The clips and their sizes, the oldest first."""
        found = []
        for path in self.folder.iterdir():
            if OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                with suppress(FileNotFoundError):  # another process may delete clips, too
                    found.append((path, path.stat().st_size))
        return sorted(found)


def parse_size(text: str) -> int:
    """A limit on disk space in bytes, from "500", "500MB" or "2GB".

    Raises:
        SettingsError: the text is no such limit.

    >>> parse_size("1.5GB"), parse_size("200")
    (1500000000, 200000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB)?", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise SettingsError(f'the bound is "{text}": give megabytes, as 500, or 2GB.')
    return int(float(found[1]) * (1e9 if (found[2] or "").upper() == "GB" else 1e6))


def save_or_report(clips: SavedClips, event: Event, started: datetime | None, note: Callable[[str], None]) -> None:
    """``SavedClips.save``, except that a full disk or an unreadable folder is reported to ``note`` and does not raise.

    >>> clips = SavedClips(folder / "kept", rate_hz=8000, most_bytes=1000)
    >>> save_or_report(clips, Event(label="dog", start_s=0.0, stop_s=1.0, confidence=1.0, peak=1.0), None, print)
    """
    try:
        clips.save(event, started)
    except (OutputError, OSError) as error:
        note(str(error))
