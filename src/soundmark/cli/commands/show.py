"""``soundmark show``."""

from __future__ import annotations

from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options
from soundmark.cli.app import app


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark show model.onnx",
            "soundmark show model.onnx --all",
            "soundmark show model.onnx --format markdown > README.md",
        ],
        Formats=choices.CARD_FORMATS,
    )
)
def show(
    model: options.ModelArgument,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Show the complete card: recipe, parameters, checksums, versions.",
            rich_help_panel="Output",
        ),
    ] = False,
    form: Annotated[str, options.format_option(choices.CARD_FORMATS)] = "table",
) -> None:
    """Show a model's classes, training data, scores and licence.

    The table also shows the input and how to use the model. The formats markdown and json are always complete.
    """
    from soundmark.cli import console, tables
    from soundmark.models import card_text
    from soundmark.models.pretrained.named_models import load

    found = load(model).bundle
    if form == "table":
        tables.show_card(model, found, everything=everything)
    elif form == "json":
        console.write_output(card_text.to_json(found.card))
    else:
        console.write_output(card_text.to_markdown(model, found.card))
