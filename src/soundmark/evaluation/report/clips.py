"""The sections "Misclassified clips" and "Input spectrograms", which show and play clips."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark import audio
from soundmark.datasets.protocols import protocol_of
from soundmark.errors import AudioError
from soundmark.evaluation.report import words
from soundmark.evaluation.report.markup import Html, data_uri, element, join
from soundmark.evaluation.report.view import View
from soundmark.runtime import text
from soundmark.spectrograms import Image, Waveform

if TYPE_CHECKING:
    from soundmark.audio import Sound
    from soundmark.datasets import Clip
    from soundmark.evaluation.results import Result
    from soundmark.spectrograms import Representation, SpectrogramImage


PLAYED_HZ = 22050  # half the size of 44.1 kHz, sufficient to recognise a sound


MOST_MISCLASSIFIED = 6  # per recipe


TRIES = 5  # clips to try per class until one can be read


TICK_SPACE = 0.17  # least distance between two tick labels, as a fraction of the height


CLASSES_PLAYED = 12  # with more classes, the examples have no players, to keep the file small


@dataclass(frozen=True)
class Mistake:
    """A misclassified test clip."""

    clip: int  # index in the data set
    predicted: int  # index of the class
    probability: float  # of the predicted class


def inputs_section(view: View) -> Html:
    """Render a clip of each class as a spectrogram and as the input of each recipe."""
    cards, missing = [], []
    has_players = len(view.evaluation.dataset.classes) <= CLASSES_PLAYED
    for label in view.evaluation.dataset.classes:
        attempts = (_example(view, label, clip, has_player=has_players) for clip in _candidates(view, label))
        card = next((one for one in attempts if one is not None), None)
        if card is None:
            missing.append(label)
        else:
            cards.append(card)
    intro = element(
        "p",
        "One clip of each class. Left: its spectrogram, loud is dark. Right: the input of each network, scaled from "
        "its minimum (black) to its maximum (white). An image recipe first writes an image file, in which loud is "
        "dark; the input of a mel recipe is in decibels, so loud is bright.",
    )
    without = f"No clip of {text.listed(missing)} could be read." if missing else ""
    return join([intro, element("div", *cards, class_="cards"), element("p", without) if without else ""])


def _candidates(view: View, label: str) -> Iterator[Clip]:
    """Return the first clips of a class, those with the sound in the foreground first."""
    data = view.evaluation.dataset
    clips = [
        clip
        for clip in data.clips
        if label in data.labels_of(clip) and data.relative_path(clip) not in view.skipped_paths
    ]
    yield from sorted(clips, key=lambda clip: clip.salience == "background")[:TRIES]


def _example(view: View, label: str, clip: Clip, *, has_player: bool) -> Html | None:
    """Render a clip for each recipe; return None if it cannot be read or drawn, which is recorded."""
    sound = view.read(clip)
    if sound is None:
        return None
    try:
        rows = [_recipe_images(view, result, label, sound) for result in view.first_of_recipe]
    except AudioError as error:
        view.add_unreadable(clip, error)
        return None
    return element(
        "article",
        element("h3", label),
        *rows,
        player(sound, label) if has_player else "",
        element("p", element("code", view.evaluation.dataset.relative_path(clip)), class_="file"),
        class_="card",
    )


def _recipe_images(view: View, result: Result, label: str, sound: Sound) -> Html:
    """Render the spectrogram of a clip and the input of the recipe's network."""
    representation, name = result.recipe.representation, result.recipe.name
    parts = [_spectrogram(representation, sound, f"{label}, spectrogram", view.badge(name))]
    if isinstance(representation, Waveform):  # the input is the sound
        return element("div", *parts, class_="images")
    array = representation(sound.samples, sound.rate_hz)
    if isinstance(representation, Image):
        pixels = representation.png_pixels(sound.samples, sound.rate_hz)
        parts.append(_input(pixels, f"{label}, image file of {name}", "image file"))
        grey = to_grey(array)
    else:
        grey = to_grey(array)[::-1]  # arrays start with the lowest frequency, images with the highest
    parts.append(_input(grey, f"{label}, input of {name}", "input"))
    return element("div", *parts, class_="images")


def _input(pixels: np.ndarray, description: str, caption: str) -> Html:
    size = "\u00a0×\u00a0".join(str(n) for n in pixels.shape)
    captions = [element("span", one, class_="line") for one in (caption, size)]
    return element("figure", _image(pixels, description), element("figcaption", *captions), class_="input")


