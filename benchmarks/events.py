"""Measure events in long recordings: hours made of clips of a test fold, in noise, unknown sounds and silence.

    python benchmarks/events.py DATASET --cache DIR [--draws 5] [--output FILE.md]

Each hour contains 130 foreground clips of one official fold, 20 minutes each over white noise of −66 dBFS, over clips
of two classes that are left out of training, at −10 dB, and over digital silence. Heads are trained on the other
folds. The network runs once on the clips and once on each hour; its embeddings are kept in DIR, and each row of the
table is a choice of head and decision, made with soundmark's own code.

*Found*: an event of the clip's class covers more than half of it. *False*: an event that overlaps no clip by more than
0.3 s. *Wrong class*: one that overlaps clips, but none of its class.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from soundmark.audio import resample
from soundmark.audio.backgrounds import background
from soundmark.datasets import Clip, Dataset, features
from soundmark.models import weights
from soundmark.models.events import OVERLAP, Event
from soundmark.models.streaming import RecordingAggregator, WindowScores
from soundmark.spectrograms import LogMel
from soundmark.training import calibration, networks
from soundmark.training.calibration import EVENT_THRESHOLD, Familiarity, Presence, held_out_familiarity
from soundmark.training.epochs.augmentation import partial_views
from soundmark.training.transfer import linear_head

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
    smoothing: bool = False
    threshold: float = 0.5


OLD = Variant(name="before: no overlap")
NEW = {"overlap": OVERLAP, "partial": 2, "backgrounds": True, "presence": True, "smoothing": True}
VARIANTS = (
    OLD,
    Variant(name="before, threshold 0.7", threshold=0.7),
    Variant(name="before, overlap 0.5, without pieces", overlap=0.5),
    Variant(name="overlap 0.25 + partial views", overlap=OVERLAP, partial=2),
    Variant(name="overlap 0.25 + backgrounds", overlap=OVERLAP, backgrounds=True),
    Variant(name="overlap 0.25 + both", overlap=OVERLAP, partial=2, backgrounds=True),
    Variant(name="+ presence", **NEW | {"smoothing": False}, threshold=EVENT_THRESHOLD),
    Variant(name="now: + averages", **NEW, threshold=EVENT_THRESHOLD),
    *(Variant(name=f"now, threshold {t:g}", **NEW, threshold=t) for t in (0.33, 0.41, 0.45)),
    *(Variant(name=f"now, overlap 0.5, threshold {t:g}", **NEW | {"overlap": 0.5}, threshold=t) for t in (0.37, 0.41)),
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
    hour = np.concatenate([noise, np.concatenate(sounds)[:n], np.zeros(n, np.float32)])
    placed = []
    for part in range(3):
        mine = [(clip.label, _samples(clip)) for clip in chosen[part::3]]
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


class Embedder:
    """The pretrained network, and its embeddings of clips and hours, kept in a folder."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.network = networks.build("mn04", shape=LogMel().shape, n_classes=len(dataset.classes)).eval()
        self.network.load_pretrained(weights.find("mn04"))

    def _embed(self, spectrograms: np.ndarray, *, views: bool = False) -> np.ndarray:
        compute = self.network.embed_views if views else self.network.embed
        with torch.no_grad():
            parts = [
                compute(torch.from_numpy(np.asarray(spectrograms[i : i + 32]))[:, None]).numpy()
                for i in range(0, len(spectrograms), 32)
            ]
        return np.concatenate(parts, axis=-2)

    def clips(self) -> dict[str, np.ndarray]:
        """The embeddings of the clips in four views, of partial views, and of backgrounds."""
        path, rng = self.folder / "clips.npz", np.random.default_rng(0)
        if not path.exists():
            store = features.build(self.dataset, LogMel())
            spectrograms = np.concatenate([store.array[np.array([i])] for i in range(len(self.dataset.clips))])
            noises = np.stack([LogMel()(background(rng, 128000, 32000), 32000) for _ in range(500)])
            partial = np.stack([self._embed(partial_views(spectrograms, noises, rng)) for _ in range(2)])
            views, negatives = (self._embed(each, views=True) for each in (spectrograms, noises))
            np.savez(path, views=views, partial=partial, negatives=negatives)
        return dict(np.load(path))

    def hour(self, fold: int, draw: int) -> tuple[np.ndarray, list[list]]:
        """The embeddings of the windows of an hour, one every ``HOP_S``, and its clips."""
        path = self.folder / f"hour-{fold}-{draw}.npz"
        if not path.exists():
            samples, placed = make_hour(self.dataset, fold, LEFT_OUT[draw], draw)
            spectrogram = LogMel().natural(resample(samples, RATE_HZ, 32000))
            starts = range(0, spectrogram.shape[1] - 400 + 1, round(HOP_S * 100))
            embedded = np.concatenate(
                [
                    self._embed(np.stack([spectrogram[:, s : s + 400] for s in starts[i : i + 256]]))
                    for i in range(0, len(starts), 256)
                ]
            )
            np.savez(path, embeddings=embedded, placed=json.dumps(placed))
        found = np.load(path)
        return found["embeddings"], json.loads(str(found["placed"]))

    def head_features(self, embeddings: np.ndarray) -> np.ndarray:
        """The input of a head."""
        with torch.no_grad():
            return self.network.head_features(torch.from_numpy(np.ascontiguousarray(embeddings, np.float32))).numpy()


