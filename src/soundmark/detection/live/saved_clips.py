"""The sound of each event, kept as a file within a bound on the disk."""

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

KEPT_S = 120.0  # of the past, for clips: of a longer event, its end


MARGIN_S = 0.5  # kept before and behind an event


OURS = re.compile(r"\d{8}T\d{6}\.\d{3}Z_.+\.wav")  # how clips are called; no other file is ever deleted


class SavedClips:
    """Writes the sound of events into ``folder``, 16-bit WAV at ``rate_hz``, at most ``most_bytes`` of them.

    The oldest clips go first; a file that is not called as clips are is never touched.

    >>> clips = SavedClips(folder / "kept", rate_hz=8000, most_bytes=1_000_000)
    >>> clips.hear(0, np.zeros(80_000, np.float32))
    >>> path = clips.keep(Event(label="dog bark", start_s=2.0, stop_s=4.0, confidence=0.9, peak=0.9), None)
    >>> path.name[19:], audio.info(path).duration_s
    ('Z_dog_bark.wav', 3.0)
    """

    def __init__(self, folder: Path, *, rate_hz: int, most_bytes: int) -> None:
        self.folder = atomic.make_folder(folder, "Choose another folder with --save.")
        self.rate_hz, self.most_bytes = rate_hz, most_bytes
        self._past: deque[tuple[int, Samples]] = deque()

    def hear(self, place: int, samples: Samples) -> None:
        """``samples`` [n], the first of which is sample number ``place`` of the stream."""
        self._past.append((place, samples))
        while self._past and self._past[0][0] + len(self._past[0][1]) < place - KEPT_S * self.rate_hz:
            self._past.popleft()

    def keep(self, event: Event, began: datetime | None) -> Path | None:
        """Write the clip of an event; None where its sound is no longer there."""
        first = round((event.start_s - MARGIN_S) * self.rate_hz)
        last = round((event.stop_s + MARGIN_S) * self.rate_hz)
        parts = [
            samples[max(0, first - place) : max(0, last - place)]
            for place, samples in self._past
            if place < last and place + len(samples) > first
        ]
        if not parts:
            return None
        moment = began + timedelta(seconds=event.start_s) if began else datetime.now(UTC)
        stamp = moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        label = re.sub(r"[^\w-]+", "_", event.label)[:60] or "_"
        path = self._free(f"{stamp}Z_{label}")
        audio.write(path, np.concatenate(parts), self.rate_hz)
        self._make_room()
        return path

    def _free(self, name: str) -> Path:
        """A path of that name that nothing has: two events of a pipe that is read fast share a millisecond."""
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
            with suppress(OSError):  # it may not be deleted, and the next may; or another listener was faster
                path.unlink(missing_ok=True)
                total -= size

    def _ours(self) -> list[tuple[Path, int]]:
        """The clips and their sizes, the oldest first."""
        found = []
        for path in self.folder.iterdir():
            if OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                with suppress(FileNotFoundError):  # another listener makes room, too
                    found.append((path, path.stat().st_size))
        return sorted(found)


def parse_size(text: str) -> int:
    """A bound on the disk in bytes, from "500", "500MB" or "2GB".

    Raises:
        SettingsError: it is none.

    >>> parse_size("1.5GB"), parse_size("200")
    (1500000000, 200000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB)?", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise SettingsError(f'the bound is "{text}": give megabytes, as 500, or 2GB.')
    return int(float(found[1]) * (1e9 if (found[2] or "").upper() == "GB" else 1e6))


def keep_or_report(clips: SavedClips, event: Event, began: datetime | None, say: Callable[[str], None]) -> None:
    """``Clips.keep``, where a full disk, or a folder that may not be looked into, is no reason to stop listening.

    >>> clips = SavedClips(folder / "kept", rate_hz=8000, most_bytes=1000)
    >>> keep_or_report(clips, Event(label="dog", start_s=0.0, stop_s=1.0, confidence=1.0, peak=1.0), None, print)
    """
    try:
        clips.keep(event, began)
    except (OutputError, OSError) as error:
        say(str(error))
