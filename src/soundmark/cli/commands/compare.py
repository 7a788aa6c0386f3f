"""``soundmark compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from soundmark.cli import choices, completion, help_page, options, requirements
from soundmark.cli.app import app, command_line
from soundmark.evaluation import DEFAULT_RECIPES, DEFAULT_SEEDS
from soundmark.training import DEFAULT_DEVICE


@app.command(
    epilog=help_page.page_end(
        [
            "soundmark compare sounds -o run",
            "soundmark compare UrbanSound8K -o run --preset notebook",
            "soundmark compare ESC-50-master -o run --recipe scratch --recipe transfer",
        ],
        Recipes=choices.RECIPES,
        Protocols=choices.PROTOCOLS,
    )
)
@options.with_groups
def compare(
    dataset: options.DatasetPath,
    output: options.Output,
    *,
    recipe: Annotated[
        list[str] | None,
        options.recipe_option(
            "Recipe to compare, or a .toml file; may be repeated. See Recipes.",
            show_default=", ".join(DEFAULT_RECIPES),
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compare the recipes of a known experiment instead: notebook (notebook-image, notebook-mel).",
            show_default=False,
            autocompletion=completion.names(choices.PRESETS),
            rich_help_panel="Training",
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="How to split into training and test clips; may be repeated. See Protocols.",
            show_default="random and folds, else random and grouped",
            autocompletion=completion.names(choices.PROTOCOLS),
            rich_help_panel="Evaluation",
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,10",
            help="Official folds to test; each model is trained on all other folds.",
            show_default="all",
            rich_help_panel="Evaluation",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of trainings with different random seeds; several give mean and spread.",
            parser=options.positive_integer,
            rich_help_panel="Evaluation",
        ),
    ] = DEFAULT_SEEDS,
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="Measure the learning curve of recipes with a backbone too, for the report.",
            rich_help_panel="Evaluation",
        ),
    ] = False,
    training: options.TrainingOptions,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    device: options.Device = DEFAULT_DEVICE,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Cross-validate recipes on a data set; write a report.

    Writes DIR/report.html, DIR/metrics.json, and the models, predictions and training histories. The table lists
    accuracy or mAP with confidence intervals, macro F1 and calibration error; two recipes are compared with a paired
    test, and a verdict says whether the data decide. Run the same command again to resume.
    """
    if cluster:
        requirements.require("--cluster", ("distributed",))
    from soundmark.cli import console, tables
    from soundmark.evaluation import comparison, curve_run, report
    from soundmark.evaluation.plan import describe_cost, make_plan, preset_or
    from soundmark.runtime import parallel

    chosen = training.changed(preset_or(recipe or None, preset))
    requirements.require_for_recipes(chosen)
    if curve:
        curve_run.check_curves(chosen)
    data = training.open([dataset], chosen)
    plan = make_plan(data, chosen, protocols=protocol, folds=options.fold_numbers(folds), seeds=seeds)
    console.say(describe_cost(plan, output, device=device, fresh=fresh))
    with parallel.workers(cluster, jobs) as workers, console.progress(quiet) as progress:
        found = comparison.run_and_report(
            plan,
            output,
            jobs=workers,
            device=device,
            curve=curve,
            fresh=fresh,
            command=command_line(),
            progress=progress,
        )
    tables.show_evaluation(found)
    console.print_result(report.sentence(found))
    faults = data.faults(found.skipped)
    tables.name_skipped(faults)
    console.say(f"Report: {output / 'report.html'}. Numbers: {output / 'metrics.json'}.")
    raise typer.Exit(1 if faults else 0)
