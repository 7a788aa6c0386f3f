"""``soundmark compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from soundmark.cli import options
from soundmark.cli.app import app, command_line, open_dataset
from soundmark.evaluation import DEFAULT_RECIPES, DEFAULT_SEEDS
from soundmark.training import DEFAULT_DEVICE


@app.command()
def compare(
    dataset: options.DatasetPath,
    output: options.Output,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="A recipe's name or .toml file; may be repeated. Default: notebook-image and notebook-mel.",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="random, folds or grouped (by recording); may be repeated. Default: random, and folds or grouped.",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,10", help="Test only these folds, each trained on all the others.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="NUMBER",
            help="Repeat each training with so many seeds, and show the spread.",
            parser=options.natural,
        ),
    ] = DEFAULT_SEEDS,
    subset: options.Subset = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = None,
    jobs: options.Jobs = None,
    device: options.Device = DEFAULT_DEVICE,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Recipes × protocols on one data set: one table, one report. The main job."""
    from soundmark.cli import console, tables
    from soundmark.evaluation import comparison, report
    from soundmark.evaluation.plan import describe_cost, make_plan
    from soundmark.training import named_recipes

    chosen = [
        named_recipes.recipe(name, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
        for name in recipe or DEFAULT_RECIPES
    ]
    data = open_dataset(dataset, subset)
    plan = make_plan(data, chosen, protocols=protocol, folds=options.numbers(folds), seeds=seeds)
    console.say(describe_cost(plan, output, device=device, fresh=fresh))
    with console.progress(quiet) as progress:
        found = comparison.run_and_report(
            plan, output, jobs=jobs, device=device, fresh=fresh, command=command_line(), progress=progress
        )
    tables.show_evaluation(found)
    console.print_result(report.sentence(found))
    faults = data.faults(found.skipped)
    tables.name_skipped(faults)
    console.say(f"The report is {output / 'report.html'}; the numbers are {output / 'metrics.json'}.")
    raise typer.Exit(1 if faults else 0)
