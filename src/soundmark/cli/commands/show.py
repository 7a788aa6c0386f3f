"""``soundmark show``."""

from __future__ import annotations

from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app


@app.command()
def show(
    model: options.ModelArgument,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="For a person: table; for a page on the web: markdown; for a program: json.",
            metavar="[table|markdown|json]",
            parser=options.one_of("format", ("table", "json", "markdown")),
        ),
    ] = "table",
) -> None:
    """A model's card: what it listens for, how it was made, how good it was found to be, how to use it."""
    from soundmark.cli import console, tables
    from soundmark.models import bundle, card_text

    told = bundle.read_bundle(model).card
    if form == "table":
        tables.show_card(str(model), told)
    else:
        console.write_output(card_text.to_json(told) if form == "json" else card_text.to_markdown(str(model), told))
