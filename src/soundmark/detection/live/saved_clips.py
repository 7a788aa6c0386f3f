"""Save the audio of each event as a file, within a limit on disk space."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from soundmark import audio
from soundmark.audio import Samples, Sound
from soundmark.errors import OutputError, SettingsError
from soundmark.models.events import Event
from soundmark.models.pretrained.speech import SpeechDetector
from soundmark.runtime import atomic, output_folder
from soundmark.runtime.output_folder import OutputFolder

BUFFER_S = 120.0  # of audio in memory: only the end of a longer event is saved


MARGIN_S = 0.5  # of audio saved before and after an event


MAX_LABEL_BYTES = 180  # in a clip's name. A file name has at most 255 bytes, with time, number, suffix and ".part"


CLIP_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z_.+\.wav")


REMEDY = "Choose another folder with --save."


def _wait() -> None:
    """Wait for another process that saves a clip in the same folder."""


class SavedClips:
    """Saves the audio of events in ``folder``: 16-bit WAV at ``rate_hz``, at most ``max_bytes`` in total.

    With ``speech``, clips in which it finds speech are not written. The oldest clips are deleted first. Files that
    soundmark did not write, or that were changed since, are never touched. The folder is locked only while a clip is
    written: several streams may share it.

    >>> clips = SavedClips(folder / "kept", rate_hz=8000, max_bytes=1_000_000)
    >>> clips.add(0, np.zeros(80_000, np.float32))
    >>> path = clips.save(Event(label="dog bark", start_s=2.0, stop_s=4.0, confidence=0.9, peak=0.9), None)
    >>> path.name[19:], audio.info(path).duration_s
    ('Z_dog_bark.wav', 3.0)
    """

    def __init__(self, folder: Path, *, rate_hz: int, max_bytes: int, speech: SpeechDetector | None = None) -> None:
        self.folder = atomic.make_folder(folder, REMEDY)
        self.rate_hz, self.max_bytes, self.speech = rate_hz, max_bytes, speech
        self._recent: deque[tuple[int, Samples]] = deque()

    def add(self, start: int, samples: Samples) -> None:
        """Buffer ``samples`` [n], of which the first is sample number ``start`` of the stream."""
        self._recent.append((start, samples))
        while self._recent and self._recent[0][0] + len(self._recent[0][1]) < start - BUFFER_S * self.rate_hz:
            self._recent.popleft()

    def save(self, event: Event, started: datetime | None) -> Path | None:
        """Save the clip of an event; return its path, or None: its audio has left the buffer, or contains speech."""
        first = round((event.start_s - MARGIN_S) * self.rate_hz)
        last = round((event.stop_s + MARGIN_S) * self.rate_hz)
        parts = [
            samples[max(0, first - start) : max(0, last - start)]
            for start, samples in self._recent
            if start < last and start + len(samples) > first
        ]
        if not parts:
            return None
        sound = Sound(np.concatenate(parts), self.rate_hz)
        if self.speech is not None and self.speech.find(sound) is not None:
            return None
        onset = started + timedelta(seconds=event.start_s) if started else datetime.now(UTC)
        stamp = onset.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        label = re.sub(r"[^\w-]+", "_", event.label)[:60].encode()[:MAX_LABEL_BYTES].decode(errors="ignore") or "_"
        with output_folder.opened(self.folder, remedy=REMEDY, on_wait=_wait) as output:
            path = self._unused_path(f"{stamp}Z_{label}")
            audio.write(path, sound.samples, self.rate_hz)
            self._delete_oldest(output)
        return path

    def _unused_path(self, name: str) -> Path:
        """Return an unused path: two events may start in the same millisecond if a pipe is read fast."""
        number, path = 1, self.folder / f"{name}.wav"
        while os.path.lexists(path):
            number += 1
            path = self.folder / f"{name}_{number}.wav"
        return path

    def _delete_oldest(self, output: OutputFolder) -> None:
        """Delete the oldest clips until the rest fits into ``max_bytes``; the newest is always kept."""
        clips = self._clips(output)
        total = sum(size for _, size in clips)
        for name, size in clips[:-1]:
            if total <= self.max_bytes:
                return
            with suppress(OutputError):  # another process may have it open
                if output.remove(name):
                    total -= size

    def _clips(self, output: OutputFolder) -> list[tuple[str, int]]:
        """Return the names of the clips and their sizes in bytes, oldest first."""
        found = []
        for name in output.names():
            if CLIP_NAME.fullmatch(name):
                with suppress(FileNotFoundError):  # the user may have deleted it
                    found.append((name, (self.folder / name).stat(follow_symlinks=False).st_size))
        return sorted(found)


def parse_size(text: str) -> int:
    """Parse a limit on disk space, such as "500" (megabytes), "500MB" or "2GB"; return bytes.

    Raises:
        SettingsError: the text is not a size above 0.

    >>> parse_size("1.5GB"), parse_size("200")
    (1500000000, 200000000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB)?", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise SettingsError(
            f'the limit on disk space is "{text}": expected megabytes such as 500, or a size such as 2GB.'
        )
    return int(float(found[1]) * (1e9 if (found[2] or "").upper() == "GB" else 1e6))


def save_or_report(clips: SavedClips, event: Event, started: datetime | None, note: Callable[[str], None]) -> None:
    """Save the clip of an event; report a full disk or a missing permission to ``note`` instead of raising.

    >>> clips = SavedClips(folder / "kept", rate_hz=8000, max_bytes=1000)
    >>> save_or_report(clips, Event(label="dog", start_s=0.0, stop_s=1.0, confidence=1.0, peak=1.0), None, print)
    """
    try:
        clips.save(event, started)
    except (OutputError, OSError) as error:
        note(str(error))
