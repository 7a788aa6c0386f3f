"""The command line: one sub-command per verb, and no logic.

Results go to standard output, everything else to standard error; ``shell`` has the exit statuses.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundmark import options, shell

if TYPE_CHECKING:
    from soundmark.batch import Batch
    from soundmark.classification import Hearing
    from soundmark.datasets import Dataset

app = typer.Typer(
    help="From labelled recordings to a sound classifier that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="RUN", help="The folder that results go to.", parser=options.place)
    ] = Path("demo"),
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """No data needed: synthesise a small city, compare two recipes on it, report, classify."""
    from soundmark import demo as demonstration
    from soundmark import report, terminal

    with terminal.progress(quiet) as progress:
        result = demonstration.run(output, say=terminal.say, progress=progress, fresh=fresh, command=_command())
    terminal.show_evaluation(result.evaluation)
    terminal.tell(report.sentence(result.evaluation))
    terminal.show_answers({str(result.unseen): result.answer})
    for line in result.whereabouts():
        terminal.say(line)


@app.command()
def inspect(
    dataset: options.DatasetPath,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PICTURE", help="Draw it too: a .png, .svg or .pdf file.", parser=options.place
        ),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """What is in a data set, and what is wrong with it."""
    from soundmark import inspection, terminal

    data = _open(dataset, subset)
    if output:
        inspection.check_picture(output)
    with terminal.progress(quiet) as progress:
        found = inspection.inspect(data, jobs=jobs, progress=progress)
    terminal.show_inspection(found)
    if output:
        inspection.figure(found, output)
        terminal.say(f"The picture is {output}.")
    raise typer.Exit(1 if found.unreadable or data.faults(data.skipped) else 0)


@app.command()
def spectrograms(
    dataset: options.DatasetPath,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where the pictures go, a folder per class.", show_default=False, parser=options.place
        ),
    ],
    recipe: Annotated[str, typer.Option(help="Whose representation is drawn.")] = "seed-image",
    colours: Annotated[
        str | None, typer.Option(help="For people: a colour map of matplotlib (magma, viridis, …).", show_default=False)
    ] = None,
    axes: Annotated[bool, typer.Option("--axes", help="For people: with axes in seconds and hertz.")] = False,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """Every clip's spectrogram as a PNG, in a folder per class, as the notebook writes them."""
    from soundmark import pictures, recipes, terminal

    data = _open(dataset, subset)
    with terminal.progress(quiet) as progress:
        written = pictures.write(
            data, recipes.named(recipe).representation, folder, colours=colours, axes=axes, jobs=jobs, progress=progress
        )
    terminal.say(f"{written.count:,} pictures are in {folder}.")
    for note in written.notes:
        terminal.warn(note)
    faults = data.faults((*data.skipped, *written.skipped))
    terminal.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)


@app.command()
def compare(
    dataset: options.DatasetPath,
    output: options.Output,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="A recipe's name or .toml file; may be repeated. Default: seed-image and seed-mel.",
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
    ] = 1,
    subset: options.Subset = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = None,
    jobs: options.Jobs = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """Recipes × protocols on one data set: one table, one report. The main job."""
    from soundmark import evaluation, plans, report, runs, terminal

    chosen = [
        options.recipe_of(name, epochs, batch_size, learning_rate, seed)
        for name in recipe or ["seed-image", "seed-mel"]
    ]
    data = _open(dataset, subset)
    plan = plans.plan(data, chosen, protocols=protocol, folds=options.numbers(folds), seeds=seeds)
    terminal.say(plans.cost(plan, output, device=device, fresh=fresh))
    with terminal.progress(quiet) as progress, runs.only_one(output):
        found = evaluation.compare(
            plan, output, jobs=jobs, device=device, fresh=fresh, command=_command(), progress=progress
        )
        report.write(found, output / "report.html")
    terminal.show_evaluation(found)
    terminal.tell(report.sentence(found))
    faults = data.faults(found.skipped)
    terminal.name_skipped(faults)
    terminal.say(f"The report is {output / 'report.html'}; the numbers are {output / 'metrics.json'}.")
    raise typer.Exit(1 if faults else 0)


