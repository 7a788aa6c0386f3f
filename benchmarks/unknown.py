"""Measure how well scores detect unknown sounds: classes are left out of training, one at a time, and tested.

    python benchmarks/unknown.py DATASET [--classes 5] [--seed 0] [--output FILE.md]

The official folds of DATASET are used: each is tested once, including the class that is left out of training. The
network of the ``transfer`` recipe computes the embedding of every clip once; its head is fitted again for each class
and fold. The threshold of each score is set as in soundmark: by cross-validation over recordings within the training
folds, so that 95 % of the validation clips are kept. Test clips are not used for it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundmark.datasets import Dataset, splits
from soundmark.models.pretrained import mobilenet
from soundmark.runtime import provenance
from soundmark.training import calibration, methods
from soundmark.training.calibration import Familiarity
from soundmark.training.named_recipes import recipe_named
from soundmark.training.transfer import linear_head

NEIGHBOURS = 5
SCORES = {
    "energy": "energy: ln Σ exp(logit)",
    "softmax": "largest probability",
    "logit": "largest logit",
    "entropy": "entropy",
    "mahalanobis": "Mahalanobis distance to the nearest class",
    "familiarity": "relative Mahalanobis distance, to the nearest class and to all classes (used by soundmark)",
    "neighbours": f"cosine to the {NEIGHBOURS} nearest training clips",
}
COLUMNS = ("auroc", "rejected", "kept")


@dataclass(frozen=True, kw_only=True)
class ClipEmbeddings:
    """The outputs of the pretrained network for all clips."""

    embeddings: np.ndarray  # float32 [n, d], from which familiarity is computed
    head_features: np.ndarray  # float32 [n, e], the input of a head
    targets: np.ndarray  # float32 [n, classes]
    sources: np.ndarray  # str [n], the recordings


@dataclass(frozen=True, kw_only=True)
class ScoreQuality:
    """How well one score detects a class that was left out of training, as the mean over the folds that contain it."""

    auroc: float
    rejected: float  # share of the unknown test clips
    kept: float  # share of the known test clips


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """The probability that a known sound has a larger score than an unknown one; a tie counts half.

    Computed from ranks (Mann and Whitney): (R − n(n + 1)/2) / nm, where R is the sum of the mean ranks of known sounds.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    scores = np.concatenate([known, unknown])
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    n, m = len(known), len(unknown)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def by_logits(logits: np.ndarray) -> dict[str, np.ndarray]:
    """The scores computed from logits ``[n, classes]``, divided by the head's temperature; larger means more familiar.

    >>> {name: score.round(2).tolist() for name, score in by_logits(np.zeros((1, 2))).items()}
    {'energy': [0.69], 'softmax': [0.5], 'logit': [0.0], 'entropy': [-0.69]}
    """
    z = np.asarray(logits, np.float64)
    energy = np.logaddexp.reduce(z, axis=1)
    p = np.exp(z - energy[:, None])
    entropy = (p * (z - energy[:, None])).sum(1)  # Σ p·ln p
    return {"energy": energy, "softmax": p.max(1), "logit": z.max(1), "entropy": entropy}


