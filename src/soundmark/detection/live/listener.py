"""``listen``: the events of a live source, as an iterator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO

from soundmark.audio.capture import open_source
from soundmark.audio.capture.pcm import open_pcm
from soundmark.detection.live.monitor import StreamCallbacks, StreamProcessor
from soundmark.detection.settings import DetectionSettings, LiveSettings, check_share, resolve_thresholds
from soundmark.models.classifier import Model
from soundmark.models.pretrained.named_models import open_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from soundmark.audio.capture.source import LiveSource
    from soundmark.models.events import Event


def listen(
    model: Model | str | PathLike[str],
    source: str | BinaryIO = LiveSettings.source,
    *,
    rate_hz: int = LiveSettings.rate_hz,
    channels: int = LiveSettings.channels,
    sample_format: str = LiveSettings.sample_format,
    real_time: bool = LiveSettings.real_time,
    device: str | None = LiveSettings.device,
    hop_s: float | None = LiveSettings.hop_s,
    duration_s: float | None = LiveSettings.duration_s,
    threshold: float | None = DetectionSettings.min_confidence,
    thresholds: Mapping[str, float] | Sequence[float] | str | PathLike[str] | None = DetectionSettings.thresholds,
    merge_gap_s: float = DetectionSettings.merge_gap_s,
    unknown: bool = DetectionSettings.unknown,
    on_event: Callable[[Event], None] | None = None,
) -> Iterator[Event]:
    """Classify a live source; return an iterator that yields each event as it ends.

    ``source`` is "microphone" (``device`` selects another than the default), "-" for raw PCM on standard input, the URL
    of a network stream, or an open binary file of PCM. ``rate_hz``, ``channels``, ``sample_format`` ("u8", "s16",
    "s24", "s32", "f32") and ``real_time`` describe PCM. A window starts every ``hop_s`` seconds (default: from the
    model's overlap). ``on_event`` is called with each event before it is yielded.

    The call checks the settings and opens the source. The source is closed when the iteration ends: at the end of the
    source, after ``duration_s``, on ``break`` or on Ctrl-C. On Ctrl-C, the events that are still running are yielded
    first.

    Raises:
        SettingsError: a setting is out of range, or does not fit the model.
        AudioError: the source cannot be opened, or fails.

    >>> import io
    >>> from soundmark import audio
    >>> samples = audio.read(city.clips[0].path, rate_hz=22050).samples
    >>> pcm = io.BytesIO((samples * 32767).astype("<i2").tobytes())
    >>> [event.start_s for event in listen(model, pcm, rate_hz=22050)]
    [0.0]
    """
    check_share("threshold", threshold)
    loaded = open_model(model)
    settings = DetectionSettings(
        unknown=unknown,
        min_confidence=threshold,
        thresholds=resolve_thresholds(thresholds, loaded),
        merge_gap_s=merge_gap_s,
    )
    settings.threshold(loaded)
    opened: LiveSource
    if isinstance(source, str):
        opened = open_source(
            source,
            rate_hz=rate_hz,
            channels=channels,
            sample_format=sample_format,
            is_live=real_time,
            device=device,
        )
    else:
        opened = open_pcm(source, rate_hz=rate_hz, channels=channels, sample_format=sample_format, is_live=real_time)
    callbacks = StreamCallbacks(event=lambda event, started: on_event(event) if on_event else None)
    processor = StreamProcessor(loaded, opened, settings, callbacks, hop_s=hop_s)
    return _until_interrupted(processor, processor.events(duration_s))


def _until_interrupted(processor: StreamProcessor, events: Iterator[Event]) -> Iterator[Event]:
    """Yield ``events``; on Ctrl-C while waiting for the next one, yield the running events and stop."""
    try:
        yield from events
    except KeyboardInterrupt:
        yield from processor.final_events
