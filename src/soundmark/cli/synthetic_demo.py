"""The whole of it on a small city that never was: synthesise, compare, report, classify a clip nobody has heard."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundmark.datasets import Dataset, synthetic
from soundmark.errors import OutputError
from soundmark.evaluation import comparison
from soundmark.evaluation.plan import describe_cost, make_plan
from soundmark.evaluation.results import Evaluation
from soundmark.models.classifier import load
from soundmark.runtime.progress import Progress, no_progress
from soundmark.training.named_recipes import recipe_named
from soundmark.training.run_folder import exclusive_run

# The city is small, so its recipes take small batches: enough steps in few epochs, on two cores in two minutes. At the
# notebook's 0.001 one training in four was seen to stay at chance with batches this small; at half of it, none of 24.
SETTINGS: dict[str, Any] = {"batch_size": 16, "epochs": 18, "learning_rate": 5e-4}


UNSEEN = "siren"


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """What the demonstration made, and where it is."""

    evaluation: Evaluation
    folder: Path
    unseen: Path
    answer: Sequence[Mapping[str, Any]]

    def whereabouts(self) -> list[str]:
        """Where everything is, and what to do next; a line each."""
        model = self.folder / "notebook-mel" / "random" / "model.onnx"
        return [
            f"The city is in {self.folder / 'city'}, the report is {self.folder / 'report.html'}: open it.",
            f"Classify a sound of your own: soundmark classify FILE -m {model}",
        ]


def run_demo(
    folder: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = no_progress,
    fresh: bool = False,
    command: str = "soundmark demo",
) -> Demonstration:
    """Make the city in ``folder/city``, compare the notebook's two recipes on it, classify an unseen clip.

    Raises:
        OutputError: ``folder`` cannot be written, is written to by another process, or holds something else.
    """
    # Hidden files are no one's results: a run that was killed while it synthesised leaves some.
    others = [path for path in folder.glob("*") if not path.name.startswith(".")]
    if others and not (folder / "city" / synthetic.STAMP).is_file():
        raise OutputError(f'"{folder}" holds something else. Choose a new folder for the demonstration with -o.')
    with exclusive_run(folder):
        return _run(folder, say, progress, fresh, command)


def _run(folder: Path, say: Callable[[str], None], progress: Progress, fresh: bool, command: str) -> Demonstration:
    for cut in folder.glob(".city-*"):
        shutil.rmtree(cut, ignore_errors=True)  # a synthesis that was killed
    say("Synthesising a small city: ten classes of sound, three folds by recording.")
    dataset = Dataset.open(synthetic.write(folder / "city"))
    chosen = [replace(recipe_named(name), **SETTINGS) for name in ("notebook-image", "notebook-mel")]
    plan = make_plan(dataset, chosen)
    say(describe_cost(plan, folder, fresh=fresh))
    found = comparison.run_and_report(plan, folder, fresh=fresh, command=command, progress=progress)
    unseen = synthetic.unseen(folder / f"unseen-{UNSEEN}.wav", UNSEEN, seed=1)
    answer = load(folder / "notebook-mel" / "random" / "model.onnx").classify(unseen, top_k=3)
    return Demonstration(evaluation=found, folder=folder, unseen=unseen, answer=answer)
