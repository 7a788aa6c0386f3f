"""Whether the score extrapolated from half of the recordings is the one that all of them give.

    python benchmarks/learning_curve.py DATASET [--halves 20] [--recipe transfer] [--seed 100]

Each half has half of the recordings of each class and fold. Its learning curve is measured inside it, with its test
recordings, and extrapolated to twice as many recordings. The truth is the score with all recordings, measured on all of
them; it was not used. Printed: how often the 80 % interval contains it, the width of the interval, the error, and the
same inside the halves: sizes up to half of the recordings, extrapolated to all recordings of the half.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from soundmark.datasets import Dataset
from soundmark.evaluation import curve_run
from soundmark.evaluation.curve_run import CurvePlan
from soundmark.evaluation.extrapolation import fit_power_law
from soundmark.evaluation.learning_curve import LearningCurve
from soundmark.training.methods import build_features
from soundmark.training.named_recipes import recipe
from soundmark.training.unit import usable_split


def half_of(data: Dataset, random: np.random.Generator) -> np.ndarray:
    """Return the clips of half of the recordings of each class and fold, bool [clips]."""
    recordings, first, of_clip = np.unique(data.sources, return_index=True, return_inverse=True)
    kinds = np.stack([data.fold_of[first], data.targets[first].argmax(axis=1)], axis=1)
    chosen = np.zeros(len(recordings), bool)
    for kind in np.unique(kinds, axis=0):
        members = random.permutation(np.flatnonzero((kinds == kind).all(axis=1)))
        chosen[members[: (len(members) + random.integers(2)) // 2]] = True  # of an odd number, one more or less
    return chosen[of_clip]


def restricted(plan: CurvePlan, kept: np.ndarray) -> CurvePlan:
    """Return a plan for the clips ``kept`` only."""
    splits = [usable_split(split, kept) for split in plan.splits]
    return curve_run.plan_for_splits(plan.dataset, plan.recipe, plan.protocol, splits, draws=plan.draws)


def error_inside(curve: LearningCurve) -> float:
    """Return the error of the extrapolation from sizes up to half to all recordings of a curve."""
    sizes = np.array([point.per_class for point in curve.points])
    scores = np.array([[point.score for point in curve.points]])
    small = sizes <= 0.6 * sizes[-1]
    return float(fit_power_law(sizes[small], scores[:, small]).at(sizes[-1])[0] - scores[0, -1])


def main() -> None:
    """Measure the curves, and print a line for each half and the summary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--halves", type=int, default=20)
    parser.add_argument("--recipe", default="transfer")
    parser.add_argument("--seed", type=int, default=100)
    options = parser.parse_args()
    data, chosen = Dataset.open(options.dataset), recipe(options.recipe)
    plan = curve_run.make_curve_plan(data, chosen)
    store = build_features(data, plan.recipe)
    whole = curve_run.measure_curve(replace(plan, sizes=plan.sizes[:1], draws=1), store, Path("unused"))
    truth = whole.points[-1].score
    print(f"{data.name}, {chosen.name}: {100 * truth:.1f} % with all recordings")
    hits, widths, errors, inside = [], [], [], []
    for number in range(options.halves):
        start = time.perf_counter()
        kept = half_of(data, np.random.default_rng([options.seed, number]))
        curve = curve_run.measure_curve(restricted(plan, kept), store, Path("unused"))
        found = curve.extrapolation
        assert found is not None
        low, high = found.interval.low, found.interval.high
        hits.append(low <= truth <= high)
        widths.append(100 * (high - low))
        errors.append(100 * (found.score - truth))
        inside.append(100 * error_inside(curve))
        print(
            f"half {number}: {100 * found.present:.1f} % with {curve.points[-1].recordings:.0f} recordings; "
            f"extrapolated {100 * found.score:.1f} [{100 * low:.1f}, {100 * high:.1f}], "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    print(f"covered: {np.mean(hits):.0%} of {len(hits)}; width: median {np.median(widths):.1f} points")
    for name, found_errors in (("extrapolated to all recordings", errors), ("inside the halves", inside)):
        rms = np.sqrt(np.mean(np.square(found_errors)))
        print(f"error, {name}: root mean square {rms:.1f}, mean {np.mean(found_errors):+.1f} points")


if __name__ == "__main__":
    main()
