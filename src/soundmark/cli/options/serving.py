"""Options of the commands that serve a page: what is served, and where reviews are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from soundmark.cli.options.parsers import finite, integer, path

Archives = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[INDEX]...",
        help="Folders made by `soundmark index`, to review their detections; with -m also results folders of "
        "`soundmark classify -o`.",
        show_default=False,
        parser=path,
        rich_help_panel="Input",
    ),
]


Port = Annotated[
    int,
    typer.Option(
        "--port",
        metavar="N",
        help="Port to listen at; 0: any free one.",
        parser=integer,
        rich_help_panel="Network",
    ),
]


def corrections_option(*, show_default: bool | str = True) -> Any:
    """The folder that reviews are kept in."""
    return typer.Option(
        "--corrections",
        metavar="DIR",
        help="Folder that reviews are kept in: decisions, and the clips that they label.",
        show_default=show_default,
        parser=path,
        rich_help_panel="Output",
    )


CorrectionsFolder = Annotated[Path | None, corrections_option(show_default="corrections, with an index")]


MaxCorrections = Annotated[
    float,
    typer.Option(
        "--max-corrections",
        metavar="MB",
        help="Largest total size of the clips in the folder of --corrections.",
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
