"""``soundmark explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app


@app.command()
def explain(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A sound file.", show_default=False, parser=options.place)
    ],
    model: options.ModelPath,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="PICTURE",
            help="Where it is drawn: a .png, .svg or .pdf file.",
            show_default=False,
            parser=options.place,
        ),
    ],
) -> None:
    """Where in a sound a model heard what it heard: a spectrogram with the regions that carried the decision."""
    from soundmark import audio
    from soundmark.cli import console
    from soundmark.models.classifier import load
    from soundmark.runtime import plotting

    loaded = load(model)
    plotting.check_figure_path(output)
    found = loaded.explain(source)
    found.save(output)
    console.print_result(f"{found.sentence()} The picture is {output}.")
    if found.note:
        console.warn(audio.incomplete_note(found.name, found.note))
