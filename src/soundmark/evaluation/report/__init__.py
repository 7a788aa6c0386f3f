"""Write an ``Evaluation`` as one self-contained HTML file, without scripts or external resources.

In reading order:

    markup       HTML elements; escape data
    words        format numbers, intervals, p-values and verdicts
    figures      figures as SVG
    view         data that the sections share
    summary      section: Summary
    scores       section: Scores, by protocol and by fold
    leakage      section: Data leakage
    differences  section: Differences between recipes
    classes      sections: Per-class scores, Confusion matrices
    training     sections: Calibration, Training curves
    curve        section: Learning curve
    clips        sections: Misclassified clips, Input spectrograms
    provenance   sections: Skipped clips, Provenance
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from soundmark.evaluation.report import summary
from soundmark.evaluation.report.classes import classes_section, confusion_section
from soundmark.evaluation.report.clips import inputs_section, misclassified_section
from soundmark.evaluation.report.curve import curve_section
from soundmark.evaluation.report.differences import differences_section
from soundmark.evaluation.report.leakage import leakage_section
from soundmark.evaluation.report.markup import Html, element, join, text
from soundmark.evaluation.report.provenance import provenance_section, skipped_section
from soundmark.evaluation.report.scores import scores_section
from soundmark.evaluation.report.training import calibration_section, training_section
from soundmark.evaluation.report.view import View
from soundmark.runtime import atomic

if TYPE_CHECKING:
    from soundmark.evaluation.learning_curve import LearningCurve
    from soundmark.evaluation.results import Evaluation


@dataclass(frozen=True)
class Section:
    """A section of the report: id, title, an introductory sentence, and the function that renders it."""

    name: str
    title: str
    lead: str
    render: Callable[[View], Html]


def write(evaluation: Evaluation, path: Path, curves: Sequence[LearningCurve] = ()) -> None:
    """Render the report of ``evaluation`` and write it to ``path`` atomically; ``curves`` are shown in it.

    Raises:
        OutputError: the file cannot be written.

    >>> import tempfile
    >>> from soundmark.datasets import Dataset
    >>> from soundmark.evaluation.results import Evaluation
    >>> data = Dataset(name="city", root=Path("."), classes=("dog", "cat"), clips=())
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> write(Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}), path)
    >>> path.read_text(encoding="utf-8").startswith("<!doctype html>")
    True
    """
    atomic.write_text(path, render(evaluation, curves))


def render(evaluation: Evaluation, curves: Sequence[LearningCurve] = ()) -> str:
    """Render the report of an evaluation, and learning curves, as HTML.

    The same evaluation gives the same bytes. Clips that cannot be read again for the figures are listed in the report.

    >>> from pathlib import Path
    >>> from soundmark.datasets import Dataset
    >>> from soundmark.evaluation.results import Evaluation
    >>> data = Dataset(name="Dogs & cats", root=Path("."), classes=("dog", "cat"), clips=())
    >>> page = render(Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}))
    >>> "<h1>Evaluation of Dogs &amp; cats</h1>" in page, "https://" in page
    (True, False)
    """
    view = View(evaluation, curves)
    rendered = [(section, section.render(view)) for section in SECTIONS]
    folder = files("soundmark.evaluation.report")
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        title=text(f"Evaluation of {evaluation.dataset.name}"),
        css=(folder / "page.css").read_text(encoding="utf-8"),
        contents=join(element("li", element("a", one.title, href=f"#{one.name}")) for one, _ in rendered),
        sections=join(_as_element(section, body) for section, body in rendered),
        version=text(evaluation.versions.get("soundmark", "")),
    )


def sentence(evaluation: Evaluation) -> str:
    """Return the main result as plain text: scores by recipe and protocol, clips, sample rates; "" without results.

    >>> from pathlib import Path
    >>> from soundmark.datasets import Dataset
    >>> from soundmark.evaluation.results import Evaluation
    >>> data = Dataset(name="Dogs & cats", root=Path("."), classes=("dog", "cat"), clips=())
    >>> sentence(Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}))
    ''
    """
    return summary.sentence(View(evaluation))


def _as_element(section: Section, body: Html) -> Html:
    lead = element("p", section.lead, class_="lead") if section.lead else ""
    return element("section", element("h2", section.title), lead, body, id=section.name)


SECTIONS = (
    Section("summary", "Summary", "", summary.summary_section),
    Section("scores", "Scores", "", scores_section),
    Section("leakage", "Data leakage", "", leakage_section),
    Section("differences", "Differences between recipes", "", differences_section),
    Section(
        "classes", "Per-class scores", "F1, precision and recall of each class; the bars show F1.", classes_section
    ),
    Section("confusion", "Confusion matrices", "", confusion_section),
    Section(
        "calibration",
        "Calibration",
        "Reliability diagrams: accuracy by confidence. Dots below the diagonal are overconfident; the area of a dot is "
        "its share of the clips.",
        calibration_section,
    ),
    Section("training", "Training curves", "", training_section),
    Section("curve", "Learning curve", "Is it worth labelling more recordings, and of which class?", curve_section),
    Section("misclassified", "Misclassified clips", "", misclassified_section),
    Section("inputs", "Input spectrograms", "", inputs_section),
    Section("skipped", "Skipped clips", "", skipped_section),
    Section("provenance", "Provenance", "", provenance_section),
)
