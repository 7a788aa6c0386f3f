"""Simulate data sets and count how often 95 % intervals contain the truth, and how often there is a verdict.

    python benchmarks/interval_coverage.py [--trials 1000] [--map-trials 0] [--seed 0]

Clips are clustered in recordings of unequal size. The answers to the clips of a recording are correlated, and so are
those of two classifiers to the same clip. Two kinds of scenarios:

    normal     answers follow from latent normal variables with an intra-class correlation ρ; the constants of the
               intervals were chosen on such scenarios
    dirichlet  each recording has its own probabilities of the answers, from a Dirichlet (for one classifier, beta)
               distribution with an intra-class correlation ρ, and other sizes: a test of that choice

The methods that are compared:

    percentile  percentiles of a bootstrap over recordings, as soundmark used until version 0.1
    t           t interval with the cluster-robust variance (CR2) and recordings − 1 degrees of freedom
    soundmark   soundmark.metrics.intervals: score intervals with an effective number of clips
"""

from __future__ import annotations

import argparse
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from math import sqrt
from statistics import NormalDist

import numpy as np

from soundmark.metrics import multi_label
from soundmark.metrics.intervals import Interval, difference_interval, per_recording, score_interval
from soundmark.metrics.significance import PairedDifference, sign_flip_p
from soundmark.metrics.student_t import two_sided_quantile
from soundmark.metrics.verdicts import Baseline, judge

