"""``soundmark curve``."""

from __future__ import annotations

from typing import Annotated

import typer

from soundmark.cli import choices, help_page, options, requirements
from soundmark.cli.app import app
from soundmark.training import DEFAULT_DEVICE, DEFAULT_RECIPE


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark curve sounds -o curve",
            "soundmark curve UrbanSound8K -o curve --recipe notebook-mel --draws 1",
        ],
        Recipes=choices.RECIPES,
    )
)
@options.with_groups
def curve(
    dataset: options.DatasetPath,
    output: options.Output,
    *,
    recipe: Annotated[str, options.recipe_option("Recipe, or a .toml file. See Recipes.")] = DEFAULT_RECIPE,
    draws: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Random draws of training recordings at each size.",
            show_default="10; 2 for recipes without a backbone",
            parser=options.positive_integer,
            rich_help_panel="Evaluation",
        ),
    ] = None,
    training: options.TrainingOptions,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    device: options.Device = DEFAULT_DEVICE,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Measure how the score grows with the labelled recordings.

    Trains on 1, 2, 4, … recordings per class and on all, always tests on the same held-out recordings, and extrapolates
    to twice as many recordings: overall, and for each class. Writes DIR/curve.json and DIR/curve.png. Run the same
    command again to resume.
    """
    if cluster:
        requirements.require("--cluster", ("distributed",))
    from soundmark.cli import console, tables
    from soundmark.evaluation import curve_run
    from soundmark.runtime import parallel
    from soundmark.runtime.plotting import has_matplotlib
    from soundmark.training.unit import check_device

    (chosen,) = training.changed([recipe])
    requirements.require_for_recipes([chosen])
    check_device([chosen], device)
    data = training.open([dataset], [chosen])
    plan = curve_run.make_curve_plan(data, chosen, draws=draws)
    console.say(curve_run.describe_curve(plan, device=device))
    with parallel.workers(cluster, jobs) as workers, console.progress(quiet) as progress:
        found = curve_run.run_curve(plan, output, jobs=workers, device=device, fresh=fresh, progress=progress)
    tables.show_curve(found)
    faults = data.faults(found.skipped)
    tables.name_skipped(faults)
    figure = f"Figure: {output / curve_run.FIGURE}. " if has_matplotlib() else ""
    console.say(f"{figure}Numbers: {output / curve_run.NAME}.")
    raise typer.Exit(1 if faults else 0)
