"""Simulate data sets and count how often 95 % intervals contain the truth, and how often there is a verdict.

    python benchmarks/interval_coverage.py [--trials 1000] [--seed 0]

Clips are clustered in recordings of unequal size. The answers to clips of one recording are correlated (ρ, intra-class
correlation of a latent normal variable), and so are the answers of two classifiers to the same clip. Methods:

    percentile  percentiles of a bootstrap over recordings, as soundmark used until version 0.1
    t           t interval with the cluster-robust variance (CR2) and recordings − 1 degrees of freedom
    soundmark   soundmark.metrics.intervals: score intervals with an effective number of clips
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import sqrt
from statistics import NormalDist

import numpy as np

from soundmark.metrics import multi_label
from soundmark.metrics.intervals import Interval, difference_interval, score_interval
from soundmark.metrics.significance import PairedDifference, sign_flip_p
from soundmark.metrics.student_t import two_sided_quantile
from soundmark.metrics.verdicts import Baseline, judge

SIZES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "five clips each": lambda rng, m: np.full(m, 5),
    "geometric, 1 to 60 clips": lambda rng, m: np.minimum(rng.geometric(0.16, m), 60),
    "log-normal, 1 to 100 clips": lambda rng, m: np.clip(np.round(np.exp(rng.normal(1.5, 1.0, m))), 1, 100).astype(int),
}
COMMON = 0.5  # correlation of the two classifiers' latent variables
CHANCE = Baseline(name="chance", score=0.1)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A kind of data set; ``accuracies`` are those of one or two classifiers on an infinite number of recordings."""

    recordings: int
    sizes: str
    accuracies: tuple[float, ...]
    correlation: float

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw which answers are correct, bool [classifiers, clips], and the recording of each clip, int [clips]."""
        sources = np.repeat(np.arange(self.recordings), SIZES[self.sizes](rng, self.recordings))
        each, shared = len(self.accuracies), sqrt(COMMON)

        def latent(n: int) -> np.ndarray:
            return shared * rng.normal(size=n) + sqrt(1 - COMMON) * rng.normal(size=(each, n))

        effect = latent(self.recordings)[:, sources]
        value = sqrt(self.correlation) * effect + sqrt(1 - self.correlation) * latent(len(sources))
        limits = np.array([[NormalDist().inv_cdf(accuracy)] for accuracy in self.accuracies])
        return value < limits, sources


def percentile(values: np.ndarray, sources: np.ndarray, resamples: int = 1000) -> Interval:
    """Return the percentile interval of a bootstrap over recordings."""
    totals, counts = (np.bincount(sources, weights=one) for one in (values, np.ones(len(values))))
    drawn = np.random.default_rng(0).integers(len(counts), size=(resamples, len(counts)))
    low, high = np.quantile(totals[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return Interval(float(low), float(high))


def t_interval(values: np.ndarray, sources: np.ndarray) -> Interval:
    """Return the t interval with cluster-robust variance."""
    totals, counts = (np.bincount(sources, weights=one) for one in (values, np.ones(len(values))))
    n = counts.sum()
    error = np.sqrt(np.sum((totals - values.mean() * counts) ** 2 / (1 - counts / n))) / n
    half = two_sided_quantile(0.95, max(2, len(counts) - 1)) * error
    return Interval(float(values.mean() - half), float(values.mean() + half))


METHODS = ("percentile", "t", "soundmark")


def coverage(scenario: Scenario, trials: int, seed: int, names: tuple[str, ...] = METHODS) -> dict[str, float]:
    """Return the share of data sets whose interval contains the truth, by the ``names`` of methods."""
    rng, one = np.random.default_rng(seed), len(scenario.accuracies) == 1
    methods = {"percentile": percentile, "t": t_interval, "soundmark": score_interval if one else difference_interval}
    methods = {name: methods[name] for name in names}
    truth = scenario.accuracies[0] if one else scenario.accuracies[0] - scenario.accuracies[1]
    hits = dict.fromkeys(methods, 0)
    for _ in range(trials):
        correct, sources = scenario.draw(rng)
        values = correct[0].astype(float) if one else correct[0].astype(float) - correct[1]
        for name, method in methods.items():
            found = method(values, sources)
            hits[name] += found.low - 1e-12 <= truth <= found.high + 1e-12
    return {name: count / trials for name, count in hits.items()}


def verdict_rate(scenario: Scenario, trials: int, seed: int) -> float:
    """Return the share of data sets for which one of the two classifiers is said to be better."""
    rng = np.random.default_rng(seed)
    decided = 0
    for _ in range(trials):
        correct, sources = scenario.draw(rng)
        first, second = (score_interval(one, sources) for one in correct)
        decided += judge(_paired(correct, sources), first, second, baselines=(CHANCE,)).is_decided
    return decided / trials


def _paired(correct: np.ndarray, sources: np.ndarray) -> PairedDifference:
    difference = correct[0].astype(float) - correct[1]
    return PairedDifference(
        difference=float(difference.mean()),
        interval=difference_interval(difference, sources),
        p=sign_flip_p(difference, sources, flips=2000),
        mcnemar_p=float("nan"),
        clips=len(sources),
        recordings=len(np.unique(sources)),
        discordant=len(np.unique(sources[difference != 0])),
    )


def map_coverage(recordings: int, skill: float, trials: int, seed: int) -> tuple[float, float]:
    """Return the coverage of the intervals of mAP and of a difference of mAP, with five classes."""

    def draw(rng: np.random.Generator, m: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        sources = np.repeat(np.arange(m), SIZES["geometric, 1 to 60 clips"](rng, m))
        n = len(sources)
        truth = (rng.random((m, 5)) < 0.3)[sources] ^ (rng.random((n, 5)) < 0.15)
        answers = [
            truth * skill + sqrt(0.3) * rng.normal(size=(m, 5))[sources] + sqrt(0.7) * rng.normal(size=(n, 5))
            for _ in range(2)
        ]
        return truth, [1 / (1 + np.exp(-one)) for one in answers], sources

    truth, (scores, _), _ = draw(np.random.default_rng(seed + 1), 4000)
    expected = multi_label.mean_average_precision(truth, scores)
    rng, hits, pair_hits = np.random.default_rng(seed), 0, 0
    for _ in range(trials):
        truth, (a, b), sources = draw(rng, recordings)
        found = multi_label.summarize(truth, a, classes=list("abcde"), sources=sources).headline.interval
        hits += found.low <= expected <= found.high
        pair = multi_label.paired_difference(truth, a, b, sources=sources).interval
        pair_hits += pair.low <= 0 <= pair.high
    return hits / trials, pair_hits / trials


def scenarios(accuracies: list[tuple[float, ...]]) -> Iterator[Scenario]:
    """Yield all combinations of 10, 30 and 100 recordings, sizes, accuracies and correlations."""
    for m, sizes, pair, correlation in product((10, 30, 100), SIZES, accuracies, (0.1, 0.3, 0.5)):
        yield Scenario(recordings=m, sizes=sizes, accuracies=pair, correlation=correlation)


ONE: list[tuple[float, ...]] = [(0.5,), (0.6,), (0.8,), (0.9,), (0.95,)]
TWO: list[tuple[float, ...]] = [(0.6, 0.6), (0.75, 0.6), (0.8, 0.8), (0.85, 0.7), (0.95, 0.95), (0.95, 0.8)]


def print_coverage(title: str, accuracies: list[tuple[float, ...]], trials: int, seed: int) -> None:
    """Print a line for each scenario, and the range over all scenarios by number of recordings and method."""
    print(f"\n## {title}\n\n| recordings | clips | accuracy | ρ | percentile | t | soundmark |")
    print("|---:|---|---|---:|---:|---:|---:|")
    ranges: dict[tuple[int, str], list[float]] = {}
    for one in scenarios(accuracies):
        found = coverage(one, trials, seed)
        cells = " | ".join(f"{100 * share:.1f}" for share in found.values())
        names = ", ".join(f"{accuracy:g}" for accuracy in one.accuracies)
        print(f"| {one.recordings} | {one.sizes} | {names} | {one.correlation} | {cells} |", flush=True)
        for name, share in found.items():
            ranges.setdefault((one.recordings, name), []).append(100 * share)
    print("\n| recordings | method | least | median | most | scenarios within 93 to 97 % |")
    print("|---:|---|---:|---:|---:|---:|")
    for (m, name), all_shares in ranges.items():
        inside = np.mean([93 <= share <= 97 for share in all_shares])
        figures = f"{min(all_shares):.1f} | {np.median(all_shares):.1f} | {max(all_shares):.1f} | {100 * inside:.0f} %"
        print(f"| {m} | {name} | {figures} |")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print_coverage("Coverage of one accuracy (%)", ONE, given.trials, given.seed)
    print_coverage("Coverage of a paired difference (%)", TWO, given.trials, given.seed)
    print("\n## Verdicts (%)\n\n| recordings | accuracies | ρ | verdicts |\n|---:|---|---:|---:|")
    for m, pair, rho in product((10, 30, 100), ((0.6, 0.6), (0.8, 0.8), (0.75, 0.6), (0.85, 0.7)), (0.1, 0.3, 0.5)):
        one = Scenario(recordings=m, sizes="geometric, 1 to 60 clips", accuracies=pair, correlation=rho)
        rate = verdict_rate(one, given.trials, given.seed)
        print(f"| {m} | {pair[0]}, {pair[1]} | {rho} | {100 * rate:.1f} |", flush=True)
    print("\n## Coverage of mAP (%)\n\n| recordings | skill | mAP | difference |\n|---:|---:|---:|---:|")
    for m, skill in product((10, 30, 100), (1.0, 2.5)):
        alone, difference = map_coverage(m, skill, max(1, given.trials // 2), given.seed)
        print(f"| {m} | {skill} | {100 * alone:.1f} | {100 * difference:.1f} |", flush=True)
    print_cost()


def print_cost() -> None:
    """Print the time of both intervals on 8 732 clips of 1 300 recordings, about the size of UrbanSound8K."""
    rng = np.random.default_rng(0)
    sources = rng.integers(1300, size=8732)
    values = (rng.random(8732) < 0.8).astype(float)
    print("\n## Cost for 8 732 clips of 1 300 recordings\n")
    methods: dict[str, Callable[[np.ndarray, np.ndarray], Interval]] = {
        "percentile, 10 000 resamples": lambda *given: percentile(*given, resamples=10_000),
        "soundmark": score_interval,
        "soundmark, difference": difference_interval,
    }
    for name, method in methods.items():
        start = time.perf_counter()
        method(values, sources)
        print(f"- {name}: {1000 * (time.perf_counter() - start):.1f} ms")


if __name__ == "__main__":
    main()
