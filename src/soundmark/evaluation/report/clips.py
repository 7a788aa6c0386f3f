"""The sections that show and play clips: what the networks see of each class, and the most confident mistakes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark import audio
from soundmark.datasets.protocols import preferred_protocols, protocol_of
from soundmark.errors import AudioError
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, data_uri, element, join
from soundmark.evaluation.report.view import View
from soundmark.runtime import text
from soundmark.spectrograms import Image

if TYPE_CHECKING:
    from soundmark.audio import Sound
    from soundmark.datasets import Clip
    from soundmark.evaluation.results import Result
    from soundmark.spectrograms import Picture, Representation


PLAYED_HZ = 22050  # enough to recognise a sound, half the bytes of a CD's rate


MISTAKES = 6  # per recipe


TRIES = 5  # clips of a class that are tried before the class goes without a picture


TICK_SPACE = 0.17  # of the height, between two labels of an axis


CLASSES_PLAYED = 12  # with more classes, the examples are silent: the page stays small


@dataclass(frozen=True)
class Mistake:
    """A test clip that was called by a wrong name: its place in the data set, and how sure the network was."""

    clip: int
    predicted: int
    probability: float


def examples(view: View) -> Html:
    """One clip of each class as every recipe sees it."""
    cards, missing = [], []
    is_played = len(view.evaluation.dataset.classes) <= CLASSES_PLAYED
    for label in view.evaluation.dataset.classes:
        examples_of = (_example(view, label, clip, is_played=is_played) for clip in _candidates(view, label))
        card = next((one for one in examples_of if one is not None), None)
        if card is None:
            missing.append(label)
        else:
            cards.append(card)
    intro = element(
        "p",
        "One clip of each class: as a person would look at it, quiet places blank; and as each network gets it, a "
        "small array drawn from its least number in black to its greatest in white. The way of an image recipe leads "
        "over a picture file, in which loud is dark; a mel recipe’s array is decibels, in which loud is bright.",
    )
    without = f"No clip of {text.listed(missing)} could be read to be shown here." if missing else ""
    return join([intro, element("div", *cards, class_="cards"), element("p", without) if without else ""])


def _candidates(view: View, label: str) -> Iterator[Clip]:
    """The clips of a class that may stand for it: the first few, those in the foreground before the others."""
    data = view.evaluation.dataset
    clips = [
        clip for clip in data.clips if label in data.labels_of(clip) and data.relative_path(clip) not in view.unscored
    ]
    yield from sorted(clips, key=lambda clip: clip.salience == "background")[:TRIES]


def _example(view: View, label: str, clip: Clip, *, is_played: bool) -> Html | None:
    """A clip as every recipe sees it; None, and noted, if it cannot be read or drawn."""
    sound = view.read(clip)
    if sound is None:
        return None
    try:
        rows = [_seen_by(view, result, label, sound) for result in view.first_of_recipe]
    except AudioError as error:
        view.cannot_show(clip, error)
        return None
    return element(
        "article",
        element("h3", label),
        *rows,
        player(sound, label) if is_played else "",
        element("p", element("code", view.evaluation.dataset.relative_path(clip)), class_="file"),
        class_="card",
    )


def _seen_by(view: View, result: Result, label: str, sound: Sound) -> Html:
    """A clip as a person would look at it, and as the recipe's network gets it."""
    representation, name = result.recipe.representation, result.recipe.name
    array = representation(sound.samples, sound.rate_hz)
    parts = [_framed(representation, sound, f"{label}, spectrogram", view.badge(name))]
    if isinstance(representation, Image):
        parts.append(_input(representation.png_pixels(sound.samples, sound.rate_hz), f"{label}, picture file"))
        grey = _as_grey(array)
    else:
        grey = _as_grey(array)[::-1]  # arrays start with the lowest frequency, pictures with the highest
    parts.append(_input(grey, f"{label}, as {name} gets it"))
    return element("div", *parts, class_="pictures")


def _input(pixels: np.ndarray, description: str) -> Html:
    size = "×".join(str(n) for n in pixels.shape)
    return element("figure", _image(pixels, description), element("figcaption", size), class_="input")


def _framed(representation: Representation, sound: Sound, description: str, caption: object) -> Html:
    """A representation's picture for people, loud dark, with hertz and seconds along it."""
    picture = representation.picture(sound.samples, sound.rate_hz)
    ticks = [
        element("span", f"{hz / 1000:g}", style=f"top:{100 * share:.1f}%") for hz, share in _frequency_ticks(picture)
    ]
    return element(
        "figure",
        element(
            "div",
            element("div", *ticks, class_="hertz", title="kHz"),
            _image(255 - picture.image, description),
            element("span", "kHz", class_="unit"),
            element("span", element("span", "0"), element("span", f"{picture.duration_s:.2f} s"), class_="seconds"),
            class_="axes",
        ),
        element("figcaption", caption),
        class_="framed",
    )


