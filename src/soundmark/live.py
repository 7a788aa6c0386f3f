"""Listening for people and programs: events go to standard output, to a folder, to an address, or onto a scope."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from soundmark import keeping, terminal, writers
from soundmark.classification import Settings
from soundmark.events import Event
from soundmark.listening import State, Told
from soundmark.listening import listen as listen_to
from soundmark.prediction import Model
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
    viewed = form == "view" or (form is None and terminal.out.is_terminal)

    def say(text: str) -> None:
        if not quiet and not viewed:  # a view shows it itself
            terminal.warn(text)

    clips = keeping.Clips(save, rate_hz=_rate_of(model, source), most_bytes=most_bytes) if save else None
    posting = keeping.Post(post, say=say) if post else None

    def tell(event: Event, began: datetime | None) -> None:
        line = writers.event_json(event, source.name, began)
        if not viewed:
            terminal.hand_over(line + "\n")
            sys.stdout.flush()
        if clips:
            keeping.keep_or_say(clips, event, began, say)
        if posting:
            posting.post(line)

    with ExitStack() as stack:
        show = _nothing
        if viewed:
            from soundmark.scope import Scope

            show = stack.enter_context(Scope(terminal.out)).show
        if posting:
            stack.callback(posting.close)
        told = Told(event=tell, note=say, state=show, samples=clips.hear if clips else lambda place, samples: None)
        return listen_to(model, source, settings, told, hop_s=hop_s, most_s=most_s)


def _nothing(state: State) -> None:
    """Nobody looks."""


def _rate_of(model: Model, source: Source) -> int:
    return model.card.representation.rate_hz or source.rate_hz
