"""``Evaluation`` to one self-contained HTML page: it loads nothing, runs no script, and says what was found first.

In reading order:

    markup       HTML elements that escape data
    words        numbers and findings as text
    figures      the figures, as SVG
    view         what the sections share
    answer       what was found
    scores       the main table, fold by fold
    leakage      data leakage
    classes      classes and confusion matrices
    differences  paired differences
    training     curves by epoch, calibration
    clips        examples and mistakes
    provenance   what was left out, and how it was made
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from soundmark.evaluation.report import answer, classes, clips, differences, leakage, provenance, scores
from soundmark.evaluation.report.markup import Html, element, join, text
from soundmark.evaluation.report.training import calibration_section, training_section
from soundmark.evaluation.report.view import View
from soundmark.runtime import atomic

if TYPE_CHECKING:
    from soundmark.evaluation.results import Evaluation


@dataclass(frozen=True)
class Section:
    """One part of the page: the id and title of its heading, one sentence on what to see, and what draws it."""

    name: str
    title: str
    lead: str
    draw: Callable[[View], Html]


def write(evaluation: Evaluation, path: Path) -> None:
    """Render the report on ``evaluation`` and write it to ``path``, whole or not at all.

    Raises:
        OutputError: the place cannot be written.

    >>> import tempfile
    >>> from soundmark.datasets import Dataset
    >>> from soundmark.evaluation.results import Evaluation
    >>> data = Dataset(name="city", root=Path("."), classes=("dog", "cat"), clips=())
    >>> place = Path(tempfile.mkdtemp()) / "report.html"
    >>> write(
    ...     Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}), place
    ... )
    >>> place.read_text(encoding="utf-8").startswith("<!doctype html>")
    True
    """
    atomic.write_text(path, render(evaluation))


def render(evaluation: Evaluation) -> str:
    """The whole report on an evaluation as one HTML page.

    The same evaluation gives the same bytes. A clip that cannot be read to be drawn is named on the page.

    >>> from pathlib import Path
    >>> from soundmark.datasets import Dataset
    >>> from soundmark.evaluation.results import Evaluation
    >>> data = Dataset(name="Dogs & cats", root=Path("."), classes=("dog", "cat"), clips=())
    >>> page = render(Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}))
    >>> "<h1>How well Dogs &amp; cats is classified</h1>" in page, "https://" in page
    (True, False)
    """
    view = View(evaluation)
    drawn = [(section, section.draw(view)) for section in SECTIONS]
    folder = files("soundmark.evaluation.report")
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        title=text(_title(view)),
        css=(folder / "page.css").read_text(encoding="utf-8"),
        contents=join(element("li", element("a", one.title, href=f"#{one.name}")) for one, _ in drawn),
        sections=join(_as_element(section, body) for section, body in drawn),
        version=text(evaluation.versions.get("soundmark", "")),
    )


def sentence(evaluation: Evaluation) -> str:
    """The page's headline as plain text: whether images did better, or how good, on which clips and at which rates.

    Empty where nothing was tested.

    >>> from pathlib import Path
    >>> from soundmark.datasets import Dataset
    >>> from soundmark.evaluation.results import Evaluation
    >>> data = Dataset(name="Dogs & cats", root=Path("."), classes=("dog", "cat"), clips=())
    >>> sentence(Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}))
    ''
    """
    return answer.sentence(View(evaluation))


def _title(view: View) -> str:
    name = view.evaluation.dataset.name
    return f"Images or numbers? {name}" if view.is_the_notebooks else f"How well {name} is classified"


def _as_element(section: Section, body: Html) -> Html:
    lead = element("p", section.lead, class_="lead") if section.lead else ""
    return element("section", element("h2", section.title), lead, body, id=section.name)


SECTIONS = (
    Section("answer", "The answer", "", answer.answer),
    Section("scores", "Scores", "", scores.scores),
    Section(
        "training",
        "Training, epoch by epoch",
        "",
        training_section,
    ),
    Section("leak", "What the recording gives away", "", leakage.leak),
    Section("classes", "Class by class", "F1, precision and recall; bars are F1.", classes.classes),
    Section("confusions", "Confusions", "", classes.confusions),
    Section(
        "calibration",
        "Can its probabilities be believed?",
        "Dots below the dotted line: surer than right. A dot’s area is its share of the clips.",
        calibration_section,
    ),
    Section("examples", "What the networks see", "", clips.examples),
    Section("mistakes", "The most confident mistakes", "", clips.mistakes),
    Section("differences", "Paired differences", "", differences.differences),
    Section("left-out", "Left out", "", provenance.left_out),
    Section("made", "How this was made", "", provenance.made),
)
