"""The model card as text: a summary of at most ten lines, the complete table, Markdown, and JSON.

A model file is untrusted input: apart from what ``Card.from_json`` checks, values may be missing or of any type.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundmark.datasets.protocols import PROTOCOLS, protocol_of
from soundmark.metrics.task import Task
from soundmark.models.training_record import Int8Record, TrainingRecord
from soundmark.runtime.checks import is_finite
from soundmark.runtime.text import counted, duration, percent, shortened

if TYPE_CHECKING:
    from soundmark.models.card import Card


TERMINAL_COLUMNS = 80


HEADING_COLUMNS = 11  # of the headings in ``summary``


SUMMARY_COLUMNS = 65  # of the texts in ``summary``


CREATIVE_COMMONS = re.compile(r"CC[ -](BY(?:-NC)?(?:-SA|-ND)?)[ -](\d\.\d)|CC0[ -](1\.0)", re.IGNORECASE)


EXPORTABLE = ("mel", "logmel", "waveform")  # representations that ``export.front_end`` supports


NO_BACKGROUND = "none: examples of other sounds would reduce false events"  # of models that decide on events


SURROGATES = re.compile("[\ud800-\udfff]")  # from file names that are not UTF-8


# --- The summary ---


def summary(card: Card, columns: int = SUMMARY_COLUMNS) -> list[tuple[str, str]]:
    """Summarise a card in six to eight rows of a heading and a text of at most ``columns`` columns.

    >>> for heading, text in summary(model.card):
    ...     print(f"{heading:<11}  {text}")
    classes      10, single-label: air_conditioner, car_horn, … and 8 more
    trained on   ...
    calibration  not calibrated, no unknown threshold
    licence      ...
    """
    warning = leakage_warning(card.scores)
    rows = [
        ("classes", _first_classes(card)),
        *([("background", background)] if (background := _background(card)) else []),
        ("trained on", _training_clips(card.training, name_columns=30)),
        _headline(card.scores),
        *([("warning", warning)] if warning else []),
        ("input", _input(card)),
        ("calibration", _calibration_summary(card)),
        ("licence", _licences(card.training)),
    ]
    return [(heading, _within(text, columns)) for heading, text in rows]


def title(name: str, card: Card, n_bytes: int) -> str:
    """The first line of a card in a terminal: file, recipe, network and size.

    >>> title("run/model.onnx", model.card, 5_300_000)
    'run/model.onnx: recipe notebook-mel, network notebook_cnn, 5.3 MB'
    """
    kind = "backbone" if "backbone" in card.recipe else "network"
    recipe, network = (shortened(card.recipe.get(key, "unknown"), 20) for key in ("name", kind))
    about = f": recipe {recipe}, {kind} {network}, {file_size(n_bytes)}"
    return _within(_end_of_path(name, TERMINAL_COLUMNS - _columns(about)) + about, TERMINAL_COLUMNS)


def file_size(n_bytes: int) -> str:
    """Format a file size in kB or MB.

    >>> file_size(28_300), file_size(5_290_000)
    ('28 kB', '5.3 MB')
    """
    return f"{n_bytes / 1e3:.0f} kB" if n_bytes < 100_000 else f"{n_bytes / 1e6:.1f} MB"


def short_usage(name: str) -> list[str]:
    """How to classify a file with the model in the file ``name``: a command, and a line of Python.

    If a line would be too long for the terminal, a shorter one replaces it.

    >>> short_usage("run/model.onnx")
    ['soundmark classify FILE -m run/model.onnx', 'soundmark.load("run/model.onnx").classify("FILE")']
    """
    command, load = f"soundmark classify FILE -m {shlex.quote(name)}", f"soundmark.load({_quoted(name)})"
    call = '.classify("FILE")'
    return [
        _first_that_fits(command, "soundmark classify FILE -m MODEL"),
        _first_that_fits(load + call, load, f'soundmark.load("MODEL"){call}'),
    ]


def leakage_warning(scores: Mapping[str, Any]) -> str | None:
    """A warning if the scores of a card reflect data leakage, or may do so; None otherwise.

    >>> leakage_warning({"protocol": "random"})
    'random split: this score may reflect data leakage'
    >>> leakage_warning({"protocol": "random", "leak": {"recording": 0.8, "recording_and_class": 0.8}})
    'data leakage: 80.0 % of test clips are from training recordings'
    >>> leakage_warning({"protocol": "grouped", "leak": {"recording": 0.0, "recording_and_class": 0.0}})
    """
    protocol, leak = PROTOCOLS.get(str(scores.get("protocol"))), scores.get("leak")
    if protocol is None:
        return None
    is_random = not protocol.keeps_recordings_apart
    share = leak.get(protocol.leakage_measure) if isinstance(leak, dict) else None
    if is_finite(share):
        if share > 0:  # type: ignore[operator]
            return f"data leakage: {percent(share)} % of test clips are from training recordings"
        return "random split: the score on new recordings may be lower" if is_random else None
    if is_random:
        return "random split: this score may reflect data leakage"
    return "recordings unknown: this score may reflect data leakage" if isinstance(leak, dict) else None


def _first_classes(card: Card) -> str:
    """The number of classes, and as many of their names as fit."""
    names = [shortened(label, 30) for label in card.classes]
    about = f"{len(names)}, {card.task.name}: "
    full = about + ", ".join(names)
    if _columns(full) <= SUMMARY_COLUMNS:
        return full
    text = ""
    for n in range(1, len(names)):
        longer = f"{about}{', '.join(names[:n])}, … and {len(names) - n} more"
        if n > 1 and _columns(longer) > SUMMARY_COLUMNS:
            break
        text = longer
    return text or full


def _background(card: Card) -> str:
    names = ", ".join(shortened(label, 30) for label in card.background)
    if names:
        return f"{names} (never reported as an event)"
    has_backgrounds = card.recipe.get("backgrounds") or card.recipe.get("recorded_backgrounds")
    has_presence = has_backgrounds and not card.task.has_thresholds
    return NO_BACKGROUND if has_presence and card.event_thresholds else ""


def _nature(card: Card) -> str:
    """Which recordings of nature were examples of none of the classes."""
    found = card.training.nature
    return f"{shortened(found, 200)} (examples of none of the classes)" if found else ""


def _training_clips(record: TrainingRecord, *, name_columns: int = 200) -> str:
    """The data set with the numbers of clips and recordings, as far as they are known."""
    name = "unknown" if record.name is None else _within(record.name, name_columns)
    return name + _clip_counts(record)


def _clip_counts(record: TrainingRecord) -> str:
    clips = "" if record.n_train is None else f": {_counted(record.n_train, 'clip')}"
    clips += "" if record.n_windows is None else f" in {_counted(record.n_windows, 'window')}"
    recordings = "" if record.n_recordings is None else f" of {_counted(record.n_recordings, 'recording')}"
    return clips + recordings


def _headline(scores: Mapping[str, Any]) -> tuple[str, str]:
    """The headline metric with its interval and protocol."""
    if not scores:
        return "accuracy", "not measured: no clips were held out (see soundmark compare)"
    task = Task.of_scores(scores)
    low, high = _interval(scores, task)
    interval = f" (95 % interval {percent(low)}–{percent(high)})" if is_finite(low) and is_finite(high) else ""
    protocol = str(scores.get("protocol", "unknown"))
    if protocol not in PROTOCOLS:
        where = f" on {shortened(protocol, 200)}"
    elif scores.get("cross_validated"):
        where = f", cross-validated ({protocol})"
    else:
        where = f", protocol {protocol}, {_counted(scores.get('n_test'), 'clip')}"
    return task.figure, f"{percent(scores.get(task.key))} %{interval}{where}"


def _input(card: Card) -> str:
    kind, rate_hz = card.representation, card.representation.input_rate_hz
    at = f"{rate_hz:,} Hz" if rate_hz else "the sample rate of the file"
    size = "×".join(map(str, kind.input_shape[-2:]))
    return f"{card.window_s:g} s windows at {at}, {kind.name} {size}"


def _calibration_summary(card: Card) -> str:
    is_calibrated = bool(card.training.calibrated_on) or card.temperature != 1
    parts = [f"temperature {card.temperature:.3g}" if is_calibrated else "not calibrated"]
    if card.thresholds:
        parts.append("class thresholds")
    if card.event_thresholds:
        low, high = min(card.event_thresholds), max(card.event_thresholds)
        parts.append(f"events ≥ {low:.3g}" + (f" to {high:.3g}" if high > low else ""))
    is_known = card.unknown is not None
    parts.append(f"unknown: familiarity < {card.unknown:.3g}" if is_known else "no unknown threshold")
    return ", ".join(parts)


def _licences(record: TrainingRecord) -> str:
    """The licence of the training data, and that of pretrained weights."""
    if record.weights is None:
        return _licence(record)
    # From the start of a word only: from each of its letters, a long word would take quadratic time.
    named = re.search(r"(?<![\w.-])[\w.-]+ licen[cs]e", record.weights)
    return f"{_licence(record)} (data), {named[0] if named else record.weights} (pretrained weights)"


def _end_of_path(path: str, columns: int) -> str:
    """Shorten a path to its last folders and its file name.

    >>> _end_of_path("run/transfer/fold-1/model.onnx", 20), _end_of_path("model.onnx", 20)
    ('…/fold-1/model.onnx', 'model.onnx')
    """
    text = shortened(path, 10_000)
    if _columns(text) <= columns:
        return text
    folders = text.split("/")
    shown = f"…/{folders.pop()}" if len(folders) > 1 else text
    while len(folders) > 1 and _columns(longer := f"…/{folders.pop()}{shown.removeprefix('…')}") <= columns:
        shown = longer
    return shown if _columns(shown) <= columns else shortened(shown, columns // 2)


def _first_that_fits(*lines: str) -> str:
    """The first line that fits into the terminal, or the last one."""
    return next((line for line in lines if _columns(line) <= TERMINAL_COLUMNS), lines[-1])


def _columns(text: str) -> int:
    """The number of terminal columns that a text takes."""
    return sum(map(_character_columns, text))


def _character_columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _within(text: str, columns: int) -> str:
    """Shorten a text to one printable line of at most so many terminal columns.

    >>> _within("siren", 5), _within("sirens", 5), _within("犬の声", 5)
    ('siren', 'sire…', '犬の…')
    """
    text = shortened(text, 10_000)
    ends = list(accumulate(map(_character_columns, text)))
    return text if not ends or ends[-1] <= columns else f"{text[: bisect_left(ends, columns)]}…"


# --- The complete card ---


def card_lines(card: Card) -> list[tuple[str, str]]:
    """Format everything on a card as rows of a heading and a text.

    >>> dict(card_lines(model.card))["classes"][:26]
    'air_conditioner, car_horn,'
    """
    record = card.training
    parameters = {key: value for key, value in card.representation.settings().items() if key != "name"}
    recipe = {key: value for key, value in card.recipe.items() if key != "representation"}
    other_scores = {key: value for key, value in card.scores.items() if key not in _keys_in_scores(card)}
    rows = [
        ("classes", ", ".join(card.classes)),
        ("background", _background(card)),
        ("sounds of nature", _nature(card)),
        ("task", f"{card.task.name} ({card.activation})"),
        ("window", f"{card.window_s:g} s"),
        ("representation", f"{card.representation.name} ({_settings(parameters)})"),
        ("recipe", _settings(recipe) or "unknown"),
        ("trained on", _data(record)),
        ("scores", _scores(card.scores)),
        ("warning", leakage_warning(card.scores)),
        ("other scores", _settings(other_scores)),
        ("calibration", _calibration(card)),
        ("class thresholds", ", ".join(f"{number:.3g}" for number in card.thresholds or ())),
        ("event thresholds", ", ".join(f"{number:.3g}" for number in card.event_thresholds or ())),
        ("unknown threshold", _unknown(card)),
        ("quantisation", record.int8 and _int8(record.int8)),
        ("licence of the data", _licence(record)),
        ("citation", record.citation),
        ("pretrained weights", record.weights),
        ("training", _training(record)),
        ("checksums", _checksums(record)),
        ("other fields", _settings(record.other)),
        ("versions", _settings(card.versions) or "unknown"),
    ]
    return [(heading, text) for heading, text in rows if text]


def _keys_in_scores(card: Card) -> tuple[str, ...]:
    """The keys of a card's scores that the rows "scores" and "warning" show."""
    key = Task.of_scores(card.scores).key
    return ("protocol", "n_test", key, f"{key}_interval", "macro_f1", "ece", "cross_validated")


