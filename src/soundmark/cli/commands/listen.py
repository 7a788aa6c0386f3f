"""``soundmark listen``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options, requirements, shell
from soundmark.cli.app import app
from soundmark.detection.settings import DEFAULT_MODEL, DetectionSettings, LiveSettings, read_thresholds
from soundmark.errors import SettingsError


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark listen",
            "soundmark listen -m model.onnx",
            "soundmark listen rtsp://camera/audio -m model.onnx --save events",
            "arecord -f S16_LE -r 44100 | soundmark listen - -m model.onnx > events.jsonl",
        ],
        Formats=choices.LIVE_FORMATS,
        **{"Sample formats": choices.SAMPLE_FORMATS},
    )
)
def listen(
    source: options.LiveSource = LiveSettings.source,
    model: options.ModelOrDefault = DEFAULT_MODEL,
    rate: options.Rate = LiveSettings.rate_hz,
    channels: options.Channels = LiveSettings.channels,
    sample_format: options.SampleFormat = LiveSettings.sample_format,
    real_time: Annotated[
        bool,
        typer.Option(
            "--real-time",
            help="Drop PCM that arrives faster than it can be classified, instead of delaying its source.",
            rich_help_panel="Input",
        ),
    ] = LiveSettings.real_time,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Hop from one window to the next.",
            show_default="from the model's overlap",
            parser=options.number,
            rich_help_panel="Detection",
        ),
    ] = LiveSettings.hop_s,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Stop after this much sound.",
            show_default="until the source ends",
            parser=options.number,
            rich_help_panel="Input",
        ),
    ] = LiveSettings.duration_s,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Microphone, by name or number.",
            show_default="the system's default",
            rich_help_panel="Input",
        ),
    ] = LiveSettings.device,
    form: Annotated[
        str | None, options.format_option(choices.LIVE_FORMATS, show_default="view in a terminal, else jsonl")
    ] = None,
    classes: options.Classes = None,
    unknown: options.Unknown = DetectionSettings.unknown,
    min_confidence: options.MinConfidence = DetectionSettings.min_confidence,
    thresholds: options.Thresholds = None,
    merge_gap: options.MergeGap = DetectionSettings.merge_gap_s,
    calibration: options.Calibration = DetectionSettings.calibration_db,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Save a clip of each event in this folder.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Output",
        ),
    ] = None,
    save_at_most: Annotated[
        str,
        typer.Option(
            metavar="MB",
            help="Largest total size of the saved clips; the oldest clips are deleted first.",
            rich_help_panel="Output",
        ),
    ] = "500MB",
    no_speech: options.NoSpeech = False,
    post: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Webhook: send each event to this address as JSON, by HTTP POST.",
            show_default=False,
            rich_help_panel="Output",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Detect events in live audio: microphone, stream or pipe.

    Prints each event when it has ended, with its start and stop time. Stop with Ctrl-C.
    """
    if source == LiveSettings.source:
        requirements.require("the microphone", ("sounddevice",))
    elif "://" in source:
        requirements.require("a network stream", ("av",))
    if no_speech and save is None:
        raise SettingsError("--no-speech discards saved clips in which there is speech: add --save DIR.")
    from soundmark.audio.capture import open_source
    from soundmark.cli import live_output
    from soundmark.detection.live import saved_clips
    from soundmark.models.pretrained import named_models

    shell.not_resumable()
    loaded = named_models.load(model, classes=classes)
    settings = DetectionSettings(
        unknown=unknown,
        min_confidence=min_confidence,
        thresholds=read_thresholds(thresholds) if thresholds else None,
        merge_gap_s=merge_gap,
        calibration_db=calibration,
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
        max_bytes=saved_clips.parse_size(save_at_most),
        no_speech=no_speech,
        post=post,
        quiet=quiet,
    )
