"""``soundmark review``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import help_page, options, requirements
from soundmark.cli.app import app
from soundmark.cli.commands.serve import CORRECTIONS, open_served, serve_and_say
from soundmark.serving.settings import ServerSettings


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark review index",
            "soundmark review results -m model.onnx",
            "soundmark review index --corrections mine --thresholds mine.toml",
        ]
    )
)
def review(
    index: options.IndexFolder,
    model: options.IndexModel = None,
    corrections: Annotated[Path, options.corrections_option()] = CORRECTIONS,
    max_corrections: options.MaxCorrections = ServerSettings.max_corrections_bytes / 1e6,
    thresholds: options.Thresholds = None,
    port: options.Port = ServerSettings.port,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page in the browser.", rich_help_panel="General")
    ] = False,
    jobs: options.Jobs = None,
) -> None:
    """Review detections in the browser, to choose thresholds.

    Listen to windows, press a key for yes or no, and see the precision at each threshold. Decisions are saved: run
    the same command again to resume. The recordings of a results folder are indexed first, in the cache. Stop with
    Ctrl-C. `soundmark serve INDEX` has more options.
    """
    requirements.require("review", requirements.EXTRAS["serve"])
    settings = ServerSettings(
        port=port,
        corrections=corrections,
        max_corrections_bytes=round(max_corrections * 1e6),
        thresholds=thresholds,
    )
    loaded, name, archives = open_served([index], model, jobs=jobs)
    serve_and_say(loaded, settings, name=name, jobs=jobs, archives=archives, open_page=not no_browser, tab="review")