def by_embedding(train: np.ndarray, targets: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """The scores computed from the embeddings ``test`` ``[n, d]`` and those of the training clips ``train`` ``[m, d]``.

    >>> train = np.random.default_rng(0).normal(size=(50, 4)) + 9 * np.eye(4)[np.arange(50) % 2]
    >>> scores = by_embedding(train, np.eye(2)[np.arange(50) % 2], np.array([train.mean(0), train[0]]))
    >>> [name for name, score in scores.items() if score[0] < score[1]]
    ['mahalanobis', 'familiarity', 'neighbours']
    """
    familiarity = Familiarity.of(train, targets)
    relative = familiarity.raw(test)
    z = (np.asarray(test, np.float64) - familiarity.mean) * familiarity.scale
    # f = xᵀC₀⁻¹x − (distance to the nearest class): subtracting the first term leaves the plain distance, negated.
    nearest = relative - (z @ familiarity.overall * z).sum(1)
    cosines = _unit_vectors(test) @ _unit_vectors(train).T
    neighbours = np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(1)
    return {"mahalanobis": nearest, "familiarity": relative, "neighbours": neighbours}


def _unit_vectors(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return result


def embed_clips(dataset: Dataset, progress: Callable[..., None]) -> ClipEmbeddings:
    """Return the features of all clips by the backbone of ``transfer``."""
    recipe = recipe_named("transfer").for_window(dataset.window_s)
    store = methods.build_features(dataset, recipe, progress=progress)
    if store.skipped:
        raise SystemExit(f"{len(store.skipped)} clips cannot be decoded; the first is {store.skipped[0].path}.")
    found = store.array[np.arange(len(dataset.clips))][:, 0]
    size = mobilenet.embedding_size(recipe.backbone or "")
    return ClipEmbeddings(
        embeddings=found[:, :size], head_features=found, targets=dataset.targets, sources=dataset.sources
    )


def compute_scores(
    clips: ClipEmbeddings, train: np.ndarray, test: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All scores of the training clips ``train``, by cross-validation over recordings, and of the test clips ``test``.

    ``train`` and ``test`` are indices of clips.
    """
    targets = clips.targets[train]
    targets = targets[:, targets.any(axis=0)]
    head = linear_head.fit_head(clips.head_features[train], targets, clips.sources[train])
    held_out = by_logits(head.held_out / head.temperature)
    x = clips.embeddings[train]
    for name in ("mahalanobis", "familiarity", "neighbours"):
        held_out[name] = np.zeros(len(train))
    fold_of = splits.assign_folds(clips.sources[train], targets, k=calibration.N_FOLDS, seed=0)
    for fold in np.unique(fold_of):
        in_fold = fold_of == fold
        for name, score in by_embedding(x[~in_fold], targets[~in_fold], x[in_fold]).items():
            held_out[name][in_fold] = score
    logits = (clips.head_features[test] @ head.weights + head.bias) / head.temperature
    return held_out, by_logits(logits) | by_embedding(x, targets, clips.embeddings[test])


def leave_class_out(clips: ClipEmbeddings, dataset: Dataset, class_index: int, kept: float) -> dict[str, ScoreQuality]:
    """Measure each score when one class is left out of training; the threshold keeps the share ``kept`` of the rest."""
    per_fold: dict[str, list[ScoreQuality]] = {name: [] for name in SCORES}
    in_class = dataset.labels == class_index
    for split in splits.official_folds(dataset):
        unknown = in_class[split.test]
        if not unknown.any():
            continue
        held_out, test_scores = compute_scores(clips, split.train[~in_class[split.train]], split.test)
        for name in SCORES:
            threshold = np.quantile(held_out[name], 1 - kept)
            rejected = test_scores[name] < threshold
            per_fold[name].append(
                ScoreQuality(
                    auroc=auroc(test_scores[name][~unknown], test_scores[name][unknown]),
                    rejected=float(rejected[unknown].mean()),
                    kept=float(1 - rejected[~unknown].mean()),
                )
            )
    return {name: _mean_quality(qualities) for name, qualities in per_fold.items()}


def _mean_quality(qualities: list[ScoreQuality]) -> ScoreQuality:
    return ScoreQuality(**{key: float(np.mean([getattr(one, key) for one in qualities])) for key in COLUMNS})


def as_markdown(by_class: dict[str, dict[str, ScoreQuality]], dataset: Dataset, kept: float, seconds: float) -> str:
    """The table: mean and range over the classes left out, best AUROC first; then data, machine and command."""
    by_score = {name: [qualities[name] for qualities in by_class.values()] for name in SCORES}
    order = sorted(SCORES, key=lambda name: -np.mean([quality.auroc for quality in by_score[name]]))
    lines = [
        "# Unknown sounds: classes left out of training",
        "",
        f"| score | AUROC | unknown sounds rejected at the threshold that keeps {kept:.0%} of the validation clips "
        "| known test sounds kept |",
        "|---|---|---|---|",
    ]
    for name in order:
        cells = [_range([getattr(quality, key) for quality in by_score[name]], key) for key in COLUMNS]
        lines.append(f"| {SCORES[name]} | {' | '.join(cells)} |")
    machine, versions = provenance.machine(), provenance.versions()
    lines += [
        "",
        f"Mean (minimum … maximum) over the classes left out, each the mean of its folds: {', '.join(by_class)}.  ",
        f"Data: {dataset.name}, {len(dataset.clips):,} clips, official folds {', '.join(map(str, dataset.folds))}, "
        "each tested once and trained on the others, with the recipe `transfer`.  ",
        f"Machine: {machine['processor']}, {machine['cores']} core{'s' if machine['cores'] > 1 else ''}; "
        f"Python {versions['python']}, onnxruntime {versions['onnxruntime']}; {seconds / 60:.0f} minutes.  ",
        "Command: `python benchmarks/unknown.py DATASET`.",
    ]
    return "\n".join(lines) + "\n"


def _range(values: list[float], key: str) -> str:
    if key == "auroc":
        return f"{np.mean(values):.3f} ({min(values):.3f} … {max(values):.3f})"
    return f"{np.mean(values):.0%} ({min(values):.0%} … {max(values):.0%})"


def main() -> None:
    """Parse the command line, leave out classes one at a time, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument(
        "--classes", type=int, default=5, help="classes to leave out, one at a time (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed that selects the classes (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("UNKNOWN.md"))
    options = parser.parse_args()
    started, dataset = time.perf_counter(), Dataset.open(options.dataset)
    clips = embed_clips(dataset, lambda *progress: print(*progress, file=sys.stderr, end="\r"))
    chosen = np.sort(np.random.default_rng(options.seed).permutation(len(dataset.classes))[: options.classes])
    kept = recipe_named("transfer").known_quantile
    by_class = {}
    for class_index in chosen:
        label = dataset.classes[class_index]
        by_class[label] = leave_class_out(clips, dataset, int(class_index), kept)
        print(label, by_class[label]["familiarity"], file=sys.stderr)
    options.output.write_text(as_markdown(by_class, dataset, kept, time.perf_counter() - started), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
