"""Write the events of a live source to standard output, a folder of clips, a webhook or a live view."""

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
from soundmark.models.pretrained.speech import SpeechDetector


def listen_and_output(
    model: Model,
    source: LiveSource,
    settings: DetectionSettings,
    *,
    hop_s: float | None = None,
    duration_s: float | None = None,
    form: str | None = None,
    save: Path | None = None,
    max_bytes: int = 500_000_000,
    no_speech: bool = False,
    post: str | None = None,
    quiet: bool = False,
) -> StreamState:
    """Run ``monitor``; print a line of JSON per event, or display a live view.

    ``form`` is "view" or "jsonl" (default: the view if standard output is a terminal). ``save`` is a folder for clips
    of the events, of at most ``max_bytes`` in total, without those with speech if ``no_speech``. ``post`` is the
    address of a webhook.

    Raises:
        SettingsError, AudioError, OutputError: as ``monitor``, ``SavedClips`` and ``Webhook``.

    >>> import io
    >>> from soundmark.audio.capture.pcm import open_pcm
    >>> source = open_pcm(io.BytesIO(bytes(8000)), rate_hz=8000)
    >>> listen_and_output(model, source, DetectionSettings(min_confidence=1.0), quiet=True).analyzed_s
    0.5
    """
    speech = SpeechDetector() if no_speech else None
    outputs = _Outputs(
        model, source, view=_view(form), save=save, max_bytes=max_bytes, speech=speech, post=post, quiet=quiet
    )
    callbacks = StreamCallbacks(event=outputs.event, note=outputs.note, state=outputs.show, samples=outputs.samples)
    with outputs.open():
        return monitor(model, source, settings, callbacks, hop_s=hop_s, duration_s=duration_s)


def _view(form: str | None) -> LiveView | None:
    is_view = form == "view" or (form is None and console.out.is_terminal)
    return LiveView(console.out) if is_view else None


class _Outputs:
    """Everything that events, notes and states are passed to."""

    def __init__(
        self,
        model: Model,
        source: LiveSource,
        *,
        view: LiveView | None,
        save: Path | None,
        max_bytes: int,
        speech: SpeechDetector | None,
        post: str | None,
        quiet: bool,
    ) -> None:
        self.name, self.view, self.quiet = source.name, view, quiet
        self.state = StreamState(source.name, model.classes)
        rate_hz = model.card.representation.input_rate_hz or source.rate_hz
        self.clips = None
        if save:
            self.clips = saved_clips.SavedClips(save, rate_hz=rate_hz, max_bytes=max_bytes, speech=speech)
        self.webhook = webhook.Webhook(post, note=self.note) if post else None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open the live view; on exit, even after an error or if quiet, report audio that was not analysed."""
        with ExitStack() as stack:
            stack.callback(self._report_loss)
            if self.view:
                stack.enter_context(self.view)
            if self.webhook:
                stack.callback(self.webhook.close)
            yield

    def _report_loss(self) -> None:
        if text := self.state.loss_report():
            console.warn(text)

    def note(self, text: str) -> None:
        if self.view:
            self.view.note(text)
        elif not self.quiet:
            console.warn(text)

    def show(self, state: StreamState) -> None:
        self.state = state
        if self.view:
            self.view.show(state)

    def samples(self, start: int, samples: Samples) -> None:
        if self.clips:
            self.clips.add(start, samples)

    def event(self, event: Event, started: datetime | None) -> None:
        line = output_formats.event_json(event, self.name, started)
        if not self.view:
            console.write_output(line + "\n")
            sys.stdout.flush()
        if self.clips:
            saved_clips.save_or_report(self.clips, event, started, self.note)
        if self.webhook:
            self.webhook.post(line)