def _calibration(card: Card) -> str:
    clips = card.training.calibrated_on
    if not clips:
        return "not calibrated: the probabilities are the outputs of the network"
    thresholds = ", and a threshold per class" if card.thresholds else ""
    return f"temperature {card.temperature:.3g}{thresholds}, fitted on {_counted(clips, 'clip')} of the training data"


def _unknown(card: Card) -> str:
    if card.unknown is None:
        return "none: every sound is assigned to the classes of the model"
    quantile, clips = card.recipe.get("known_quantile"), card.training.calibrated_on
    below = 1 - quantile if is_finite(quantile) else None  # type: ignore[operator]
    share = f" ({percent(below)} % of the {_count_text(clips)} calibration clips)" if is_finite(below) and clips else ""
    return f'"unknown" if the familiarity is below {card.unknown:.3g}{share}; `--no-unknown` turns it off'


def _licence(record: TrainingRecord) -> str:
    return "unknown" if record.licence is None else record.licence


def _counted(value: object, noun: str) -> str:
    return f"{_count_text(value)} {noun}{'' if value == 1 else 's'}"


def _count_text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _settings(settings: Mapping[str, Any]) -> str:
    """Format a table as "key=value, …"; the keys of inner tables are joined with dots.

    >>> _settings({"epochs": 20, "augmentation": {"roll": False, "mixup": 0.4}})
    'epochs=20, augmentation.roll=False, augmentation.mixup=0.4'
    """
    rounded = ((key, f"{value:.6g}" if isinstance(value, float) else value) for key, value in _flat(settings))
    return ", ".join(f"{key}={value}" for key, value in rounded)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _data(record: TrainingRecord) -> str:
    if record.fingerprint is None:
        return _training_clips(record)
    name = "unknown" if record.name is None else record.name
    held_out = protocol_of(str(record.protocol)).held_out.format(fold=record.test_fold)
    return f"{name} (fingerprint {record.fingerprint}){_clip_counts(record)}, {held_out}"


