"""``soundmark download``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import choices, completion, help_page, options
from soundmark.cli.app import app


@app.command(
    epilog=help_page.page_end(["soundmark download urbansound8k data", "soundmark download esc50 data --keep-archive"])
)
def download(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Data set: urbansound8k (6 GB) or esc50 (0.6 GB).",
            show_default=False,
            parser=options.one_of("data set to download", choices.DOWNLOADS),
            autocompletion=completion.names(choices.DOWNLOADS),
            rich_help_panel="Input",
        ),
    ],
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder for the data set.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Output",
        ),
    ],
    digests: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="List of SHA-256 or MD5 digests (format of sha256sum) with which the files are compared.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ] = None,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Keep the archive after unpacking.", rich_help_panel="Output")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Download a public data set, verify and unpack it.

    Run the same command again to resume after a stop, or to verify a complete copy. An archive that is already in DIR
    is used. The licence and the citation are stored beside the data.
    """
    from soundmark.cli import console
    from soundmark.datasets import download as downloading

    console.show_library_warnings()
    with console.progress(quiet) as progress:
        root = downloading.download(
            name, folder, digests=digests, keep_archive=keep_archive, progress=progress, say=console.say
        )
    console.say(f"Data set: {root}.")
    console.say(f"Next: soundmark inspect {shlex.quote(str(root))}")
