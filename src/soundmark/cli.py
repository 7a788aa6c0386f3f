"""The command line: one sub-command per verb, and no logic.

Results go to standard output, everything else to standard error. Exit status: 0 all done, 1 some inputs failed (each is
named), 2 a usage error or an input that stops everything, 130 stopped by Ctrl-C, 141 by a closed pipe, 143 by SIGTERM.
docs/errors.md shows what is said of what.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from soundmark.errors import OutputError, SettingsError, SoundmarkError, unknown_name

if TYPE_CHECKING:
    from soundmark.datasets import Dataset
    from soundmark.recipes import Recipe

Number = TypeVar("Number", int, float)

app = typer.Typer(
    help="From labelled recordings to a sound classifier that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def _place(text: str) -> Path:
    """A path that was typed; the empty one would mean the current folder."""
    if not text:
        raise typer.BadParameter('it is "": give a path. The current folder is ".".')
    return Path(text)


def _whole(text: str) -> int:
    return _typed(int, text, "a whole number")


def _natural(text: str) -> int:
    number = _typed(int, text, "a whole number of at least 1")
    if number < 1:
        raise typer.BadParameter(f"it is {number}: give a whole number of at least 1.")
    return number


def _decimal(text: str) -> float:
    return _typed(float, text, "a number")


def _typed(kind: Callable[[str], Number], text: str, what: str) -> Number:
    try:
        return kind(text)
    except ValueError as error:
        raise typer.BadParameter(f'it is "{text}": give {what}.') from error


def _form(text: str) -> Format:
    try:
        return Format(text)
    except ValueError as error:
        raise typer.BadParameter(str(unknown_name("format", text, list(Format)))) from error


# Options that mean the same everywhere.
DatasetPath = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET",
        help="UrbanSound8K, ESC-50, a CSV table, or a folder with a folder per class.",
        show_default=False,
        parser=_place,
    ),
]
Subset = Annotated[str | None, typer.Option(help="A named part of the data set: esc10 of ESC-50.")]
Output = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="RUN", help="The folder that results go to.", show_default=False, parser=_place
    ),
]
ModelPath = Annotated[
    Path,
    typer.Option("-m", "--model", metavar="MODEL", help="A trained model (.onnx).", show_default=False, parser=_place),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes to compute features with. Default: the cores there are.",
        show_default=False,
        metavar="NUMBER",
        parser=_natural,
    ),
]
Device = Annotated[str, typer.Option(help="Where to train: auto, cpu, cuda or mps.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of going on with what is there.")]
Epochs = Annotated[
    int | None,
    typer.Option(help="Instead of the recipe's own.", show_default=False, metavar="NUMBER", parser=_whole),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Instead of the recipe's own.", show_default=False, metavar="NUMBER", parser=_whole),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Instead of the recipe's own.", show_default=False, metavar="NUMBER", parser=_decimal),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Of weights, order and dropout, instead of the recipe's own.",
        show_default=False,
        metavar="NUMBER",
        parser=_whole,
    ),
]


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="RUN", help="The folder that results go to.", parser=_place)
    ] = Path("demo"),
    quiet: Quiet = False,
    fresh: Fresh = False,
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
    dataset: DatasetPath,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PICTURE", help="Draw it too: a .png, .svg or .pdf file.", parser=_place
        ),
    ] = None,
    subset: Subset = None,
    jobs: Jobs = None,
    quiet: Quiet = False,
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
    dataset: DatasetPath,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where the pictures go, a folder per class.", show_default=False, parser=_place
        ),
    ],
    recipe: Annotated[str, typer.Option(help="Whose representation is drawn.")] = "seed-image",
    colours: Annotated[
        str | None, typer.Option(help="For people: a colour map of matplotlib (magma, viridis, …).", show_default=False)
    ] = None,
    axes: Annotated[bool, typer.Option("--axes", help="For people: with axes in seconds and hertz.")] = False,
    subset: Subset = None,
    jobs: Jobs = None,
    quiet: Quiet = False,
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
    dataset: DatasetPath,
    output: Output,
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
            help="random or folds; may be repeated. Default: both, where there are folds.", show_default=False
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,10", help="Test only these folds, each trained on all the others.", show_default=False
        ),
    ] = None,
    subset: Subset = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    jobs: Jobs = None,
    device: Device = "auto",
    quiet: Quiet = False,
    fresh: Fresh = False,
) -> None:
    """Recipes × protocols on one data set: one table, one report. The main job."""
    from soundmark import evaluation, plans, report, terminal

    chosen = [_recipe(name, epochs, batch_size, learning_rate, seed) for name in recipe or ["seed-image", "seed-mel"]]
    data = _open(dataset, subset)
    plan = plans.plan(data, chosen, protocols=protocol, folds=_numbers(folds))
    terminal.say(plans.cost(plan, output, device=device, fresh=fresh))
    with terminal.progress(quiet) as progress:
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
    dataset: DatasetPath,
    output: Output,
    recipe: Annotated[str, typer.Option(help="A recipe's name or .toml file.")] = "seed-mel",
    test_fold: Annotated[
        int | None,
        typer.Option(
            help="Keep this fold back and score it. Default: train on all clips.",
            show_default=False,
            metavar="NUMBER",
            parser=_whole,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN2", help="Put this comparison's scores on the model's card.", show_default=False, parser=_place
        ),
    ] = None,
    subset: Subset = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    jobs: Jobs = None,
    device: Device = "auto",
    quiet: Quiet = False,
    fresh: Fresh = False,
) -> None:
    """One model, from all clips or all but one fold: RUN/model.onnx."""
    from soundmark import runs, terminal

    chosen = _recipe(recipe, epochs, batch_size, learning_rate, seed)
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
    dataset: DatasetPath,
    model: ModelPath,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="RUN", help="Write predictions.csv and metrics.json there.", parser=_place
        ),
    ] = None,
    subset: Subset = None,
    jobs: Jobs = None,
    quiet: Quiet = False,
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
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Sound files, or folders of them.", show_default=False)
    ],
    model: ModelPath,
    top_k: Annotated[int, typer.Option(help="How many classes to name.", metavar="NUMBER", parser=_natural)] = 3,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="For a person: table; for a program: json or csv, in UTF-8.",
            metavar="[table|json|csv]",
            parser=_form,
        ),
    ] = Format.table,
) -> None:
    """What is heard in each file."""
    from soundmark import classification, prediction, terminal

    loaded = prediction.load(model)
    found = classification.classify(loaded, inputs, top_k=top_k)
    if form is Format.table:
        terminal.show_answers(found.answers)
    else:
        terminal.hand_over(found.to_json() if form is Format.json else found.to_csv())
    for note in found.notes.values():
        terminal.warn(note)
    for reason in found.failures.values():
        terminal.fail(reason)
    raise typer.Exit(1 if found.failures else 0)


@app.command()
def show(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A trained model (.onnx).", show_default=False, parser=_place)
    ],
) -> None:
    """A model's card: what it listens for, how it was made, how good it was found to be."""
    from soundmark import bundle, terminal

    terminal.show_card(str(model), bundle.read(model).card)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        sys.stdout.write(f"soundmark {version_of('soundmark')}\n")
        raise typer.Exit


