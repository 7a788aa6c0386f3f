"""``soundmark merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import help_page, options
from soundmark.cli.app import app


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark merge results parts/1 parts/2",
            "soundmark merge results parts/*",
        ]
    )
)
def merge(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Folder for the merged results.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Output",
        ),
    ],
    shards: Annotated[
        list[Path],
        typer.Argument(
            metavar="SHARD...",
            help="Results folders of classify --shard, all of them, in any order.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ],
) -> None:
    """Merge the results of classify --shard into one folder.

    The results are those of one run over all files, byte for byte. The folders of the shards are not changed.
    """
    from soundmark.cli import console, tables
    from soundmark.detection.results_folder import merge as merging

    console.show_library_warnings()
    found = merging.merge(folder, shards)
    tables.show_failures(found)
    raise typer.Exit(1 if found.failures else 0)
