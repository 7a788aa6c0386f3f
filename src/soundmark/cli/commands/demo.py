"""``soundmark demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import help_page, options, requirements
from soundmark.cli.app import app, command_line
from soundmark.training import NETWORK_PACKAGES


@app.command(
    epilog=help_page.page_end(["soundmark demo", "soundmark demo --serve", "soundmark demo -o /tmp/demo --fresh"])
)
def demo(
    output: Annotated[
        Path, options.output_option("DIR", "Folder for the data set and the results.", show_default=True)
    ] = Path("demo"),
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Serve the model of the demo afterwards: a web page to try it.", rich_help_panel="General"
        ),
    ] = False,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Compare two recipes on a synthetic data set.

    Needs no data and takes about two minutes: synthesises a small data set of city sounds, compares the notebook's two
    recipes on it, writes a report, and classifies a clip that was not used for training.
    """
    requirements.require("demo", (*NETWORK_PACKAGES, *requirements.FIGURES))
    if serve:
        requirements.require("--serve", requirements.EXTRAS["serve"])
    from soundmark.cli import console, synthetic_demo, tables
    from soundmark.evaluation import report

    with console.progress(quiet) as progress:
        result = synthetic_demo.run_demo(
            output, say=console.say, progress=progress, fresh=fresh, command=command_line()
        )
    tables.show_evaluation(result.evaluation)
    console.print_result(report.sentence(result.evaluation))
    tables.show_answers({str(result.unseen): result.answer})
    for line in result.next_steps():
        console.say(line)
    if serve:
        from soundmark.cli.commands.serve import serve_and_say
        from soundmark.models.classifier import load
        from soundmark.serving.settings import ServerSettings

        console.say(f"Drop {result.unseen} on the page, or any sound file.")
        console.show_library_warnings()
        serve_and_say(load(result.model), ServerSettings(), name="demo: notebook-mel", open_page=True)
