"""``soundmark push``."""

from __future__ import annotations

from typing import Annotated

import typer

from soundmark.cli import help_page, options, requirements
from soundmark.cli.app import app


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark push model.onnx user/birds",
            "soundmark push model.onnx user/birds --private",
        ]
    )
)
def push(
    model: options.ModelArgument,
    repository: Annotated[
        str,
        typer.Argument(
            metavar="USER/NAME",
            help="Repository on the Hugging Face Hub; it is created if necessary.",
            show_default=False,
            rich_help_panel="Output",
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Create a private repository.", rich_help_panel="Output")
    ] = False,
    message: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Message of the commit.", show_default="the classes", rich_help_panel="Output"
        ),
    ] = None,
) -> None:
    """Publish a model and its card on the Hugging Face Hub.

    Log in first with `hf auth login`, or set HF_TOKEN. The model is then loaded with -m hf://USER/NAME.
    """
    requirements.require("push", ("huggingface-hub",))
    from soundmark.cli import console
    from soundmark.models.pretrained import hub
    from soundmark.models.pretrained.named_models import load

    url = hub.push(load(model).bundle, repository, private=private, message=message)
    console.print_result(f"{url}: {hub.FILE} and README.md. Load it with -m {hub.PREFIX}{repository}.")