@app.command()
def train(
    dataset: options.DatasetPath,
    output: options.Output,
    recipe: Annotated[str, typer.Option(help="A recipe's name or .toml file.")] = "seed-mel",
    test_fold: Annotated[
        int | None,
        typer.Option(
            help="Keep this fold back and score it. Default: train on all clips.",
            show_default=False,
            metavar="NUMBER",
            parser=options.whole,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN2",
            help="Put this comparison's scores on the model's card.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    subset: options.Subset = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = None,
    jobs: options.Jobs = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """One model, from all clips or all but one fold: RUN/model.onnx."""
    from soundmark import runs, terminal

    chosen = options.recipe_of(recipe, epochs, batch_size, learning_rate, seed)
    data = _open(dataset, subset)
    with terminal.progress(quiet) as progress:
        made = runs.train(
            data,
            chosen,
            output,
            test_fold=test_fold,
            scores=scores,
            jobs=jobs,
            device=device,
            fresh=fresh,
            progress=progress,
        )
    terminal.show_card(str(made.model), made.card)
    faults = data.faults(made.skipped)
    terminal.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)


@app.command()
def evaluate(
    dataset: options.DatasetPath,
    model: options.ModelPath,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="RUN", help="Write predictions.csv and metrics.json there.", parser=options.place
        ),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """How good a model is on a data set; clips that it was trained on are left out."""
    from soundmark import prediction, scoring, terminal

    loaded = prediction.load(model)
    data = _open(dataset, subset)
    with terminal.progress(quiet) as progress:
        tested = scoring.evaluate(loaded, data, folder=output, jobs=jobs, progress=progress)
    terminal.show_scored(tested)
    faults = data.faults(tested.skipped)
    terminal.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)


@app.command()
def classify(
    model: options.ModelPath,
    typed: options.Inputs = None,
    files_from: options.FilesFrom = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write results there, for all files and for each; the same command again goes on where it was.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    form: options.Form = None,
    top_k: options.TopK = 3,
    unknown: options.Unknown = True,
    overlap: options.Overlap = 0.0,
    min_confidence: options.MinConfidence = None,
    thresholds: options.Thresholds = None,
    merge_gap: options.MergeGap = 0.0,
    timezone: options.Timezone = "UTC",
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
    fresh: options.Fresh = False,
) -> None:
    """What is heard in files, folders of them, or hours of recording: each as a whole, and what is heard when."""
    from soundmark import classification, inputs, prediction, terminal

    if output is None:
        shell.endless()  # nothing is kept that could be gone on with
    inputs.check(typed or [], files_from)
    form = options.form(form, to_folder=output is not None)
    terminal.listen_to_log()
    loaded = prediction.load(model)
    settings = classification.Settings(
        top_k=top_k,
        unknown=unknown,
        overlap=overlap,
        min_confidence=min_confidence,
        thresholds=classification.thresholds(thresholds) if thresholds else None,
        merge_gap_s=merge_gap,
    )
    files = list(inputs.files([*(typed or []), *(inputs.listed(files_from) if files_from else [])]))
    found: Batch | Hearing
    with terminal.hearing(quiet) as tell:
        if output:
            from soundmark import batch

            found = batch.run(
                loaded, files, settings, output, form=form, timezone=timezone, jobs=jobs, fresh=fresh, tell=tell
            )
        else:
            found = classification.Hearing(loaded, files, settings, timezone=timezone, jobs=jobs, tell=tell)
            terminal.hand_over_heard(found, form, unknown=loaded.unknown if unknown else None)
    terminal.name_heard(found)
    raise typer.Exit(1 if found.failures else 0)


@app.command()
def listen(
    model: options.ModelPath,
    source: options.LiveSource = "microphone",
    rate: options.Rate = 44100,
    channels: options.Channels = 1,
    sample_format: options.SampleFormat = "s16",
    real_time: Annotated[
        bool,
        typer.Option("--real-time", help="The PCM does not wait: what comes faster than it can be heard is dropped."),
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="From one window to the next. Default: the model's window, as classify has it.",
            show_default=False,
            parser=options.decimal,
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop after so much sound.", show_default=False, parser=options.decimal),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another microphone, by name or number.", show_default=False)
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="A JSON line for each event, or a live view. Default: the view, in a terminal.",
            metavar="[jsonl|view]",
            show_default=False,
            parser=options.one_of("format", ("jsonl", "view")),
        ),
    ] = None,
    unknown: options.Unknown = True,
    min_confidence: options.MinConfidence = None,
    thresholds: options.Thresholds = None,
    merge_gap: options.MergeGap = 0.0,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep the clip of each event there.", show_default=False, parser=options.place
        ),
    ] = None,
    save_at_most: Annotated[
        str, typer.Option(metavar="MB", help="So much of it; the oldest clips go first.")
    ] = "500MB",
    post: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Post each event to this address, as JSON.", show_default=False),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """What is heard live: an event each time a class begins and ends, from a microphone, a pipe or an address."""
    from soundmark import classification, keeping, live, prediction, sources

    shell.endless()
    loaded = prediction.load(model)
    settings = classification.Settings(
        unknown=unknown,
        min_confidence=min_confidence,
        thresholds=classification.thresholds(thresholds) if thresholds else None,
        merge_gap_s=merge_gap,
    )
    opened = sources.named(
        source, rate_hz=rate, channels=channels, sample_format=sample_format, is_live=real_time, device=device
    )
    live.listen(
        loaded,
        opened,
        settings,
        hop_s=hop,
        most_s=duration,
        form=form,
        save=save,
        most_bytes=keeping.in_megabytes(save_at_most),
        post=post,
        quiet=quiet,
    )


@app.command()
def summary(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            help="Folders of results that classify -o wrote, or single files of them.",
            show_default=False,
            parser=options.place,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PICTURE", help="Draw it too: a .png, .svg or .pdf file.", parser=options.place
        ),
    ] = None,
    timezone: options.Timezone = "UTC",
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="For a person: table; for a program: csv or json.",
            metavar="[table|csv|json]",
            parser=options.one_of("format", ("table", "csv", "json")),
        ),
    ] = "table",
) -> None:
    """What was heard when: minutes of each class by hour of the day and by day."""
    from soundmark import inspection, terminal
    from soundmark import summary as summaries

    if output:
        inspection.check_picture(output)
    found = summaries.summarise(results, zone=timezone)
    if form == "table":
        terminal.show_summary(found)
    else:
        terminal.hand_over(found.to_csv() if form == "csv" else found.to_json())
    if output:
        summaries.figure(found, output)
        terminal.say(f"The picture is {output}.")
    if found.note:
        terminal.warn(found.note)


@app.command()
def explain(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A sound file.", show_default=False, parser=options.place)
    ],
    model: options.ModelPath,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="PICTURE",
            help="Where it is drawn: a .png, .svg or .pdf file.",
            show_default=False,
            parser=options.place,
        ),
    ],
) -> None:
    """Where in a sound a model heard what it heard: a spectrogram with the regions that carried the decision."""
    from soundmark import audio, explanation, inspection, prediction, terminal

    loaded = prediction.load(model)
    inspection.check_picture(output)
    found = explanation.explain(loaded, source)
    explanation.figure(found, output)
    terminal.tell(f"{found.sentence()} The picture is {output}.")
    if found.note:
        terminal.warn(audio.shortened(found.name, found.note))


@app.command()
def show(
    model: options.ModelArgument,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="For a person: table; for a page on the web: markdown; for a program: json.",
            metavar="[table|markdown|json]",
            parser=options.one_of("format", ("table", "json", "markdown")),
        ),
    ] = "table",
) -> None:
    """A model's card: what it listens for, how it was made, how good it was found to be, how to use it."""
    from soundmark import bundle, card, terminal

    told = bundle.read(model).card
    if form == "table":
        terminal.show_card(str(model), told)
    else:
        terminal.hand_over(card.to_json(told) if form == "json" else card.to_markdown(str(model), told))