def main() -> None:
    """Run the command line; every error that is expected is one sentence and an exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    _Output.install()
    try:
        status = app(prog_name="soundmark", standalone_mode=False) or 0  # errors come here, not into typer's boxes
        if sys.stdout:  # None where it was closed
            sys.stdout.flush()
    except SoundmarkError as error:
        status = _fail(str(error), 2)
    except _UsageError as error:
        status = _fail(_usage(error), 2)
    except _Stopped as stopped:
        status = _fail("stopped. What is finished is kept: the same command goes on from there.", stopped.status)
    except ImportError as error:
        status = _fail(_missing(error), 2)
    except BrokenPipeError:  # whoever read it has enough
        status = 141
        _leave_output()
    sys.exit(status)


def _fail(text: str, status: int) -> int:
    from soundmark import terminal

    if text:
        terminal.fail(text)
    return status


# typer names the parameter's error alone, and not its parent, which is that of a misspelt or missing one, too.
_UsageError: Any = typer.BadParameter.__base__


def _usage(error: Any) -> str:
    """The sentence for a command line that cannot be meant; "" where the help was printed instead."""
    text = str(error.format_message()).strip().rstrip(".")
    if not text:
        return ""
    command = error.ctx.command_path if error.ctx else "soundmark"
    dashed = [word for word in sys.argv[1:] if word.startswith("-") and Path(word).exists()]
    hint = f'"{dashed[0]}" is a file here: write "./{dashed[0]}".' if dashed else f"See {command} --help."
    stop = "" if text.endswith("?") else "."
    return f"{text[0].lower()}{text[1:]}{stop} {hint}"


class _Output(TextIOWrapper):
    """Standard output: what it does not take is an error of ours, and a letter that it does not know is none."""

    @classmethod
    def install(cls) -> None:
        """Put it in place of Python's own, where that is a file or a terminal."""
        old = sys.stdout
        if isinstance(old, TextIOWrapper):
            encoding, by_line, at_once = old.encoding, old.line_buffering, old.write_through
            sys.stdout = cls(old.detach(), encoding, "backslashreplace", line_buffering=by_line, write_through=at_once)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _undelivered(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _undelivered(error) from error


def _undelivered(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    _leave_output()
    return OutputError(f"cannot write to standard output: {error.strerror}. Free some room, or redirect it elsewhere.")


def _leave_output() -> None:
    """Let what standard output did not take go nowhere, so that Python does not try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM: no error, and nothing that catches errors may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


def _stop(number: int, _: object) -> None:
    """End in order: what is under way is left as it can be gone on with."""
    raise _Stopped(number)


def _missing(error: ImportError) -> str:
    """The sentence for a package that an extra brings; a broken installation is not one."""
    extras = {
        "torch": "train",
        "onnx": "train",
        "onnxscript": "train",
        "safetensors": "train",
        "filelock": "train",
        "matplotlib": "train",
    }
    name = (error.name or "").split(".")[0]
    if name not in extras:
        raise error
    return f'this needs the package {name}: pip install "soundmark[{extras[name]}]".'


def _open(path: Path, subset: str | None) -> Dataset:
    from soundmark import terminal
    from soundmark.datasets import Dataset

    terminal.listen_to_log()
    data = Dataset.open(path, subset=subset)
    if data.is_partial:
        terminal.say(f"{data.name}: {data.share} are here.")
    return data


def _recipe(
    name: str, epochs: int | None, batch_size: int | None, learning_rate: float | None, seed: int | None
) -> Recipe:
    from dataclasses import replace

    from soundmark import recipes

    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    return replace(recipes.named(name), **{key: value for key, value in given.items() if value is not None})


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingsError(f'--folds is "{text}": give fold numbers with commas between, as 1,2,10.') from error


def _command() -> str:
    return shlex.join(["soundmark", *sys.argv[1:]])


if __name__ == "__main__":
    main()