RECORDINGS = (10, 30, 100)
SIZES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "five clips each": lambda rng, m: np.full(m, 5),
    "geometric, 1 to 60 clips": lambda rng, m: np.minimum(rng.geometric(0.16, m), 60),
    "log-normal, 1 to 100 clips": lambda rng, m: np.clip(np.round(np.exp(rng.normal(1.5, 1.0, m))), 1, 100).astype(int),
    "Poisson, mean 8": lambda rng, m: 1 + rng.poisson(7, m),
    "negative binomial, mean 10": lambda rng, m: 1 + rng.negative_binomial(0.7, 0.07, m),
    "Pareto, 2 to 80 clips": lambda rng, m: np.clip(np.round(2 + 2 * rng.pareto(1.5, m)), 2, 80).astype(int),
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
    kind: str = "normal"

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw which answers are correct, bool [classifiers, clips], and the recording of each clip, int [clips]."""
        sources = np.repeat(np.arange(self.recordings), SIZES[self.sizes](rng, self.recordings))
        return (self._normal if self.kind == "normal" else self._dirichlet)(rng, sources), sources

    def _normal(self, rng: np.random.Generator, sources: np.ndarray) -> np.ndarray:
        each, shared = len(self.accuracies), sqrt(COMMON)

        def latent(n: int) -> np.ndarray:
            return shared * rng.normal(size=n) + sqrt(1 - COMMON) * rng.normal(size=(each, n))

        effect = latent(self.recordings)[:, sources]
        value = sqrt(self.correlation) * effect + sqrt(1 - self.correlation) * latent(len(sources))
        limits = np.array([[NormalDist().inv_cdf(accuracy)] for accuracy in self.accuracies])
        return value < limits

    def _dirichlet(self, rng: np.random.Generator, sources: np.ndarray) -> np.ndarray:
        first, second = self.accuracies[0], self.accuracies[-1]
        both = (first * second + min(first, second)) / 2 if len(self.accuracies) == 2 else first
        mean = np.array([both, first - both, second - both, 1 - first - second + both])
        drawn = rng.gamma(mean * (1 / self.correlation - 1) + 1e-12, size=(self.recordings, 4))
        limits = np.cumsum(drawn / drawn.sum(axis=1, keepdims=True), axis=1)[sources]
        answer = (rng.random((len(sources), 1)) > limits[:, :3]).sum(axis=1)  # both, only the first or second, neither
        return np.stack([answer <= 1, answer % 2 == 0])[: len(self.accuracies)]


@cache
def _resampled(recordings: int, resamples: int) -> np.ndarray:
    """Return how often each recording is drawn, float64 [resamples, recordings]."""
    return np.random.default_rng(0).multinomial(recordings, np.full(recordings, 1 / recordings), resamples) * 1.0


def percentile(values: np.ndarray, sources: np.ndarray, resamples: int = 1000) -> Interval:
    """Return the percentile interval of a bootstrap over recordings."""
    totals, counts = per_recording(values, sources)
    drawn = _resampled(len(counts), resamples)
    low, high = np.quantile((drawn @ totals) / (drawn @ counts), [0.025, 0.975])
    return Interval(float(low), float(high))


def t_interval(values: np.ndarray, sources: np.ndarray) -> Interval:
    """Return the t interval with cluster-robust variance."""
    totals, counts = per_recording(values, sources)
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
    interval = difference_interval(difference, sources)
    decides = not interval.low <= 0 <= interval.high  # otherwise, p cannot change the verdict, and is not computed
    return PairedDifference(
        difference=float(difference.mean()),
        interval=interval,
        p=sign_flip_p(difference, sources, flips=2000) if decides else 1.0,
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


Accuracies = list[tuple[float, ...]]
ONE: Accuracies = [(0.5,), (0.6,), (0.8,), (0.9,), (0.95,)]
TWO: Accuracies = [(0.6, 0.6), (0.75, 0.6), (0.8, 0.8), (0.85, 0.7), (0.95, 0.95), (0.95, 0.8)]
OTHER_ONE: Accuracies = [(0.55,), (0.7,), (0.92,)]
OTHER_TWO: Accuracies = [(0.7, 0.7), (0.9, 0.9), (0.8, 0.65)]
EQUAL_OR_15_POINTS: Accuracies = [(0.6, 0.6), (0.8, 0.8), (0.95, 0.95), (0.75, 0.6), (0.85, 0.7)]


def scenarios(accuracies: Accuracies, kind: str) -> Iterator[Scenario]:
    """Yield all combinations of 10, 30 and 100 recordings, three sizes, ``accuracies`` and three correlations."""
    names = list(SIZES)
    sizes, correlations = (names[:3], (0.1, 0.3, 0.5)) if kind == "normal" else (names[3:], (0.05, 0.15, 0.3))
    for m, size, pair, correlation in product(RECORDINGS, sizes, accuracies, correlations):
        yield Scenario(recordings=m, sizes=size, accuracies=pair, correlation=correlation, kind=kind)


def print_coverage(
    title: str, chosen: Sequence[Scenario], found: Iterator[dict[str, float]], names: tuple[str, ...]
) -> None:
    """Print a line for each scenario, and the range over all scenarios by number of recordings and method."""
    print(f"\n## {title}\n\n| recordings | clips | accuracy | ρ | {' | '.join(names)} |")
    print("|---:|---|---|---:|" + "---:|" * len(names))
    ranges: dict[tuple[int, str], list[float]] = {}
    for one, shares in zip(chosen, found, strict=True):
        cells = " | ".join(f"{100 * share:.1f}" for share in shares.values())
        accuracies = ", ".join(f"{accuracy:g}" for accuracy in one.accuracies)
        print(f"| {one.recordings} | {one.sizes} | {accuracies} | {one.correlation} | {cells} |", flush=True)
        for name, share in shares.items():
            ranges.setdefault((one.recordings, name), []).append(100 * share)
    print("\n| recordings | method | least | median | most | scenarios within 93 to 97 % |")
    print("|---:|---|---:|---:|---:|---:|")
    for (m, name), all_shares in ranges.items():
        inside = np.mean([93 <= round(share, 6) <= 97 for share in all_shares])
        figures = f"{min(all_shares):.1f} | {np.median(all_shares):.1f} | {max(all_shares):.1f} | {100 * inside:.0f} %"
        print(f"| {m} | {name} | {figures} |", flush=True)


def print_verdicts(chosen: Sequence[Scenario], found: Iterator[float]) -> None:
    """Print a line for each scenario, and the range over all scenarios by number of recordings and difference."""
    print("\n## Verdicts (%)\n\n| recordings | clips | accuracies | ρ | verdicts |\n|---:|---|---:|---:|---:|")
    ranges: dict[tuple[int, str], list[float]] = {}
    for one, rate in zip(chosen, found, strict=True):
        first, second = one.accuracies
        cells = f"{one.recordings} | {one.sizes} | {first}, {second} | {one.correlation} | {100 * rate:.1f}"
        print(f"| {cells} |", flush=True)
        ranges.setdefault((one.recordings, f"{100 * (first - second):.0f} points"), []).append(100 * rate)
    print("\n| recordings | true difference | least | mean | most |\n|---:|---:|---:|---:|---:|")
    for (m, difference), rates in ranges.items():
        print(f"| {m} | {difference} | {min(rates):.1f} | {np.mean(rates):.1f} | {max(rates):.1f} |", flush=True)


def print_map(pool: ProcessPoolExecutor, trials: int, seed: int) -> None:
    """Print the coverage of the intervals of mAP."""
    print("\n## Coverage of mAP (%)\n\n| recordings | skill | mAP | difference |\n|---:|---:|---:|---:|")
    kinds = list(product(RECORDINGS, (1.0, 2.5)))
    found = pool.map(partial(map_coverage, trials=trials, seed=seed), *zip(*kinds, strict=True))
    for (m, skill), (alone, difference) in zip(kinds, found, strict=True):
        print(f"| {m} | {skill} | {100 * alone:.1f} | {100 * difference:.1f} |", flush=True)


def print_cost() -> None:
    """Print the time of both intervals on 8 732 clips of 1 300 recordings, about the size of UrbanSound8K."""
    rng = np.random.default_rng(0)
    sources = rng.integers(1300, size=8732)
    values = (rng.random(8732) < 0.8).astype(float)
    print("\n## Cost for 8 732 clips of 1 300 recordings, least of ten\n")
    for name, method in {"one accuracy": score_interval, "difference": difference_interval}.items():
        seconds = min(timeit.repeat(partial(method, values, sources), number=1, repeat=10))
        print(f"- {name}: {1000 * seconds:.1f} ms")


def main() -> None:
    """Print all tables; the scenarios are divided among all cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="data sets for each scenario")
    parser.add_argument("--map-trials", type=int, default=0, help="the same for mAP, which takes a second for each")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    common = {"trials": given.trials, "seed": given.seed}
    start = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        for what, kind, accuracies in (
            ("one accuracy", "normal", ONE),
            ("a paired difference", "normal", TWO),
            ("one accuracy", "dirichlet", OTHER_ONE),
            ("a paired difference", "dirichlet", OTHER_TWO),
        ):
            names = METHODS if kind == "normal" else METHODS[-1:]
            chosen = list(scenarios(accuracies, kind))
            found = pool.map(partial(coverage, **common, names=names), chosen)
            print_coverage(f"Coverage of {what}, {kind} (%)", chosen, found, names)
        chosen = [one for one in scenarios(EQUAL_OR_15_POINTS, "normal") if one.sizes.startswith("geometric")]
        print_verdicts(chosen, pool.map(partial(verdict_rate, **common), chosen))
        if given.map_trials:
            print_map(pool, given.map_trials, given.seed)
    print_cost()
    print(f"\nAll tables took {(time.perf_counter() - start) / 60:.0f} minutes.")


if __name__ == "__main__":
    main()