@app.command()
def export(
    model: options.ModelArgument,
    front_end: Annotated[
        bool, typer.Option("--with-front-end", help="One file from waveform to probabilities, for other programs.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="A quarter of the size, for soundmark or to export on.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where it goes. Default: beside the model.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="With the front end: for sounds of any length.")] = False,
    check: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SOUNDS",
            help="With the front end: try it on these too, files, folders or a table; may be repeated.",
            show_default=False,
            parser=options.place,
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET", help="For --int8: real clips, as for train.", show_default=False, parser=options.place
        ),
    ] = None,
    subset: options.Subset = None,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """A model for other programs: with its front end, or in 8 bits. Nothing is written that says something else."""
    from soundmark import export as exporting
    from soundmark import prediction, terminal

    wish = exporting.Wish(front_end=front_end, int8=int8, dynamic=dynamic, check=check or (), calibrate=calibrate)
    loaded = prediction.load(model)
    place = exporting.place(model, output, wish)
    with terminal.progress(quiet) as progress:
        if wish.calibrate:
            data = _open(wish.calibrate, subset)
            done = exporting.write_int8(loaded, place, data, jobs=jobs, progress=progress)
            faults = data.faults(done.skipped)
        else:
            done = exporting.write(loaded, place, dynamic=dynamic, check=wish.check, progress=progress)
            faults = done.skipped
    terminal.tell(f"{place}: {done.sentence}")
    terminal.name_skipped(faults)
    raise typer.Exit(1 if faults else 0)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        sys.stdout.write(f"soundmark {version_of('soundmark')}\n")
        raise typer.Exit


def main() -> None:
    """Run the command line, and exit."""
    shell.run(app)


def _open(path: Path, subset: str | None) -> Dataset:
    from soundmark import terminal
    from soundmark.datasets import Dataset

    terminal.listen_to_log()
    data = Dataset.open(path, subset=subset)
    if data.is_partial:
        terminal.say(f"{data.name}: {data.share} are here.")
    return data


def _command() -> str:
    return shlex.join(["soundmark", *sys.argv[1:]])


if __name__ == "__main__":
    main()