def _spectrogram(representation: Representation, sound: Sound, description: str, caption: object) -> Html:
    """Render the spectrogram of a sound for viewing, loud is dark, with axes for frequency and time."""
    image = representation.render(sound.samples, sound.rate_hz)
    ticks = [element("span", f"{hz / 1000:g}", style=f"top:{100 * share:.1f}%") for hz, share in frequency_ticks(image)]
    return element(
        "figure",
        element("figcaption", caption) if caption else "",
        element(
            "div",
            element("span", "frequency (kHz)", class_="axis"),
            element("div", *ticks, class_="ticks"),
            _image(255 - image.pixels, description),
            element(
                "span",
                element("span", "0"),
                element("span", "time (s)"),
                element("span", f"{image.duration_s:.2f}"),
                class_="times",
            ),
            class_="axes",
        ),
        class_="spectrogram",
    )


def frequency_ticks(image: SpectrogramImage) -> list[tuple[int, float]]:
    """Return round frequencies in Hz and their distance from the top of the image, from 0 to 1."""
    kept: list[tuple[int, float]] = []
    for hz in (80000, 40000, 20000, 10000, 5000, 2000, 1000, 500, 0):
        share = (image.row_of(hz) + 0.5) / len(image.pixels)
        if hz <= image.f_max_hz and (not kept or share - kept[-1][1] >= TICK_SPACE):
            kept.append((hz, share))
    return kept


def to_grey(array: np.ndarray) -> np.ndarray:
    """Scale an array [freq, time] to uint8, from its minimum (0) to its maximum (255); a constant array gives 0."""
    low, high = float(array.min()), float(array.max())
    grey = np.zeros(array.shape) if high <= low else (array - low) / (high - low)
    return np.round(255 * grey).astype(np.uint8)


def _image(pixels: np.ndarray, description: str) -> Html:
    """Embed pixels as an image element: small images as PNG, larger ones as JPEG."""
    from PIL import Image as Pillow

    height, width = pixels.shape[:2]
    file = io.BytesIO()
    kind, options = ("PNG", {"optimize": True}) if height * width <= 64 * 64 else ("JPEG", {"quality": 85})
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    address = data_uri(file.getvalue(), f"image/{kind.lower()}")
    return element("img", src=address, alt=description, width=width, height=height)


def player(sound: Sound, label: str) -> Html:
    """Embed a sound as an audio player: MP3 if this libsndfile can write it, else FLAC, at ``PLAYED_HZ``."""
    import soundfile

    samples = audio.resample(sound.samples, sound.rate_hz, PLAYED_HZ)
    kind, options = ("MP3", {"compression_level": 0.7}) if "MP3" in soundfile.available_formats() else ("FLAC", {})
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), PLAYED_HZ, format=kind, **options)
    address = data_uri(file.getvalue(), "audio/mpeg" if kind == "MP3" else "audio/flac")
    return element("audio", controls=True, preload="metadata", src=address, aria_label=f"{label}, sound")


def misclassified_section(view: View) -> Html:
    """Render the misclassified clips with the highest confidence, for each recipe under the main protocol."""
    if not view.by_protocol:
        return element("p", "No results: nothing was tested.")
    protocol = view.main_protocol
    parts: list[Html] = [
        element(
            "p",
            f"{protocol_of(protocol).title}: the wrong predictions with the highest confidence, at most one per "
            f"{'recording' if view.evaluation.dataset.sources_known else 'file'}. Listen to them: some labels may be "
            "wrong.",
        )
    ]
    for result in view.by_protocol[protocol]:
        cards = [_mistake_card(view, result, one) for one in most_confident_mistakes(view, result)]
        shown = element("div", *cards, class_="cards") if cards else element("p", "No misclassified clips.")
        parts += [element("h3", view.badge(result.recipe.name)), shown]
    return join(parts)


def most_confident_mistakes(view: View, result: Result, limit: int = MOST_MISCLASSIFIED) -> list[Mistake]:
    """Return the wrong predictions with the highest probabilities, at most one per recording, in descending order."""
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
    clip, predicted = data.clips[mistake.clip], data.classes[mistake.predicted]
    return element(
        "article",
        element("p", "Predicted: ", element("strong", predicted), f" ({words.percent(mistake.probability)})"),
        element("p", "Label: ", element("strong", clip.label or "no class"), class_="quiet"),
        *_clip_views(view, result, clip),
        element("p", element("code", data.relative_path(clip)), class_="file"),
        class_="card",
    )


def _clip_views(view: View, result: Result, clip: Clip) -> list[Html]:
    """Render the spectrogram and a player of a clip, or a note that it cannot be read."""
    sound = view.read(clip)
    if sound is not None:
        try:
            spectrogram = _spectrogram(result.recipe.representation, sound, f"{clip.label}, spectrogram", "")
            return [spectrogram, player(sound, clip.label)]
        except AudioError as error:
            view.add_unreadable(clip, error)
    return [element("p", "This clip could not be read again.", class_="quiet")]
