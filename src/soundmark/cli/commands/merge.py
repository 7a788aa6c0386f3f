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
            "soundmark merge corrections ann/corrections ben/corrections",
        ]
    )
)
def merge(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Folder for the merged results or corrections.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Output",
        ),
    ],
    shards: Annotated[
        list[Path],
        typer.Argument(
            metavar="SHARD...",
            help="Results folders of classify --shard, all of them, in any order; or folders of corrections.",
            show_default=False,
            parser=options.path,
            rich_help_panel="Input",
        ),
    ],
) -> None:
    """Merge the results of classify --shard, or corrections.

    The results are those of one run over all files, byte for byte. Corrections of several people are added to those
    in OUT, without duplicates. The folders that are merged are not changed.
    """
    from soundmark.cli import console, tables
    from soundmark.datasets.layouts import corrections
    from soundmark.detection.archive.corrections import Corrections
    from soundmark.detection.results_folder import merge as merging
    from soundmark.runtime.text import counted

    console.show_library_warnings()
    if all(corrections.find(shard) for shard in shards):
        merged = Corrections(folder)
        added = sum(merged.merge(shard) for shard in shards)
        console.say(f"{counted(added, 'decision')} added; {len(merged)} count.")
        return
    found = merging.merge(folder, shards)
    tables.show_failures(found)
    raise typer.Exit(1 if found.failures else 0)
