"""How many labels `soundmark suggest` saves: a simulated teacher labels suggested clips, or random ones.

    python benchmarks/teaching.py DATASET [--repetitions 10] [--step 10] [--most 400]

For each official fold and repetition, a tenth of the clips of the other folds is left out at random, 20 random clips
are labelled, and the linear head of `transfer` is fitted on them. Then the teacher labels `--step` more at a time:
those that `suggestions.choose` returns, or random ones. Macro F1 is that on the fold, which decides nothing. Printed:
the mean F1 by labels, and the labels needed to reach 95 % of the F1 with all labels, as a ratio to random order, with a
bootstrap interval over the repetitions.

Then the search: for each clip, the mean precision of the ten most similar clips of other recordings, by class.
"""

from __future__ import annotations

import argparse

import numpy as np

from soundmark.datasets import Dataset
from soundmark.detection.archive import suggestions
from soundmark.metrics.single_label import macro_f1
from soundmark.metrics.task import Task
from soundmark.models.pretrained.backbone import load_backbone
from soundmark.training.methods import build_features
from soundmark.training.named_recipes import recipe
from soundmark.training.transfer.linear_head import fit_head

START = 20  # random clips that are labelled at first
REACHED = 0.95  # of the macro F1 with all labels


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

    def fit(self, labelled: np.ndarray) -> tuple[float, np.ndarray]:
        """Fit a head; return its macro F1 on the test clips, and the probabilities ``[pool, classes]``."""
        head = fit_head(self.features[labelled], self.targets[labelled], self.sources[labelled])
        logits = self.features @ head.weights + head.bias
        logits[:, ~self.targets[labelled].any(axis=0)] = -1e9  # a class without labels
        scores = Task.named("softmax").probabilities(logits, head.temperature)
        return macro_f1(self.targets[self.test].argmax(1), scores[self.test].argmax(1)), scores[self.pool]

    def curve(self, order: str, step: int, most: int) -> list[tuple[int, float]]:
        """Return the number of labels and the macro F1 after each step."""
        labelled, found = self.first, []
        while True:
            f1, scores = self.fit(labelled)
            found.append((len(labelled), f1))
            if len(labelled) >= most:
                return found
            is_free = ~np.isin(self.pool, labelled)
            free = self.pool[is_free]
            if order == "random":
                new = self.random.choice(free, step, replace=False)
            else:
                uncertain = suggestions.uncertainty(scores[is_free])
                known = self.directions[labelled]
                new = free[suggestions.choose(self.directions[free], uncertain, step, labelled=known)]
            labelled = np.concatenate([labelled, new])


def search_precision(embeddings: np.ndarray, data: Dataset, n: int = 10) -> dict[str, float]:
    """Return the mean precision among the first ``n`` clips of other recordings, by class."""
    directions = suggestions.standardised(embeddings, embeddings)
    labels, similarity = data.targets.argmax(1), directions @ directions.T
    similarity[data.sources[:, None] == data.sources[None, :]] = -9
    right = labels[np.argsort(-similarity, axis=1)[:, :n]] == labels[:, None]
    return {name: float(right[labels == k].mean()) for k, name in enumerate(data.classes)}


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
    features = store.array[store.rows(np.arange(len(data)))][:, 0]
    size = load_backbone(chosen.backbone, chosen.representation.shape).embedding_size
    embeddings = features[:, :size]
    folds = sorted({clip.fold for clip in data.clips})

    f1: dict[str, dict[int, list[float]]] = {"suggested": {}, "random": {}}
    needed: dict[str, list[list[int]]] = {"suggested": [], "random": []}
    for number in range(options.repetitions):
        for order, curves in f1.items():
            row = []
            for fold in folds:
                teacher = Teacher(features, embeddings, data, fold, number)
                goal = REACHED * teacher.fit(teacher.pool)[0]
                curve = teacher.curve(order, options.step, options.most)
                row.append(next((n for n, value in curve if value >= goal), options.most))
                for n, value in curve:
                    curves.setdefault(n, []).append(value)
            needed[order].append(row)
        print(
            f"repetition {number + 1}: labels needed {needed['suggested'][-1]}, random {needed['random'][-1]}",
            flush=True,
        )

    print("\n| labels | suggested | random |\n|---:|---:|---:|")
    for n in [n for n in f1["random"] if n % 50 == 0 or n == START]:
        print(f"| {n} | " + " | ".join(f"{100 * np.mean(f1[order][n]):.1f} %" for order in f1) + " |")
    mine, theirs = (np.array(needed[order], float).mean(axis=1) for order in f1)
    drawn = np.random.default_rng(0).integers(len(mine), size=(10_000, len(mine)))
    low, high = np.quantile(mine[drawn].mean(1) / theirs[drawn].mean(1), [0.025, 0.975])
    print(
        f"\nlabels needed: {mine.mean():.0f}, random {theirs.mean():.0f}; ratio {mine.mean() / theirs.mean():.2f} "
        f"[{low:.2f}, {high:.2f}] over {len(mine)} repetitions"
    )
    precision = search_precision(embeddings, data)
    print("\n| class | precision among the first 10 |\n|---|---:|")
    for name, value in precision.items():
        print(f"| {name} | {100 * value:.0f} % |")
    print(f"| mean | {100 * np.mean(list(precision.values())):.1f} % |")


if __name__ == "__main__":
    main()
