"""``soundmark search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options
from soundmark.cli.app import app, open_index


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark search index --like siren.wav",
            "soundmark search index --like street.wav --start 12 --stop 16 --format csv",
            "soundmark search results -m model.onnx --like siren.wav",
        ],
        Formats=choices.WINDOW_FORMATS,
    )
)
def search(
    index: options.IndexFolder,
    like: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="Sound to search for; repeat it for several sounds: a window is like the nearest one.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ],
    start: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Start of the sound in the file.",
            show_default="its start",
            parser=options.number,
            rich_help_panel="Input",
        ),
    ] = None,
    stop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Stop of the sound in the file.",
            show_default="its end",
            parser=options.number,
            rich_help_panel="Input",
        ),
    ] = None,
    model: options.IndexModel = None,
    n: options.NWindows = 10,
    same_file: Annotated[
        bool,
        typer.Option("--same-file", help="List windows of the searched file too.", rich_help_panel="Output"),
    ] = False,
    form: Annotated[str, options.format_option(choices.WINDOW_FORMATS)] = "table",
    jobs: options.Jobs = None,
) -> None:
    """Search an index for windows that sound like a file.

    Compares the embedding of the sound with those of all windows, and lists the most similar ones. The recordings of a
    results folder are indexed first, in the cache.
    """
    from soundmark.cli import tables

    opened = open_index(index, model, jobs)
    tables.show_windows(opened.search(like, n=n, start_s=start, stop_s=stop, same_file=same_file), form)
    raise typer.Exit(1 if opened.failures else 0)
