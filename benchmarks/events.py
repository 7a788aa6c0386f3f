"""Measure events in long recordings: hours made of clips of a test fold, in noise, unknown sounds and silence.

    python benchmarks/events.py DATASET --cache DIR [--draws 5] [--output FILE.md]

Each hour contains 130 foreground clips of one official fold, 20 minutes each over white noise of −66 dBFS, over clips
of two classes that are left out of training, at −10 dB, and over digital silence. Heads are trained on the other
folds. The backbone runs once on the clips and once on each hour; its features are kept in DIR. Each row of the table is
a choice of head and decision, made with soundmark's own code.

*Found*: an event of the clip's class covers more than half of it. *False*: an event that overlaps no clip by more than
0.3 s. *Wrong class*: one that overlaps clips, but none of its class.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from soundmark.audio import resample
from soundmark.datasets import Clip, Dataset, features
from soundmark.models.events import OVERLAP, Event
from soundmark.models.pretrained.backbone import load_backbone
from soundmark.models.streaming import RecordingAggregator, WindowScores
from soundmark.training.calibration import EVENT_THRESHOLD
from soundmark.training.named_recipes import recipe_named
from soundmark.training.transfer.embeddings import Embeddings
from soundmark.training.transfer.head_training import train_head

RATE_HZ, MINUTES, CLIPS, WINDOW_S, HOP_S = 22050, 20, 130, 4.0, 1.0
PARTS = ("noise", "unknown", "silence")
LEFT_OUT = (
    ("air_conditioner", "dog_bark"),
    ("engine_idling", "car_horn"),
    ("street_music", "gun_shot"),
    ("jackhammer", "siren"),
    ("drilling", "children_playing"),
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A row of the table: how the head is trained, and how events are decided."""

    name: str
    overlap: float = 0.0
    partial: int = 0
    backgrounds: bool = False
    presence: bool = False
    novelty: bool = False
    smoothing: bool = False
    threshold: float = 0.5


OLD = Variant(name="clips only, no overlap")
NOW = {"overlap": OVERLAP, "partial": 1, "backgrounds": True, "presence": True, "novelty": True, "smoothing": True}
VARIANTS = (
    OLD,
    Variant(name="clips only, threshold 0.7", threshold=0.7),
    Variant(name="overlap 0.25 + partial views", overlap=OVERLAP, partial=1),
    Variant(name="+ presence", **NOW | {"smoothing": False, "novelty": False}, threshold=EVENT_THRESHOLD),
    Variant(name="+ averages", **NOW | {"novelty": False}, threshold=EVENT_THRESHOLD),
    Variant(name="now: + novelty", **NOW, threshold=EVENT_THRESHOLD),
    *(Variant(name=f"now, threshold {t:g}", **NOW, threshold=t) for t in (0.37, 0.43, 0.46, 0.5, 0.57)),
)


def make_hour(dataset: Dataset, fold: int, unknown: Sequence[str], seed: int) -> tuple[np.ndarray, list[list]]:
    """Return the samples of an hour, and its clips as [label, start, stop, part]."""
    rng, n = np.random.default_rng([seed, fold]), MINUTES * 60 * RATE_HZ
    clips = [clip for clip in dataset.clips if clip.fold == fold and clip.salience == "foreground"]
    known = [clip for clip in clips if clip.label not in unknown]
    strange = [clip for clip in clips if clip.label in unknown]
    chosen = [known[i] for i in rng.permutation(len(known))[:CLIPS]]
    noise = (rng.normal(size=n) * 10 ** (-66 / 20)).astype(np.float32)
    sounds: list[np.ndarray] = []
    while sum(map(len, sounds)) < n:
        sounds += [_samples(strange[i]) * 10 ** (-10 / 20) for i in rng.permutation(len(strange))]
    return place(chosen, [noise, np.concatenate(sounds)[:n], np.zeros(n, np.float32)], rng)


