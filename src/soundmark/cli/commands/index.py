"""``soundmark index``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundmark.cli import help_page, options
from soundmark.cli.app import app
from soundmark.detection.settings import DEFAULT_MODEL


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark index recordings -m final/model.onnx -o index",
            "soundmark index recordings --overlap 0.5 --jobs 4 -o index",
        ]
    )
)
def index(
    archive: options.Inputs = None,
    model: options.ModelOrDefault = DEFAULT_MODEL,
    files_from: options.FilesFrom = None,
    output: Annotated[Path, options.output_option("DIR", "Folder of the index.", show_default=True)] = Path("index"),
    overlap: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Overlap between consecutive windows, 0 to 1.",
            parser=options.number,
            rich_help_panel="Detection",
        ),
    ] = 0.0,
    jobs: options.Jobs = None,
    isolate: options.Isolate = False,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Index recordings, to search them and to choose what to label.

    Stores an embedding, the scores of all classes and the level of each window. Run the same command again to resume,
    and to add recordings that are new or have changed. A file that cannot be read is skipped (exit status 1).
    """
    from soundmark.cli import console, tables
    from soundmark.detection import inputs
    from soundmark.detection.archive.indexing import build_index
    from soundmark.models.pretrained import named_models

    inputs.check(archive or [], files_from)
    console.show_library_warnings()
    loaded = named_models.load(model)
    names = [*(archive or []), *(inputs.read_file_list(files_from) if files_from else [])]
    files, _ = inputs.without_repeats(inputs.files(names))
    with console.analysis_progress(quiet) as show_progress:
        found = build_index(
            files,
            loaded,
            output,
            overlap=overlap,
            jobs=jobs,
            isolate=isolate,
            fresh=fresh,
            on_progress=show_progress,
        )
    tables.show_failures(found)
    raise typer.Exit(1 if found.failures else 0)
