"""Listening for people and programs: events go to standard output, to a folder, to an address, or onto a scope."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from soundmark.audio import Samples
from soundmark.audio.capture.source import LiveSource
from soundmark.cli import console
from soundmark.cli.live_view import LiveView
from soundmark.detection import output_formats
from soundmark.detection.live import saved_clips, webhook
from soundmark.detection.live.monitor import StreamCallbacks, StreamState, monitor
from soundmark.detection.settings import DetectionSettings
from soundmark.models.classifier import Model
from soundmark.models.events import Event


def listen_and_output(
    model: Model,
    source: LiveSource,
    settings: DetectionSettings,
    *,
    hop_s: float | None = None,
    most_s: float | None = None,
    form: str | None = None,
    save: Path | None = None,
    most_bytes: int = 500_000_000,
    post: str | None = None,
    quiet: bool = False,
) -> StreamState:
    """``listening.listen``, with a line of JSON per event on standard output, or a live view in a terminal.

    Raises:
        SettingsError, AudioError, OutputError: as what it is made of.

    >>> import io
    >>> from soundmark.audio.capture.pcm import open_pcm
    >>> source = open_pcm(io.BytesIO(bytes(8000)), rate_hz=8000)
    >>> listen_and_output(model, source, DetectionSettings(min_confidence=1.0), quiet=True).heard_s
    0.5
    """
    desk = _Outputs(model, source, scope=_scope(form), save=save, most_bytes=most_bytes, post=post, quiet=quiet)
    told = StreamCallbacks(event=desk.event, note=desk.say, state=desk.show, samples=desk.samples)
    with desk.open():
        return monitor(model, source, settings, told, hop_s=hop_s, most_s=most_s)


def _scope(form: str | None) -> LiveView | None:
    viewed = form == "view" or (form is None and console.out.is_terminal)
    return LiveView(console.out) if viewed else None


class _Outputs:
    """Where what is heard arrives, and is handed on to all who want it."""

    def __init__(
        self,
        model: Model,
        source: LiveSource,
        *,
        scope: LiveView | None,
        save: Path | None,
        most_bytes: int,
        post: str | None,
        quiet: bool,
    ) -> None:
        self.name, self.scope, self.quiet = source.name, scope, quiet
        self.state = StreamState(source.name, model.classes)
        rate_hz = model.card.representation.rate_hz or source.rate_hz
        self.clips = saved_clips.SavedClips(save, rate_hz=rate_hz, most_bytes=most_bytes) if save else None
        self.posting = webhook.Webhook(post, say=self.say) if post else None

    @contextmanager
    def open(self) -> Iterator[None]:
        """The view, while it is listened; behind it, however it ends and however quiet, what went by unheard."""
        with ExitStack() as stack:
            stack.callback(self._account)
            if self.scope:
                stack.enter_context(self.scope)
            if self.posting:
                stack.callback(self.posting.close)
            yield

    def _account(self) -> None:
        if text := self.state.account():
            console.warn(text)

    def say(self, text: str) -> None:
        if self.scope:
            self.scope.say(text)
        elif not self.quiet:
            console.warn(text)

    def show(self, state: StreamState) -> None:
        self.state = state
        if self.scope:
            self.scope.show(state)

    def samples(self, place: int, samples: Samples) -> None:
        if self.clips:
            self.clips.hear(place, samples)

    def event(self, event: Event, began: datetime | None) -> None:
        line = output_formats.event_json(event, self.name, began)
        if not self.scope:
            console.write_output(line + "\n")
            sys.stdout.flush()
        if self.clips:
            saved_clips.keep_or_report(self.clips, event, began, self.say)
        if self.posting:
            self.posting.post(line)
