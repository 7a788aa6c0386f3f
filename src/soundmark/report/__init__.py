"""``Evaluation`` to one self-contained HTML page: it loads nothing, runs no script, and says what was found first.

words.py        how numbers and findings are said
markup.py       elements that escape whatever comes from data
figures.py      the drawings, SVG
view.py         what the sections share
scores.py, clips.py, provenance.py    the sections
page.html, page.css                   the page around them
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from soundmark import atomic
from soundmark.report import clips, figures, provenance, scores
from soundmark.report.markup import Html, element, join, text
from soundmark.report.view import View
from soundmark.report.words import listed, protocol_title

if TYPE_CHECKING:
    from soundmark.evaluation import Evaluation


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
    >>> from soundmark.evaluation import Evaluation
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
    >>> from soundmark.evaluation import Evaluation
    >>> data = Dataset(name="Dogs & cats", root=Path("."), classes=("dog", "cat"), clips=())
    >>> page = render(Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}))
    >>> "<h1>How well Dogs &amp; cats is classified</h1>" in page, "https://" in page
    (True, False)
    """
    view = View(evaluation)
    drawn = [(section, section.draw(view)) for section in SECTIONS]
    folder = files("soundmark.report")
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
    >>> from soundmark.evaluation import Evaluation
    >>> data = Dataset(name="Dogs & cats", root=Path("."), classes=("dog", "cat"), clips=())
    >>> sentence(Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}))
    ''
    """
    return scores.sentence(View(evaluation))


def _title(view: View) -> str:
    name = view.evaluation.dataset.name
    return f"Images or numbers? {name}" if view.is_the_notebooks else f"How well {name} is classified"


def _as_element(section: Section, body: Html) -> Html:
    lead = element("p", section.lead, class_="lead") if section.lead else ""
    return element("section", element("h2", section.title), lead, body, id=section.name)


def _training(view: View) -> Html:
    """Loss and accuracy by epoch, all recipes of a protocol that have epochs on one pair of axes."""
    panels = []
    for protocol, results in view.by_protocol.items():
        drawn = [one for one in results if one.recipe.name in view.with_epochs]
        for quantity in ("loss", "accuracy") if drawn else ():
            heading = element("h3", f"{protocol_title(protocol)}: {quantity}")
            drawing = figures.curves(drawn, view.colours(drawn), quantity=quantity)
            panels.append(element("figure", heading, drawing))
    seeds = element("p", f"Each fold is drawn {len(view.seeds)} times: once for each seed.")
    legend = view.legend("— validation", "╌ training", only=view.with_epochs)
    return join(
        [
            *(element("p", line, class_="lead") for line in _training_in_words(view)),
            legend if panels else "",
            seeds if len(view.seeds) > 1 and panels else "",
            element("div", *panels, class_="figures"),
        ]
    )


def _training_in_words(view: View) -> list[str]:
    """What the curves are of, and whose there are none of."""
    curved = [one.recipe for one in view.first_of_recipe if one.recipe.name in view.with_epochs]
    none = [name for name in view.recipes if name not in view.with_epochs]
    notebook = [recipe.name for recipe in curved if not recipe.decides]
    own = [recipe.name for recipe in curved if recipe.decides]
    lines = []
    if curved:
        lines.append(
            "Thin lines are single folds, strong ones their mean. The last epoch counts, whatever the curves say: none "
            "was picked on test clips. A first epoch may leave the loss axis."
        )
    if notebook:
        lines.append(
            f"Of {listed(notebook)} the validation curve is that of the test clips, as in the notebook’s “Test Loss” "
            "curves: it is looked at and decides nothing."
        )
    if own:
        lines.append(
            f"Of {listed(own)} it is that of clips which were kept back inside the training part, whole recordings of "
            "them: no test clip is seen before the end. With what they settled, the network is then trained once more, "
            "on everything, as long again: that is the one which is scored, and not drawn. Where sounds are mixed or "
            "changed in training, its loss lies above that of the validation clips."
        )
    if none:
        lines.append(
            f"{listed(none)} {'have' if len(none) > 1 else 'has'} no epochs and so no curve: the network stays as it "
            "was trained before, and only a linear head on what it gives is solved for, at once. Its regularisation is "
            "chosen inside the training part."
            if all(one.recipe.trains == "head" for one in view.first_of_recipe if one.recipe.name in none)
            else f"Of {listed(none)} no epochs are known."
        )
    return lines


def _calibration(view: View) -> Html:
    """Reliability diagrams, with the ECE of every result and what it is to be held against."""
    panels = []
    for protocol, results in view.by_protocol.items():
        errors = [element("li", view.badge(one.recipe.name), f" {scores.calibration_error(one)}") for one in results]
        drawing = figures.reliability(results, view.colours(results))
        panels.append(
            element("figure", element("h3", protocol_title(protocol)), drawing, element("ul", *errors, class_="ece"))
        )
    note = element(
        "p",
        "Even a perfectly calibrated model shows an ECE above 0 on a limited number of clips; what it would show with "
        "these very probabilities stands beside it. It takes clips for independent, which those of one recording are "
        "not, so it is a lower bound.",
        class_="quiet",
    )
    told = any(result.ece_if_calibrated for result in view.evaluation.results)
    return join([element("div", *panels, class_="figures"), note if told else ""])


SECTIONS = (
    Section("answer", "The answer", "", scores.answer),
    Section("scores", "Scores", "", scores.scores),
    Section(
        "training",
        "Training, epoch by epoch",
        "",
        _training,
    ),
    Section("leak", "What the recording gives away", "", scores.leak),
    Section("classes", "Class by class", "F1, precision and recall; bars are F1.", scores.classes),
    Section("confusions", "Confusions", "", scores.confusions),
    Section(
        "calibration",
        "Can its probabilities be believed?",
        "Dots below the dotted line: surer than right. A dot’s area is its share of the clips.",
        _calibration,
    ),
    Section("examples", "What the networks see", "", clips.examples),
    Section("mistakes", "The most confident mistakes", "", clips.mistakes),
    Section("differences", "Paired differences", "", scores.differences),
    Section("left-out", "Left out", "", provenance.left_out),
    Section("made", "How this was made", "", provenance.made),
)
