"""The demo: synthesise a data set, compare two recipes on it, write a report, classify a clip not used for training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundmark.datasets import Dataset, synthetic
from soundmark.errors import OutputError
from soundmark.evaluation import PRESETS, comparison
from soundmark.evaluation.plan import describe_cost, make_plan
from soundmark.evaluation.results import Evaluation
from soundmark.models.classifier import load
from soundmark.runtime.checks import is_folder
from soundmark.runtime.output_folder import OutputFolder
from soundmark.runtime.progress import Progress, no_progress
from soundmark.training.named_recipes import recipe_named
from soundmark.training.run_folder import exclusive_run

# The data set is small, so the batches are small: enough steps in few epochs, in two minutes on two cores. With batches
# of this size and the notebook's learning rate of 0.001, one training in four stayed at chance level; with half of it,
# none of 24 did.
SETTINGS: dict[str, Any] = {"batch_size": 16, "epochs": 18, "learning_rate": 5e-4}


UNSEEN_CLASS = "siren"


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The evaluation, the folder, and the unseen clip with its most probable classes."""

    evaluation: Evaluation
    folder: Path
    unseen: Path
    answer: Sequence[Mapping[str, Any]]

    @property
    def model(self) -> Path:
        """The model of the recipe notebook-mel."""
        return self.folder / "notebook-mel" / "random" / "model.onnx"

    def next_steps(self) -> list[str]:
        """Lines with the paths of the results and the next command."""
        return [
            f"Report: {self.folder / 'report.html'} (open it in a browser). Data set: {self.folder / 'city'}.",
            f"To classify your own sound file: soundmark classify FILE -m {self.model}",
        ]


def run_demo(
    folder: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = no_progress,
    fresh: bool = False,
    command: str = "soundmark demo",
) -> DemoResult:
    """Synthesise a data set in ``folder/city``, compare the notebook's recipes on it, classify an unseen clip.

    Raises:
        OutputError: ``folder`` cannot be written, is in use by another process, or contains other files.
    """
    # Hidden files are left by a run that was killed during the synthesis.
    others = [path for path in folder.glob("*") if not path.name.startswith(".")] if is_folder(folder) else []
    if others and not (folder / "city" / synthetic.STAMP).is_file():
        raise OutputError(f'"{folder}" contains other files. Choose a new folder for the demo with -o.')
    with exclusive_run(folder) as output:
        _remove_partial(output)
        return _run(folder, say, progress, fresh, command)


def _remove_partial(output: OutputFolder) -> None:
    """Remove what a synthesis that was killed left: the files that it wrote, and empty folders."""
    for name in [name for name in output.names() if name.startswith(".city-")]:
        output.remove(name)
    for partial in output.folder.glob(".city-*"):
        if not partial.is_symlink():
            for path in sorted([partial, *partial.rglob("*")], reverse=True):
                with suppress(OSError):
                    path.rmdir()


def _run(folder: Path, say: Callable[[str], None], progress: Progress, fresh: bool, command: str) -> DemoResult:
    say("Synthesising a small data set of city sounds: ten classes, three folds by recording.")
    dataset = Dataset.open(synthetic.write(folder / "city"))
    chosen = [replace(recipe_named(name), **SETTINGS) for name in PRESETS["notebook"]]
    plan = make_plan(dataset, chosen)
    say(describe_cost(plan, folder, fresh=fresh))
    found = comparison.run_and_report(plan, folder, fresh=fresh, command=command, progress=progress)
    unseen = synthetic.unseen(folder / f"unseen-{UNSEEN_CLASS}.wav", UNSEEN_CLASS, seed=1)
    answer = load(folder / "notebook-mel" / "random" / "model.onnx").classify(unseen, top_k=3)
    return DemoResult(evaluation=found, folder=folder, unseen=unseen, answer=answer)
