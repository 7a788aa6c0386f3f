"""``soundmark review``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import help_page, options, requirements, shell
from soundmark.cli.app import app
from soundmark.cli.commands.serve import CORRECTIONS, model_to_serve, serve_and_say
from soundmark.serving.settings import ServerSettings


@app.command(
    epilog=help_page.page_end(
        ["soundmark review index", "soundmark review index --corrections mine --thresholds mine.toml"]
    )
)
def review(
    index: options.IndexFolder,
    model: options.ServedModel = None,
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
    the same command again to resume. Stop with Ctrl-C. `soundmark serve INDEX` has more options.
    """
    requirements.require("review", requirements.EXTRAS["serve"])
    from soundmark.cli import console
    from soundmark.serving.archives import open_archives

    shell.not_resumable()
    settings = ServerSettings(
        port=port,
        corrections=corrections,
        max_corrections_bytes=round(max_corrections * 1e6),
        thresholds=thresholds,
    )
    console.show_library_warnings()
    archives = open_archives([index])
    loaded, name = model_to_serve(model, None, archives)
    serve_and_say(loaded, settings, name=name, jobs=jobs, archives=archives, open_page=not no_browser, tab="review")