def _interval(scores: Mapping[str, Any], task: Task) -> Sequence[Any]:
    """The ends of the interval of the headline metric; both None if they are unknown."""
    ends = scores.get(f"{task.key}_interval")
    return ends if isinstance(ends, list) and len(ends) == 2 else (None, None)


def _scores(scores: Mapping[str, Any]) -> str:
    if not scores:
        return (
            "not measured: no clips were held out. `soundmark compare` measures the recipe, and "
            "`soundmark train --scores RUN` copies its scores to the card."
        )
    task = Task.of_scores(scores)
    low, high = _interval(scores, task)
    n, ece, protocol = _count_text(scores.get("n_test")), scores.get("ece"), scores.get("protocol", "?")
    clips = f"{n} test clips, protocol {protocol}"
    if scores.get("cross_validated"):
        clips = f"{n} clips: cross-validation of the recipe in a comparison, not this model (protocol {protocol})"
    interval = f"95 % interval {percent(low)} to {percent(high)}"
    return (
        f"{task.figure} {percent(scores.get(task.key))} % ({interval}) on {clips}; "
        f"macro F1 {percent(scores.get('macro_f1'))} %, ECE {f'{ece:.3f}' if is_finite(ece) else '?'}"
    )


def _int8(record: Int8Record) -> str:
    if record == Int8Record():
        return "int8, details unknown"
    return (
        f"int8, calibrated on {_counted(record.calibrated_on, 'clip')}: {record.figure} {percent(record.after)} %, "
        f"before quantisation {percent(record.before)} %, on {record.scored}"
    )


