"""How many labels `soundmark suggest` saves: a simulated teacher labels suggested clips, or random ones.

    python benchmarks/teaching.py DATASET [--repetitions 10] [--step 10] [--most 400]

For each official fold and repetition, a tenth of the clips of the other folds is left out at random, 20 random clips
are labelled, and the linear head of `transfer` is fitted on them. Then the teacher labels `--step` more at a time:
those that `suggestions.choose` returns, or random ones. Macro F1 is that on the fold, which decides nothing; a curve
ends when it is 95 % of the F1 with all labels, but not before `COMPLETE` labels. Printed: the mean F1 up to there, and
the labels needed, as a ratio to random order, with a bootstrap interval over the repetitions.

Then the search: for each clip, the mean precision of the ten most similar clips of other recordings, by class.
"""

from __future__ import annotations

import argparse

import numpy as np

from soundmark.datasets import Dataset, splits
from soundmark.detection.archive import suggestions
from soundmark.metrics.single_label import macro_f1
from soundmark.metrics.task import Task
from soundmark.models.pretrained.backbone import load_backbone
from soundmark.training import calibration
from soundmark.training.methods import build_features
from soundmark.training.moments import CONSTANT, MIN_SPREAD
from soundmark.training.named_recipes import recipe
from soundmark.training.transfer.linear_head import FOLDS, SHRINKAGES, fit_head

START = 20  # random clips that are labelled at first
REACHED = 0.95  # of the macro F1 with all labels
COMPLETE = 100  # labels that every curve has


class Teacher:
    """Labels clips of ``pool`` in one of two orders; the features are those of complete clips."""

    def __init__(self, features: np.ndarray, embeddings: np.ndarray, data: Dataset, fold: int, seed: int) -> None:
        self.random = np.random.default_rng([seed, fold])
        folds = np.array([clip.fold for clip in data.clips])
        others = self.random.permutation(np.flatnonzero(folds != fold))
        self.pool, self.test = others[: round(0.9 * len(others))], np.flatnonzero(folds == fold)
        self.features, self.targets, self.sources = features, data.targets, data.sources
        self.directions = suggestions.standardised(embeddings, embeddings[self.pool])
        self.first = self.pool[:START]

    def scores(self, labelled: np.ndarray) -> np.ndarray:
        """Fit a head on the ``labelled`` clips; return the probabilities of all clips ``[n, classes]``."""
        weights, bias, temperature = fit_few(self.features[labelled], self.targets[labelled], self.sources[labelled])
        logits = self.features @ weights + bias
        logits[:, ~self.targets[labelled].any(axis=0)] = -1e9  # a class without labels
        return Task.named("softmax").probabilities(logits, temperature)

    def f1(self, scores: np.ndarray) -> float:
        """Return the macro F1 on the test clips."""
        return macro_f1(self.targets[self.test].argmax(1), scores[self.test].argmax(1))

    def goal(self) -> float:
        """Return the macro F1 to reach."""
        head = fit_head(self.features[self.pool], self.targets[self.pool], self.sources[self.pool])
        return REACHED * self.f1(self.features @ head.weights + head.bias)

    def curve(self, order: str, goal: float, step: int, most: int) -> list[tuple[int, float]]:
        """Return the number of labels and the macro F1 after each step."""
        labelled, found = self.first, []
        while True:
            scores = self.scores(labelled)
            found.append((len(labelled), self.f1(scores)))
            is_reached = max(f1 for _, f1 in found) >= goal
            if len(labelled) >= (COMPLETE if is_reached else most):
                return found
            free = self.pool[~np.isin(self.pool, labelled)]
            if order == "random":
                new = self.random.choice(free, step, replace=False)
            else:
                uncertain = suggestions.uncertainty(scores[free])
                known = self.directions[labelled]
                new = free[suggestions.choose(self.directions[free], uncertain, step, labelled=known)]
            labelled = np.concatenate([labelled, new])


