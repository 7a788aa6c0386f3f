"""Options of the commands that serve a page: what is served, and where reviews are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import completion
from soundmark.cli.options.parsers import finite, model_name, path

ServedModel = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="MODEL",
        help="Trained model (.onnx), or audioset: a pretrained model with AudioSet's 527 classes.",
        show_default="the index's, or audioset",
        parser=model_name,
        autocompletion=completion.models,
        rich_help_panel="Input",
    ),
]


Archives = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[INDEX]...",
        help="Folders made by `soundmark index`, to review their detections.",
        show_default=False,
        parser=path,
        rich_help_panel="Input",
    ),
]


CorrectionsFolder = Annotated[
    Path | None,
    typer.Option(
        "--corrections",
        metavar="DIR",
        help="Folder that reviews are kept in: decisions, and the clips that they label.",
        show_default="corrections, with an index",
        parser=path,
        rich_help_panel="Output",
    ),
]


MaxCorrections = Annotated[
    float,
    typer.Option(
        "--max-corrections",
        metavar="MB",
        help="Largest size of the clips in that folder.",
        parser=finite,
        rich_help_panel="Limits",
    ),
]


TrainData = Annotated[
    Path | None,
    typer.Option(
        "--train-data",
        metavar="DATASET",
        help="Data set that the model was trained on: it is retrained on these clips and the corrections.",
        show_default=False,
        parser=path,
        rich_help_panel="Input",
    ),
]


NoSpeech = Annotated[
    bool,
    typer.Option(
        "--no-speech",
        help="Discard saved clips in which AudioSet's classes of speech are detected.",
        rich_help_panel="Output",
    ),
]
