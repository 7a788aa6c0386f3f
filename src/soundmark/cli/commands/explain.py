"""``soundmark explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import help_page, options, requirements
from soundmark.cli.app import app
from soundmark.errors import processing


@app.command(epilog=help_page.page_end(["soundmark explain street.wav -m model.onnx -o why.png"]))
def explain(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="Sound file.", show_default=False, parser=options.path, rich_help_panel="Input"
        ),
    ],
    model: options.ModelName,
    output: Annotated[Path, options.output_option("FILE", "Image to write: .png, .svg or .pdf.")],
    overwrite: options.Overwrite = False,
) -> None:
    """Draw the regions that contributed most to the predicted class.

    Each region is hidden in turn; the regions whose absence lowers the score of the predicted class most are outlined
    (occlusion sensitivity).
    """
    requirements.require("explain", requirements.FIGURES)
    from soundmark import audio
    from soundmark.cli import console
    from soundmark.models.pretrained.named_models import load
    from soundmark.runtime import atomic, plotting

    loaded = load(model)
    plotting.check_figure_path(output)
    atomic.check_new_file(output, overwrite=overwrite)
    with processing(f'"{source}"'):
        found = loaded.explain(source)
        found.save(output)
    console.print_result(f"{found.sentence()} Image: {output}.")
    if found.note:
        console.warn(audio.incomplete_note(found.name, found.note))
