"""``soundmark summary``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options, requirements
from soundmark.cli.app import app
from soundmark.detection.settings import DEFAULT_TIMEZONE


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark summary results",
            "soundmark summary results -o activity.png --timezone Europe/Berlin",
        ],
        Formats=choices.SUMMARY_FORMATS,
    )
)
def summary(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Results of classify -o: folders, or files (.csv, .jsonl, .json, .parquet).",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ],
    output: options.Figure = None,
    overwrite: options.Overwrite = False,
    timezone: options.Timezone = DEFAULT_TIMEZONE,
    form: Annotated[str, options.format_option(choices.SUMMARY_FORMATS)] = "table",
) -> None:
    """Sum up detections by class, hour of the day and day.

    Needs recordings with a known start time: from the file name, like 20240612_043000.wav, or from the file's metadata.
    """
    if output:
        requirements.require("a figure", requirements.FIGURES)
    from soundmark.cli import console, tables
    from soundmark.detection.summary import distinct_results, summarize
    from soundmark.runtime import atomic, plotting

    if output:
        plotting.check_figure_path(output)
        atomic.check_new_file(output, overwrite=overwrite)
    repeats = len(results) - len(distinct_results(results))
    if repeats:
        console.say(f"{repeats} repeated {'path' if repeats == 1 else 'paths'} of the same results: counted once.")
    found = summarize(results, timezone=timezone)
    if form == "table":
        tables.show_summary(found)
    else:
        console.write_output(found.to_csv() if form == "csv" else found.to_json())
    if output:
        found.save(output)
        console.say(f"Figure: {output}.")
    if found.note:
        console.warn(found.note)
