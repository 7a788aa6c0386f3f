"""``soundmark inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundmark.cli import help_page, options, requirements
from soundmark.cli.app import app, open_dataset
from soundmark.errors import SettingsError

if TYPE_CHECKING:
    from soundmark.datasets import Dataset


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark inspect UrbanSound8K",
            "soundmark inspect recordings.csv -o overview.png",
            "soundmark inspect sounds --labels transfer -o labels.html",
        ]
    )
)
def inspect(
    dataset: options.DatasetPath,
    labels: Annotated[
        str | None,
        options.recipe_option(
            "Check the labels instead, with predictions of this recipe from models trained without the recording.",
            group="Evaluation",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        options.output_option("FILE", "Figure to write; with --labels, a table (.csv) or a page with players (.html)."),
    ] = None,
    overwrite: options.Overwrite = False,
    subset: options.Subset = None,
    complete: options.Complete = False,
    backbone: options.Backbone = None,
    backbone_output: options.BackboneOutput = None,
    backbone_rate: options.BackboneRate = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """List the classes, formats and problems of a data set.

    Every clip is decoded. Reports clips per class and fold, durations, encodings, and clips that are unreadable,
    truncated, silent, clipped or duplicate, or whose recording occurs in several folds. With --labels, lists the
    recordings whose labels the predictions contradict most: these labels may be wrong. Exit status 1: a clip
    cannot be read.
    """
    fields = {"backbone": backbone, "backbone_output": backbone_output, "backbone_rate_hz": backbone_rate}
    if labels:
        data = open_dataset(dataset, subset, complete=complete)
        raise typer.Exit(_check_labels(data, labels, fields, output, overwrite, jobs, quiet))
    for option, value in fields.items():
        if value is not None:
            name = f"--{option.removesuffix('_hz').replace('_', '-')}"
            raise SettingsError(f"{name} can only be used with --labels: remove it.")
    if output:
        requirements.require("a figure", requirements.FIGURES)
    from soundmark.cli import console, tables
    from soundmark.datasets import inspection
    from soundmark.runtime import atomic, plotting

    data = open_dataset(dataset, subset, complete=complete)
    if output:
        plotting.check_figure_path(output)
        atomic.check_new_file(output, overwrite=overwrite)
    with console.progress(quiet) as progress:
        found = inspection.inspect(data, jobs=jobs, progress=progress)
    tables.show_inspection(found)
    for text in found.warnings:
        console.warn(text)
    if output:
        found.save(output)
        console.say(f"Figure: {output}.")
    raise typer.Exit(1 if found.unreadable or data.faults(data.skipped) else 0)


def _check_labels(
    data: Dataset,
    labels: str,
    fields: dict[str, str | int | None],
    output: Path | None,
    overwrite: bool,
    jobs: int | None,
    quiet: bool,
) -> int:
    """Print the recordings with contradicted labels; return the exit status."""
    from soundmark.cli import console, tables
    from soundmark.evaluation import label_check
    from soundmark.runtime import atomic
    from soundmark.training import named_recipes
    from soundmark.training.single_model import prepare

    recipe = named_recipes.recipe(labels, **fields)
    label_check.check_recipe(recipe)
    named_recipes.check_used([recipe], **fields)
    if output:
        label_check.check_suffix(output)
        atomic.check_new_file(output, overwrite=overwrite)
    data = prepare(data, [recipe])
    with console.progress(quiet) as progress:
        found = label_check.find_suspects(data, recipe, jobs=jobs, progress=progress)
    tables.show_labels(found)
    if output:
        found.save(output)
        console.say(f"Labels: {output}.")
    faults = data.faults(found.skipped)
    tables.name_skipped(faults)
    return 1 if faults else 0