def place(
    chosen: Sequence[Clip], backgrounds: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, list[list]]:
    """Add clips at random places over equally long backgrounds; return the samples, and the clips as in `make_hour`."""
    n, hour, placed = len(backgrounds[0]), np.concatenate(backgrounds), []
    for part in range(len(backgrounds)):
        mine = [(clip.label, _samples(clip)) for clip in chosen[part :: len(backgrounds)]]
        gaps = np.sort(rng.random(len(mine))) * (n - sum(len(samples) for _, samples in mine))
        used = 0
        for (label, samples), gap in zip(mine, gaps, strict=True):
            start = part * n + int(gap) + used
            hour[start : start + len(samples)] += samples
            placed.append([label, start / RATE_HZ, (start + len(samples)) / RATE_HZ, part])
            used += len(samples)
    return np.clip(hour, -1, 1), placed


def _samples(clip: Clip) -> np.ndarray:
    sound = clip.read()
    return resample(sound.samples, sound.rate_hz, RATE_HZ)


class Hours:
    """The features of the clips and of the windows of hours, kept in a folder."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder, recipe = dataset, folder, recipe_named("transfer")
        folder.mkdir(parents=True, exist_ok=True)
        self.representation = recipe.representation.for_window(WINDOW_S)
        self.backbone = load_backbone("mn04", self.representation.shape)
        extractor = Embeddings(
            representation=self.representation, backbone=self.backbone, partial_views=recipe.partial_views
        )
        store = features.build(dataset, extractor, window_s=WINDOW_S)
        self.clips = np.moveaxis(store.array[np.arange(len(dataset.clips))], 1, 0)
        self.backgrounds = extractor.of_backgrounds(recipe.backgrounds, recipe.recorded_backgrounds)

    def hour(self, fold: int, draw: int) -> tuple[np.ndarray, list[list]]:
        """The features of the windows of an hour, one every ``HOP_S``, and its clips."""
        path = self.folder / f"hour-{fold}-{draw}.npz"
        if not path.exists():
            samples, placed = make_hour(self.dataset, fold, LEFT_OUT[draw], draw)
            spectrogram = self.representation.natural(resample(samples, RATE_HZ, 32000))
            starts = range(0, spectrogram.shape[1] - 400 + 1, round(HOP_S * 100))
            found = [
                self.backbone.features(np.stack([spectrogram[:, s : s + 400] for s in starts[i : i + 32]]))
                for i in range(0, len(starts), 32)
            ]
            np.savez(path, features=np.concatenate(found), placed=json.dumps(placed))
        found = np.load(path)
        return found["features"], json.loads(str(found["placed"]))


class Fitted:
    """A head and its calibration, fitted on the clips of two folds without the classes that are left out."""

    def __init__(self, hours: Hours, fold: int, unknown: Sequence[str], variant: Variant) -> None:
        data = hours.dataset
        known = np.array([clip.label not in unknown for clip in data.clips])
        self.hours, self.classes = hours, tuple(label for label in data.classes if label not in unknown)
        self.test, train = (np.flatnonzero(known & chosen) for chosen in (data.fold_of == fold, data.fold_of != fold))
        self.truth = np.array([self.classes.index(data.clips[i].label) for i in self.test])
        self.trained = train_head(
            hours.clips[: 1 + variant.partial, train],
            data.targets[train][:, [label not in unknown for label in data.classes]].astype(np.float64),
            data.sources[train],
            hours.backbone,
            recipe_named("transfer"),
            backgrounds=hours.backgrounds if variant.backgrounds else None,
        )

    def accuracy(self) -> float:
        """The accuracy on the test clips."""
        return float((self.trained.logits(self.hours.clips[0, self.test]).argmax(1) == self.truth).mean())

    def events(self, found: np.ndarray, variant: Variant) -> list[Event]:
        """The events of a recording, decided as in soundmark; ``found`` are features of windows every ``HOP_S``."""
        step = round(WINDOW_S * (1 - variant.overlap) / HOP_S)
        found, k, fitted = found[::step], len(self.classes), self.trained.calibration
        logits, raw = self.trained.logits(found), fitted.familiarity.raw(found[:, : self.hours.backbone.embedding_size])
        z = logits / fitted.temperature
        p = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None]).astype(np.float32)
        presence = None
        if variant.presence:
            decides = fitted.presence if variant.novelty else replace(fitted.presence, novelty=None)
            backgrounds = found @ decides.weights + decides.bias
            presence = decides(logits, backgrounds, raw, decides.novelty(found) if decides.novelty else None)
        model = SimpleNamespace(
            classes=self.classes,
            threshold=lambda given: np.full(k, variant.threshold),
            thresholds=None,
            has_presence=variant.smoothing,
            card=SimpleNamespace(window_s=WINDOW_S, unknown=fitted.unknown, background_rows=()),
        )
        aggregator = RecordingAggregator(model, threshold=variant.threshold, hop_s=HOP_S * step)
        starts = np.arange(len(p)) * HOP_S * step
        familiarity = fitted.familiarity.scale_raw(raw)
        part = WindowScores(starts, starts + WINDOW_S, p, familiarity, [()] * len(p), presence)
        return [*aggregator.add(part), *aggregator.end()]


def score(events: Sequence[Event], placed: list[list]) -> dict[str, float]:
    """The share of clips found, false events in each background, and events of a wrong class."""
    times, labels = np.array([[start, stop] for _, start, stop, _ in placed]), np.array([row[0] for row in placed])
    found, counts = np.zeros(len(placed), bool), dict.fromkeys((*PARTS, "wrong"), 0.0)
    for event in events:
        overlap = np.minimum(times[:, 1], event.stop_s) - np.maximum(times[:, 0], event.start_s)
        same = labels == event.label
        found |= same & (overlap > 0.5 * (times[:, 1] - times[:, 0]))
        if not (overlap > 0.3).any():
            counts[PARTS[min(2, int((event.start_s + event.stop_s) / 2 // (60 * MINUTES)))]] += 1
        elif not (same & (overlap > 0.3)).any():
            counts["wrong"] += 1
    return {"found": float(found.mean()), **counts}


def _cell(values: Sequence[float], form: str = "{:.1f}") -> str:
    """The mean, and its 95 % t interval over the hours (t for 5 hours: 2.78)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return form.format(mean)
    quantiles = {2: 12.7, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 9: 2.31, 10: 2.26, 15: 2.14}
    half = quantiles.get(len(values), 2.2) * float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return f"{form.format(mean)} ± {form.format(half)}"


