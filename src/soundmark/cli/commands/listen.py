"""``soundmark listen``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options, shell
from soundmark.cli.app import app
from soundmark.detection.settings import DetectionSettings, LiveSettings, read_thresholds


@app.command()
def listen(
    model: options.ModelPath,
    source: options.LiveSource = LiveSettings.source,
    rate: options.Rate = LiveSettings.rate_hz,
    channels: options.Channels = LiveSettings.channels,
    sample_format: options.SampleFormat = LiveSettings.sample_format,
    real_time: Annotated[
        bool,
        typer.Option("--real-time", help="The PCM does not wait: what comes faster than it can be heard is dropped."),
    ] = LiveSettings.real_time,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="From one window to the next. Default: the model's window, as classify has it.",
            show_default=False,
            parser=options.decimal,
        ),
    ] = LiveSettings.hop_s,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop after so much sound.", show_default=False, parser=options.decimal),
    ] = LiveSettings.duration_s,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another microphone, by name or number.", show_default=False)
    ] = LiveSettings.device,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="A JSON line for each event, or a live view. Default: the view, in a terminal.",
            metavar="[jsonl|view]",
            show_default=False,
            parser=options.one_of("format", ("jsonl", "view")),
        ),
    ] = None,
    unknown: options.Unknown = DetectionSettings.unknown,
    min_confidence: options.MinConfidence = DetectionSettings.min_confidence,
    thresholds: options.Thresholds = None,
    merge_gap: options.MergeGap = DetectionSettings.merge_gap_s,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep the clip of each event there.", show_default=False, parser=options.place
        ),
    ] = None,
    save_at_most: Annotated[
        str, typer.Option(metavar="MB", help="So much of it; the oldest clips go first.")
    ] = "500MB",
    post: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Post each event to this address, as JSON.", show_default=False),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """What is heard live: an event each time a class begins and ends, from a microphone, a pipe or an address."""
    from soundmark.audio.capture import open_source
    from soundmark.cli import live_output
    from soundmark.detection.live import saved_clips
    from soundmark.models.classifier import load

    shell.not_resumable()
    loaded = load(model)
    settings = DetectionSettings(
        unknown=unknown,
        min_confidence=min_confidence,
        thresholds=read_thresholds(thresholds) if thresholds else None,
        merge_gap_s=merge_gap,
    )
    opened = open_source(
        source, rate_hz=rate, channels=channels, sample_format=sample_format, is_live=real_time, device=device
    )
    live_output.listen_and_output(
        loaded,
        opened,
        settings,
        hop_s=hop,
        duration_s=duration,
        form=form,
        save=save,
        most_bytes=saved_clips.parse_size(save_at_most),
        post=post,
        quiet=quiet,
    )
