"""``soundmark suggest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options
from soundmark.cli.app import app, open_dataset, open_index


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark suggest index -n 20",
            "soundmark suggest index --class siren --labelled sounds",
            "soundmark suggest index --format csv > label_these.csv",
        ],
        Formats=choices.WINDOW_FORMATS,
    )
)
def suggest(
    index: options.IndexFolder,
    model: options.IndexModel = None,
    n: options.NWindows = 20,
    label: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="LABEL",
            help="Suggest windows of which it is uncertain whether they contain this class.",
            show_default="all classes",
            rich_help_panel="Output",
        ),
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="Data set with labels that exist already: its windows are excluded; those unlike them come first.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ] = None,
    form: Annotated[str, options.format_option(choices.WINDOW_FORMATS)] = "table",
    jobs: options.Jobs = None,
) -> None:
    """Suggest which windows of an index to label next.

    Lists windows about which the model is uncertain, and which differ from each other: labels of these teach a model
    more than labels of random windows. With --format csv, fill in the column "label" and train on the table. The
    recordings of a results folder are indexed first, in the cache.
    """
    from soundmark.cli import tables

    clips = open_dataset(labelled, None) if labelled else None
    opened = open_index(index, model, jobs)
    tables.show_windows(opened.suggest(n, label=label, labelled=clips), form)
    raise typer.Exit(1 if opened.failures else 0)
