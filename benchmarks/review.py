"""Whether a threshold that 40 reviews call safe has the wanted precision, and how often one is called safe.

    python benchmarks/review.py DATASET [--reviews 40] [--repetitions 20] [--wanted 0.9] [--first]

The windows are the clips of the data set, their scores the held-out probabilities of `transfer` (by recording), and the
reviewer knows the labels. For each class and repetition, windows are reviewed five at a time as `review.next_windows`
asks for them. With --first, the reviewer uses the first threshold that is called safe, as somebody at the page may:
after each review from the tenth on. Printed for each class: the highest precision at any threshold, how often a
threshold was called safe, and how often its precision was indeed the wanted one.
"""

from __future__ import annotations

import argparse

import numpy as np

from soundmark.datasets import Dataset
from soundmark.detection.archive import review
from soundmark.training.methods import background_features, build_features, held_out_scores
from soundmark.training.named_recipes import recipe

STEP = 5


def precision(scores: np.ndarray, truth: np.ndarray, threshold: float) -> float:
    """Return the share of the windows at or above a threshold that contain the class; NaN of too few windows."""
    above = scores >= threshold
    return float(truth[above].mean()) if above.sum() >= review.FEWEST else np.nan


def reviewed(
    scores: np.ndarray, truth: np.ndarray, n: int, wanted: float, seed: int, *, first: bool = False
) -> float | None:
    """Review ``n`` windows; return the safe threshold, or the ``first`` one that was called safe."""
    chosen, bins = np.zeros(0, np.int64), review.binned(scores)
    threshold = None
    while len(chosen) < n:
        step = min(STEP, n - len(chosen))
        for window in review.next_windows(scores, chosen, truth[chosen], step, wanted=wanted, seed=seed, bins=bins):
            chosen = np.append(chosen, window)
            if len(chosen) == n or (first and len(chosen) >= review.EVENLY):
                curve = review.precision_curve(scores, chosen, truth[chosen], wanted=wanted, bins=bins)
                threshold = curve.safe_threshold
                if first and threshold is not None:
                    return threshold
    return threshold


def main() -> None:
    """Simulate the reviews, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--reviews", type=int, default=40, metavar="N")
    parser.add_argument("--repetitions", type=int, default=20, metavar="N")
    parser.add_argument("--wanted", type=float, default=0.9, metavar="P")
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    data = Dataset.open(options.dataset)
    chosen = recipe("transfer").for_window(data.window_s)
    store = build_features(data, chosen)
    clips = np.flatnonzero(store.usable)
    scores = held_out_scores(chosen, data, store, clips, backgrounds=background_features(chosen))
    labels = data.targets[clips].argmax(axis=1)

    print("| class | highest precision | called safe | right |\n|---|---:|---:|---:|")
    possible = called = called_where_possible = right = 0
    for number, name in enumerate(data.classes):
        own, truth = scores[:, number], labels == number
        highest = np.nanmax([precision(own, truth, threshold) for threshold in review.THRESHOLDS])
        found = [
            reviewed(own, truth, options.reviews, options.wanted, seed, first=options.first)
            for seed in range(options.repetitions)
        ]
        safe = [threshold for threshold in found if threshold is not None]
        good = sum(precision(own, truth, threshold) >= options.wanted for threshold in safe)
        print(f"| {name} | {100 * highest:.1f} % | {len(safe)} of {len(found)} | {good} |", flush=True)
        called, right = called + len(safe), right + good
        if highest >= options.wanted:
            possible, called_where_possible = possible + len(found), called_where_possible + len(safe)
    print(f"\ncalled safe where one exists: {called_where_possible} of {possible}; right: {right} of {called}")


if __name__ == "__main__":
    main()