class Fitted:
    """A head and its calibration, fitted on the clips of two folds without the classes that are left out."""

    def __init__(self, embedder: Embedder, fold: int, unknown: Sequence[str], variant: Variant) -> None:
        data, stored, self.embedder, self.variant = embedder.dataset, embedder.clips(), embedder, variant
        known = np.array([clip.label not in unknown for clip in data.clips])
        self.classes = tuple(label for label in data.classes if label not in unknown)
        self.test = np.flatnonzero(known & (data.fold_of == fold))
        train = np.flatnonzero(known & (data.fold_of != fold))
        targets = data.targets[train][:, [label not in unknown for label in data.classes]]
        self.truth = np.array([self.classes.index(data.clips[i].label) for i in self.test])
        views, partial = stored["views"][:, train], list(stored["partial"][: variant.partial, train])
        embeddings, sources, n = (views[0] + views[1]) / 2, data.sources[train].astype(str), len(train)
        base, everything, y, names = embeddings, [*views, *partial], targets, sources
        if variant.backgrounds:
            base, everything, y, names = linear_head.with_negatives(base, everything, y, names, stored["negatives"])
        self.head = linear_head.fit_head(
            embedder.head_features(base), y, names, views=np.stack([embedder.head_features(e) for e in everything])
        )
        k = len(self.classes)
        all_embeddings, repeats = np.concatenate([embeddings, *partial]), 1 + len(partial)
        self.familiarity = Familiarity.of(all_embeddings, np.concatenate([targets] * repeats))
        raw = held_out_familiarity(all_embeddings, np.concatenate([targets] * repeats), np.tile(sources, repeats))[:n]
        self.unknown = float(np.quantile(raw, 0.05))
        self.temperature = calibration.temperature(self.head.held_out[:n, :k], targets)
        self.presence = None
        if variant.presence:
            last = self.head.weights[:, -1], float(self.head.bias[-1])
            self.presence = Presence.of(self.head.held_out[:n], raw, *last, self.temperature)

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """The logits of the classes, and of the background if there is one."""
        return self.embedder.head_features(embeddings) @ self.head.weights + self.head.bias

    def accuracy(self) -> float:
        """The accuracy on the test clips."""
        views = self.embedder.clips()["views"][:2, self.test]
        logits = self.logits((views[0] + views[1]) / 2)[:, : len(self.classes)]
        return float((logits.argmax(1) == self.truth).mean())

    def events(self, embeddings: np.ndarray, variant: Variant) -> list[Event]:
        """The events of a recording, decided as in soundmark; ``embeddings`` are of windows every ``HOP_S``."""
        step = round(WINDOW_S * (1 - variant.overlap) / HOP_S)
        embeddings, k = embeddings[::step], len(self.classes)
        logits, raw = self.logits(embeddings), self.familiarity.raw(embeddings)
        z = logits[:, :k] / self.temperature
        p = np.exp(z - np.logaddexp.reduce(z, axis=1)[:, None]).astype(np.float32)
        presence = None
        if self.presence:
            presence = self.presence(logits[:, :k], logits[:, -1], raw)
        elif variant.backgrounds:  # without presence: the joint softmax
            p *= (1 / (1 + np.exp(logits[:, -1] / self.temperature - np.logaddexp.reduce(z, axis=1))))[:, None]
        model = SimpleNamespace(
            classes=self.classes,
            threshold=lambda given: np.full(k, variant.threshold),
            thresholds=None,
            has_presence=variant.smoothing,
            card=SimpleNamespace(window_s=WINDOW_S, unknown=self.unknown),
        )
        aggregator = RecordingAggregator(model, threshold=variant.threshold, hop_s=HOP_S * step)
        starts = np.arange(len(p)) * HOP_S * step
        part = WindowScores(starts, starts + WINDOW_S, p, raw, [()] * len(p), presence)
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
    embedder = Embedder(Dataset.open(options.dataset), options.cache)
    variants = [v for v in VARIANTS if not options.only_before_and_now or v.name.startswith(("before: ", "now"))]
    rows: dict[tuple[str, object], list[dict[str, float]]] = {}
    for draw in range(options.draws):
        for fold in embedder.dataset.folds:
            embeddings, placed = embedder.hour(fold, draw)
            fitted: dict[tuple, Fitted] = {}
            for variant in variants:
                key = (variant.partial, variant.backgrounds, variant.presence)
                if key not in fitted:
                    fitted[key] = Fitted(embedder, fold, LEFT_OUT[draw], variant)
                row = {"accuracy": fitted[key].accuracy(), **score(fitted[key].events(embeddings, variant), placed)}
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
