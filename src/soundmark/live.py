"""Listening for people and programs: events go to standard output, to a folder, to an address, or onto a scope."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from soundmark import keeping, terminal, writers
from soundmark.audio import Samples
from soundmark.classification import Settings
from soundmark.events import Event
from soundmark.listening import State, Told
from soundmark.listening import listen as listen_to
from soundmark.prediction import Model
from soundmark.scope import Scope
from soundmark.sources import Source


def listen(
    model: Model,
    source: Source,
    settings: Settings,
    *,
    hop_s: float | None = None,
    most_s: float | None = None,
    form: str | None = None,
    save: Path | None = None,
    most_bytes: int = 500_000_000,
    post: str | None = None,
    quiet: bool = False,
) -> State:
    """``listening.listen``, with a line of JSON per event on standard output, or a live view in a terminal.

    Raises:
        SettingsError, AudioError, OutputError: as what it is made of.

    >>> import io
    >>> from soundmark import sources
    >>> pcm = io.BytesIO(bytes(8000))
    >>> listen(model, sources.pcm(pcm, rate_hz=8000), Settings(min_confidence=1.0), quiet=True).heard_s
    0.5
    """
    desk = _Desk(model, source, scope=_scope(form), save=save, most_bytes=most_bytes, post=post, quiet=quiet)
    told = Told(event=desk.event, note=desk.say, state=desk.show, samples=desk.samples)
    with desk.open():
        return listen_to(model, source, settings, told, hop_s=hop_s, most_s=most_s)


def _scope(form: str | None) -> Scope | None:
    viewed = form == "view" or (form is None and terminal.out.is_terminal)
    return Scope(terminal.out) if viewed else None


class _Desk:
    """Where what is heard arrives, and is handed on to all who want it."""

    def __init__(
        self,
        model: Model,
        source: Source,
        *,
        scope: Scope | None,
        save: Path | None,
        most_bytes: int,
        post: str | None,
        quiet: bool,
    ) -> None:
        self.name, self.scope, self.quiet = source.name, scope, quiet
        self.state = State(source.name, model.classes)
        rate_hz = model.card.representation.rate_hz or source.rate_hz
        self.clips = keeping.Clips(save, rate_hz=rate_hz, most_bytes=most_bytes) if save else None
        self.posting = keeping.Post(post, say=self.say) if post else None

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
            terminal.warn(text)

    def say(self, text: str) -> None:
        if self.scope:
            self.scope.say(text)
        elif not self.quiet:
            terminal.warn(text)

    def show(self, state: State) -> None:
        self.state = state
        if self.scope:
            self.scope.show(state)

    def samples(self, place: int, samples: Samples) -> None:
        if self.clips:
            self.clips.hear(place, samples)

    def event(self, event: Event, began: datetime | None) -> None:
        line = writers.event_json(event, self.name, began)
        if not self.scope:
            terminal.hand_over(line + "\n")
            sys.stdout.flush()
        if self.clips:
            keeping.keep_or_say(self.clips, event, began, self.say)
        if self.posting:
            self.posting.post(line)