def _training(record: TrainingRecord) -> str:
    """Epochs, time, device, precision and threads, as far as they are known."""
    parts = [f"{counted(len(record.history), 'epoch')}"] if record.history else []
    if record.training_s is not None:
        parts.append(duration(record.training_s) if is_finite(record.training_s) else "?")
    if record.engine is not None:
        parts.append(f"{record.engine.device}, {record.engine.precision}, {record.engine.threads} threads")
    return ", ".join(parts)


def _checksums(record: TrainingRecord) -> str:
    parts = {
        "feature store": record.features,
        "training clips": record.trained_on,
        "predictions.csv (SHA-256)": record.predictions_sha256,
    }
    return ", ".join(f"{what} {checksum}" for what, checksum in parts.items() if checksum)


def usage(name: str, card: Card) -> str:
    """How to use the model in the file ``name``, on the command line and in Python.

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
    quoted = shlex.quote(name)
    commands = [f"classify street.wav -m {quoted}", f"explain street.wav -m {quoted} -o why.png"]
    if card.representation.name in EXPORTABLE:
        commands.append(f"export {quoted} --with-front-end")
    return [f"soundmark {command}" for command in commands]


def _python(name: str) -> str:
    return f'import soundmark\nmodel = soundmark.load({_quoted(name)})\nmodel.classify("street.wav")'


# --- Formats for programs and web pages ---


def to_json(card: Card) -> str:
    """Format a card as indented JSON, with the keys that the model file has.

    >>> json.loads(to_json(model.card))["schema"]
    1
    """
    return _utf8(json.dumps(json.loads(card.to_json()), indent=1, ensure_ascii=False)) + "\n"


def to_markdown(name: str, card: Card, *, address: str | None = None) -> str:
    """Format a card as a Markdown page, with the front matter that Hugging Face reads.

    ``address`` is that of the model on a hub, such as hf://user/name, for the commands on the page.

    >>> print(to_markdown("run/model.onnx", model.card)[:63])
    ---
    library_name: soundmark
    pipeline_tag: audio-classification
    """
    file = address or " ".join(Path(name).name.split())  # one line, even if the name contains line breaks
    title = Path(name).stem if address is None else address.rpartition("/")[2]
    quoted_hub = '"soundmark[hub]"'
    rows = [f"| {_cell(heading)} | {_cell(text)} |" for heading, text in card_lines(card)]
    parts = [
        "---",
        *_front_matter(card),
        "---",
        "",
        f"# {_cell(title)}: sound classifier with {counted(len(card.classes), 'class')}",
        "",
        "| | |",
        "|---|---|",
        *rows,
        "",
        "## How to use it",
        "",
        f"    pip install {'soundmark' if address is None else quoted_hub}",
        "",
        *(f"    {line}" for line in _commands(file, card)),
        "",
        "```python",
        _python(file),
        "```",
        "",
        "The scores apply to the test clips named above. On other recordings they may be different: measure them with "
        "`soundmark evaluate DATASET -m MODEL`.",
    ]
    return _utf8("\n".join(parts)) + "\n"


def _front_matter(card: Card) -> list[str]:
    """The front matter as lines of YAML; texts from the card are quoted as in JSON, which is valid YAML."""
    data, licence = card.training.name, licence_id(card.training.licence)
    lines = ["library_name: soundmark", "pipeline_tag: audio-classification", "tags: [audio, sound, onnx, soundmark]"]
    lines.append(f"license: {licence or 'other'}")
    if not licence:
        lines.append(f"license_name: {_quoted(_licence(card.training))}")
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
            f"    metrics: [{', '.join(_metrics(card.scores, key))}]",
        ]
    return lines


def _metrics(scores: Mapping[str, Any], key: str) -> Iterator[str]:
    """The scores as entries of YAML; the Hub shows ``name``."""
    low, high = _interval(scores, Task.of_scores(scores))
    interval = f", 95 % interval {low:.3f} to {high:.3f}" if is_finite(low) and is_finite(high) else ""
    names = {key: key.replace("_", " ") + interval, "macro_f1": "macro F1", "ece": "expected calibration error"}
    kinds = {"macro_f1": "f1"}
    for found, name in names.items():
        if is_finite(value := scores.get(found)):
            yield f"{{type: {kinds.get(found, found)}, name: {_quoted(name)}, value: {value:.4f}}}"


def licence_id(licence: object) -> str | None:
    """Return the identifier that model hubs use for a Creative Commons licence named in a text; None for others.

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
    r"""Escape a text for a cell of a Markdown table: one line without markup.

    >>> _cell("a|b\n<b>")
    'a\\|b &lt;b>'
    """
    for mark, escaped in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;")):
        text = text.replace(mark, escaped)
    return " ".join(text.split())


def _utf8(text: str) -> str:
    """Replace the lone surrogates of undecodable file names."""
    return SURROGATES.sub("\ufffd", text)