def _frequency_ticks(picture: Picture) -> list[tuple[int, float]]:
    """Round frequencies in hertz and how far down the picture each stands (0…1), far enough apart to be read."""
    kept: list[tuple[int, float]] = []
    for hz in (80000, 40000, 20000, 10000, 5000, 2000, 1000, 500, 0):
        share = (picture.row_of(hz) + 0.5) / len(picture.image)
        if hz <= picture.f_max_hz and (not kept or share - kept[-1][1] >= TICK_SPACE):
            kept.append((hz, share))
    return kept


def _as_grey(array: np.ndarray) -> np.ndarray:
    """Any numbers [freq, time] as uint8 from the least to the greatest."""
    low, high = float(array.min()), float(array.max())
    grey = np.zeros(array.shape) if high <= low else (array - low) / (high - low)
    return np.round(255 * grey).astype(np.uint8)


def _image(pixels: np.ndarray, description: str) -> Html:
    """Pixels as an image element that holds them: exact where they are few, compressed where they are many."""
    from PIL import Image as Pillow

    height, width = pixels.shape[:2]
    file = io.BytesIO()
    kind, options = ("PNG", {"optimize": True}) if height * width <= 64 * 64 else ("JPEG", {"quality": 85})
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    address = data_uri(file.getvalue(), f"image/{kind.lower()}")
    return element("img", src=address, alt=description, width=width, height=height)


def player(sound: Sound, label: str) -> Html:
    """A player that holds the sound: MP3 where this libsndfile writes it, FLAC otherwise, at ``PLAYED_HZ``."""
    import soundfile

    samples = audio.resample(sound.samples, sound.rate_hz, PLAYED_HZ)
    kind, options = ("MP3", {"compression_level": 0.7}) if "MP3" in soundfile.available_formats() else ("FLAC", {})
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), PLAYED_HZ, format=kind, **options)
    address = data_uri(file.getvalue(), "audio/mpeg" if kind == "MP3" else "audio/flac")
    return element("audio", controls=True, preload="metadata", src=address, aria_label=f"{label}, sound")


def mistakes(view: View) -> Html:
    """The clips that each recipe was surest of and wrong about, under the protocol that keeps recordings apart."""
    if not view.by_protocol:
        return element("p", "Nothing was tested.")
    protocol = next(iter([*(name for name in preferred_protocols() if name in view.by_protocol), *view.by_protocol]))
    parts: list[Html] = [
        element(
            "p",
            f"{protocol_of(protocol).title}: the wrong answers with the highest probabilities, at most one of each "
            f"{'recording' if view.evaluation.dataset.sources_known else 'file'}. Listen before you blame the network: "
            "some are the label’s mistake.",
        )
    ]
    for result in view.by_protocol[protocol]:
        cards = [_mistake_card(view, result, one) for one in most_confident_mistakes(view, result)]
        shown = element("div", *cards, class_="cards") if cards else element("p", "It made no mistake.")
        parts += [element("h3", view.badge(result.recipe.name)), shown]
    return join(parts)


def most_confident_mistakes(view: View, result: Result, limit: int = MISTAKES) -> list[Mistake]:
    """The wrong answers with the highest probabilities, one of each recording at most, surest first."""
    clips = view.evaluation.dataset.clips
    wrong = result.task.mistakes(result.labels, result.probabilities, result.thresholds)
    found: dict[Any, Mistake] = {}
    for i in np.argsort(-wrong.probabilities, kind="stable"):
        clip = int(result.test[wrong.rows[i]])
        recording = clips[clip].source or str(clips[clip].path)
        found.setdefault(recording, Mistake(clip, int(wrong.predicted[i]), float(wrong.probabilities[i])))
        if len(found) == limit:
            break
    return list(found.values())


def _mistake_card(view: View, result: Result, mistake: Mistake) -> Html:
    data = view.evaluation.dataset
    clip, called = data.clips[mistake.clip], data.classes[mistake.predicted]
    return element(
        "article",
        element("p", "Called ", element("strong", called), f", {words.percent(mistake.probability)} sure"),
        element("p", "labelled ", element("strong", clip.label or "none of the classes"), class_="quiet"),
        *_shown_again(view, result, clip),
        element("p", element("code", data.relative_path(clip)), class_="file"),
        class_="card",
    )


def _shown_again(view: View, result: Result, clip: Clip) -> list[Html]:
    """A scored clip's spectrogram and player, or a sentence in their place."""
    sound = view.read(clip)
    if sound is not None:
        try:
            picture = _framed(result.recipe.representation, sound, f"{clip.label}, spectrogram", "")
            return [picture, player(sound, clip.label)]
        except AudioError as error:
            view.cannot_show(clip, error)
    return [element("p", "This clip could not be read again to be shown.", class_="quiet")]
