"""What a model says of itself, in words: as lines for a terminal, as a page in Markdown, as JSON for a program.

A card comes from a file that anybody may have made: nothing is taken for granted but what ``bundle.Card`` checks.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundmark.datasets.protocols import protocol_of
from soundmark.metrics.task import Task
from soundmark.models.training_record import Int8Record, TrainingRecord
from soundmark.runtime.checks import is_finite
from soundmark.runtime.text import percent

if TYPE_CHECKING:
    from soundmark.models.card import Card


CREATIVE_COMMONS = re.compile(r"CC[ -](BY(?:-NC)?(?:-SA|-ND)?)[ -](\d\.\d)|CC0[ -](1\.0)", re.IGNORECASE)


EXPORTED = ("mel", "logmel")  # representations that ``front_end`` has a graph for


HALVES = re.compile("[\ud800-\udfff]")  # halves of characters, of file names that are not UTF-8


def card_lines(card: Card) -> list[tuple[str, str]]:
    """The card as pairs of a heading and a sentence.

    >>> dict(card_lines(model.card))["listens for"][:26]
    'air_conditioner, car_horn,'
    """
    settings = {key: value for key, value in card.representation.settings().items() if key != "name"}
    recipe = {key: value for key, value in card.recipe.items() if key != "representation"}
    return [
        ("listens for", ", ".join(card.classes)),
        ("hears", f"{card.window_s:g} s at a time, as {card.representation.name} ({_settings(settings)})"),
        ("made by", _settings(recipe)),
        ("trained on", _data(card.training)),
        ("scores", _scores(card.scores)),
        ("probabilities", _calibrated(card)),
        ("none of these", _refuses(card)),
        *([("8 bits", _int8(card.training.int8))] if card.training.int8 else []),
        ("licence of the data", _licence(card)),
        *([("pretrained weights", card.training.weights)] if card.training.weights is not None else []),
        ("versions", _settings(card.versions)),
    ]


def _calibrated(card: Card) -> str:
    clips = card.training.calibrated_on
    if not clips:
        return "as the network gives them: not calibrated"
    own = ", and a threshold for each class" if card.thresholds else ""
    return f"calibrated on {_count_text(clips)} clips of its training part: temperature {card.temperature:.3g}{own}"


def _refuses(card: Card) -> str:
    if card.unknown is None:
        return "never said: whatever it hears, it names its classes"
    kept, clips = card.recipe.get("known_quantile"), card.training.calibrated_on
    lost = 1 - kept if is_finite(kept) else None  # type: ignore[operator]
    share = f", as {percent(lost)} % of those {_count_text(clips)} known clips are" if is_finite(lost) and clips else ""
    return f'said ("unknown") where the familiarity is below {card.unknown:.3g}{share}; `--no-unknown` turns it off'


def _licence(card: Card) -> str:
    return "unknown" if card.training.licence is None else card.training.licence


def _count_text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items()) or "not said"


def _data(record: TrainingRecord) -> str:
    if record == TrainingRecord():
        return "not said"
    if record.fingerprint is None:
        return str(record.name)
    kept = protocol_of(str(record.protocol)).kept_back.format(fold=record.test_fold)
    return f"{record.name} (fingerprint {record.fingerprint}): {record.n_train} clips, {kept}"


def _scores(scores: Mapping[str, Any]) -> str:
    if not scores:
        return "not measured: nothing was kept back. `soundmark compare` measures, `train --scores RUN` puts it here."
    task = Task.of_scores(scores)
    figure, key = task.figure, task.key
    ends = scores.get(f"{key}_interval")
    low, high = ends if isinstance(ends, list) and len(ends) == 2 else (None, None)
    n, ece, protocol = scores.get("n_test"), scores.get("ece"), scores.get("protocol", "?")
    whose = f" that it was not trained on, protocol {protocol}"
    if scores.get("cross_validated"):
        whose = (
            ": that of the recipe's models in a comparison, each on clips kept back from it "
            f"(protocol {protocol}), not of this very model"
        )
    return (
        f"{figure} {percent(scores.get(key))} % (95 % interval {percent(low)} to {percent(high)}) "
        f"on {f'{n:,}' if isinstance(n, int) else '?'} clips{whose}; "
        f"macro F1 {percent(scores.get('macro_f1'))} %, ECE {f'{ece:.3f}' if is_finite(ece) else '?'}"
    )


def _int8(record: Int8Record) -> str:
    if record == Int8Record():
        return "?"
    return (
        f"made so from a model of float32, calibrated on {record.calibrated_on} clips: {record.figure} "
        f"{percent(record.after)} %, that one's {percent(record.before)} %, on {record.scored}"
    )


def usage(name: str, card: Card) -> str:
    """How to use the model in the file ``name``: what to type, and what to write in Python.

    >>> print(usage("run/model.onnx", model.card))
    soundmark classify street.wav -m run/model.onnx
    soundmark explain street.wav -m run/model.onnx -o why.png
    soundmark export run/model.onnx --with-front-end
    <BLANKLINE>
    import soundmark
    model = soundmark.load("run/model.onnx")
    model.classify("street.wav")
    """
    return "\n".join([*_commands(name, card), "", _python(name)])


def _commands(name: str, card: Card) -> list[str]:
    typed = shlex.quote(name)
    commands = [f"classify street.wav -m {typed}", f"explain street.wav -m {typed} -o why.png"]
    if card.representation.name in EXPORTED:
        commands.append(f"export {typed} --with-front-end")
    return [f"soundmark {command}" for command in commands]


def _python(name: str) -> str:
    path = json.dumps(name, ensure_ascii=False)
    return f'import soundmark\nmodel = soundmark.load({path})\nmodel.classify("street.wav")'


def to_json(card: Card) -> str:
    """The card as it stands in the file, for a program: an object on several lines.

    >>> json.loads(to_json(model.card))["schema"]
    1
    """
    return _utf8(json.dumps(json.loads(card.to_json()), indent=1, ensure_ascii=False)) + "\n"


def to_markdown(name: str, card: Card) -> str:
    """The card as a page in Markdown, with the front matter that Hugging Face reads.

    >>> print(to_markdown("run/model.onnx", model.card)[:63])
    ---
    library_name: soundmark
    pipeline_tag: audio-classification
    """
    file = " ".join(Path(name).name.split())  # of a name with line breaks, one line
    told = [f"| {_cell(heading)} | {_cell(sentence)} |" for heading, sentence in card_lines(card)]
    parts = [
        "---",
        *_front_matter(card),
        "---",
        "",
        f"# {_cell(Path(name).stem)}: sounds told apart, {len(card.classes)} classes",
        "",
        "| | |",
        "|---|---|",
        *told,
        "",
        "## How to use it",
        "",
        "    pip install soundmark",
        "",
        *(f"    {line}" for line in _commands(file, card)),
        "",
        "```python",
        _python(file),
        "```",
        "",
        "The scores above say on which clips they were found. On recordings of another place they are others: "
        "`soundmark evaluate DATASET -m MODEL` finds those on yours.",
    ]
    return _utf8("\n".join(parts)) + "\n"


def _front_matter(card: Card) -> list[str]:
    """Lines of YAML; every text of the card is quoted as JSON has it, which YAML reads too."""
    data, licence = card.training.name, licence_id(card.training.licence)
    lines = ["library_name: soundmark", "pipeline_tag: audio-classification", "tags: [audio, sound, onnx, soundmark]"]
    lines.append(f"license: {licence or 'other'}")
    if not licence:
        lines.append(f"license_name: {_quoted(_licence(card))}")
    if data is None:
        return lines
    lines.append(f"datasets: [{_quoted(data)}]")
    key = Task.of_scores(card.scores).key
    value = card.scores.get(key)
    if is_finite(value):
        protocol = f"{data}, protocol {card.scores.get('protocol', '?')}"
        lines += [
            "model-index:",
            f"- name: {_quoted(card.recipe.get('name', 'soundmark'))}",
            "  results:",
            "  - task: {type: audio-classification}",
            f"    dataset: {{type: {_quoted(data)}, name: {_quoted(protocol)}}}",
            f"    metrics: [{{type: {key}, value: {value:.4f}}}]",
        ]
    return lines


def licence_id(licence: object) -> str | None:
    """The short name of a Creative Commons licence that is named in a text, as model hubs spell it; None for others.

    >>> licence_id("CC BY-NC 3.0"), licence_id("CC0 1.0"), licence_id("ask me")
    ('cc-by-nc-3.0', 'cc0-1.0', None)
    """
    found = CREATIVE_COMMONS.search(str(licence))
    if not found:
        return None
    return f"cc-{found[1]}-{found[2]}".lower() if found[1] else f"cc0-{found[3]}"


def _quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)


def _cell(text: str) -> str:
    r"""A text as it may stand in a table in Markdown: on one line, and nothing that is markup.

    >>> _cell("a|b\n<b>")
    'a\\|b &lt;b>'
    """
    for mark, shown in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;")):
        text = text.replace(mark, shown)
    return " ".join(text.split())


def _utf8(text: str) -> str:
    """The text without the halves of characters that a damaged name leaves."""
    return HALVES.sub("\ufffd", text)