def fit_few(features: np.ndarray, targets: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return weights, bias and temperature of ``fit_head`` for fewer clips than features, ten times as fast."""
    fold_of = splits.assign_folds(sources, targets, k=min(FOLDS, len(np.unique(sources))), seed=0)
    held_out = np.zeros((len(SHRINKAGES), *targets.shape))
    for fold in np.unique(fold_of):
        test = fold_of == fold
        for index, (weights, bias) in enumerate(discriminants(features[~test], targets[~test])):
            held_out[index, test] = features[test] @ weights + bias
    temperatures = [calibration.temperature(logits, targets) for logits in held_out]
    task = Task.named("softmax")
    losses = [task.cross_entropy(logits / t, targets) for logits, t in zip(held_out, temperatures, strict=True)]
    best = int(np.argmin(losses))
    return *discriminants(features, targets)[best], temperatures[best]


def discriminants(features: np.ndarray, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and bias of the discriminant of ``fit_head`` for each shrinkage s.

    The covariance is RᵀR/n for residuals R ``[n, d]``. With a = 1 − s, b = s·tr(RᵀR/n)/d, and RRᵀ/n = U·diag(λ)·Uᵀ,
    (a·RᵀR/n + b·I)⁻¹m = (m − RᵀU·diag(a/(n·(b + a·λ)))·UᵀRm)/b (Woodbury): equations of n values instead of d.
    """
    n, d = features.shape
    mean, squares = features.mean(axis=0), (features**2).mean(axis=0)
    variance = squares - mean**2
    spread = np.where(variance <= CONSTANT * squares, np.inf, np.sqrt(np.maximum(variance, 0)) + MIN_SPREAD)
    z = (features - mean) / spread
    means = (targets.T @ z) / np.maximum(targets.sum(axis=0), 1)[:, None]
    residuals = z - targets @ means
    eigenvalues, vectors = np.linalg.eigh(residuals @ residuals.T / n)
    projected = vectors.T @ (residuals @ means.T)
    found = []
    for shrinkage in SHRINKAGES:
        a, b = 1 - shrinkage, shrinkage * max(eigenvalues.sum() / d, 1e-6)
        scaled = projected * (a / (n * (b + a * eigenvalues)))[:, None]
        solved = (means.T - residuals.T @ (vectors @ scaled)) / b
        weights = solved / spread[:, None]
        found.append((weights, -0.5 * (means * solved.T).sum(axis=1) - mean @ weights))
    return found


def search_precision(embeddings: np.ndarray, data: Dataset, n: int = 10) -> dict[str, float]:
    """Return the mean precision among the first ``n`` clips of other recordings, by class."""
    directions = suggestions.standardised(embeddings, embeddings)
    labels, similarity = data.targets.argmax(1), directions @ directions.T
    similarity[data.sources[:, None] == data.sources[None, :]] = -9
    right = labels[np.argsort(-similarity, axis=1)[:, :n]] == labels[:, None]
    return {name: float(right[labels == k].mean()) for k, name in enumerate(data.classes)}


def print_ratio(what: str, mine: np.ndarray, theirs: np.ndarray) -> None:
    """Print the labels needed, their ratio, and its bootstrap interval over the repetitions."""
    drawn = np.random.default_rng(0).integers(len(mine), size=(10_000, len(mine)))
    low, high = np.quantile(mine[drawn].mean(1) / theirs[drawn].mean(1), [0.025, 0.975])
    labels = f"labels needed {mine.mean():.0f}, random {theirs.mean():.0f}"
    ratio = f"ratio {mine.mean() / theirs.mean():.2f} [{low:.2f}, {high:.2f}] over {len(mine)} repetitions"
    print(f"\n{what}: {labels}; {ratio}")


def main() -> None:
    """Simulate both orders, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--repetitions", type=int, default=10, metavar="N")
    parser.add_argument("--step", type=int, default=10, metavar="N")
    parser.add_argument("--most", type=int, default=400, metavar="N")
    options = parser.parse_args()
    data = Dataset.open(options.dataset)
    chosen = recipe("transfer").for_window(data.window_s)
    store = build_features(data, chosen)
    features = store.array[store.rows(np.arange(len(data)))][:, 0].astype(np.float64)
    size = load_backbone(chosen.backbone, chosen.representation.shape).embedding_size
    embeddings = features[:, :size]
    folds = sorted({clip.fold for clip in data.clips})

    f1: dict[str, dict[int, list[float]]] = {"suggested": {}, "random": {}}
    needed: dict[str, list[list[int]]] = {"suggested": [], "random": []}
    for number in range(options.repetitions):
        goals = [Teacher(features, embeddings, data, fold, number).goal() for fold in folds]
        for order, curves in f1.items():
            row = []
            for fold, goal in zip(folds, goals, strict=True):
                teacher = Teacher(features, embeddings, data, fold, number)
                curve = teacher.curve(order, goal, options.step, options.most)
                row.append(next((n for n, value in curve if value >= goal), options.most))
                for n, value in curve:
                    curves.setdefault(n, []).append(value)
            needed[order].append(row)
        print(
            f"repetition {number + 1}: labels needed {needed['suggested'][-1]}, random {needed['random'][-1]}",
            flush=True,
        )

    print("\n| labels | suggested | random |\n|---:|---:|---:|")
    for n in range(START, COMPLETE + 1, 2 * options.step):
        print(f"| {n} | " + " | ".join(f"{100 * np.mean(f1[order][n]):.1f} %" for order in f1) + " |")
    mine, theirs = (np.array(needed[order], float) for order in f1)
    print_ratio("all folds", mine.mean(axis=1), theirs.mean(axis=1))
    for column, fold in enumerate(folds):
        print_ratio(f"tested on fold {fold}", mine[:, column], theirs[:, column])
    precision = search_precision(embeddings, data)
    print("\n| class | precision among the first 10 |\n|---|---:|")
    for name, value in precision.items():
        print(f"| {name} | {100 * value:.0f} % |")
    print(f"| mean | {100 * np.mean(list(precision.values())):.1f} % |")


if __name__ == "__main__":
    main()
