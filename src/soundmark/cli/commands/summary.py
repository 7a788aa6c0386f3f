"""``soundmark summary``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app
from soundmark.detection.settings import DEFAULT_TIMEZONE


@app.command()
def summary(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Folders of results that classify -o wrote, or single files of them.",
            show_default=False,
            parser=options.place,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PICTURE", help="Draw it too: a .png, .svg or .pdf file.", parser=options.place
        ),
    ] = None,
    timezone: options.Timezone = DEFAULT_TIMEZONE,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="For a person: table; for a program: csv or json.",
            metavar="[table|csv|json]",
            parser=options.one_of("format", ("table", "csv", "json")),
        ),
    ] = "table",
) -> None:
    """What was heard when: minutes of each class by hour of the day and by day."""
    from soundmark.cli import console, tables
    from soundmark.detection.summary import summarize
    from soundmark.runtime import plotting

    if output:
        plotting.check_figure_path(output)
    found = summarize(results, timezone=timezone)
    if form == "table":
        tables.show_summary(found)
    else:
        console.write_output(found.to_csv() if form == "csv" else found.to_json())
    if output:
        found.save(output)
        console.say(f"The picture is {output}.")
    if found.note:
        console.warn(found.note)
