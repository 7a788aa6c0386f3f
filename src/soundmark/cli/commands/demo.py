"""``soundmark demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app, command_line


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="RUN", help="The folder that results go to.", parser=options.place)
    ] = Path("demo"),
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """No data needed: synthesise a small city, compare two recipes on it, report, classify."""
    from soundmark.cli import console, synthetic_demo, tables
    from soundmark.evaluation import report

    with console.progress(quiet) as progress:
        result = synthetic_demo.run_demo(
            output, say=console.say, progress=progress, fresh=fresh, command=command_line()
        )
    tables.show_evaluation(result.evaluation)
    console.print_result(report.sentence(result.evaluation))
    tables.show_answers({str(result.unseen): result.answer})
    for line in result.whereabouts():
        console.say(line)