def main() -> None:
    """Run all variants on all hours, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--only-before-and-now", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    hours = Hours(Dataset.open(options.dataset), options.cache)
    variants = [v for v in VARIANTS if not options.only_before_and_now or v == OLD or v.name.startswith("now")]
    rows: dict[tuple[str, object], list[dict[str, float]]] = {}
    for draw in range(options.draws):
        for fold in hours.dataset.folds:
            found, placed = hours.hour(fold, draw)
            fitted: dict[tuple, Fitted] = {}
            for variant in variants:
                key = (variant.partial, variant.backgrounds)
                if key not in fitted:
                    fitted[key] = Fitted(hours, fold, LEFT_OUT[draw], variant)
                row = {"accuracy": fitted[key].accuracy(), **score(fitted[key].events(found, variant), placed)}
                print(fold, draw, variant.name, row, flush=True)
                for group in (fold, "all"):
                    rows.setdefault((variant.name, group), []).append(row)
    lines = [
        "| test fold | heads and decision | clip accuracy | found | false in noise | unknown | silence | wrong class |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (name, group), found in sorted(rows.items(), key=lambda item: [v.name for v in variants].index(item[0][0])):
        shares = [_cell([row[key] for row in found], "{:.1%}") for key in ("accuracy", "found")]
        counts = [_cell([row[key] for row in found]) for key in (*PARTS, "wrong")]
        lines.append(f"| {group} | {name} | {' | '.join([*shares, *counts])} |")
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
