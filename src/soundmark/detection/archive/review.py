"""Choose a detection threshold from reviewed windows: which windows to review, and how precise the detections would be.

A person says of some windows of an archive whether they contain a class. With x = ln(s / (1 − s)) of the score s, the
share of windows that contain it is modelled as

    γ / (1 + exp(−(a + b·x)))

where a = 0, b = 1 and γ = 1 mean that the score is calibrated, and γ < 1 that some high scores are always wrong. The
posterior of the three parameters is computed on a grid; the precision at a threshold is the mean share over the windows
at or above it, with the binomial variance of so many windows. So reviews of all scores contribute to each threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.9  # of intervals, and the probability at which a precision counts as reached

LIMIT = 1e-3  # scores are limited to LIMIT … 1 − LIMIT

THRESHOLDS = np.linspace(0.05, 0.95, 19)

FEWEST = 5  # windows at or above a threshold

EVENLY = 10  # windows that are reviewed evenly over the score before others

BINS = 200  # of the log-odds of scores

STEP = 5  # windows that are chosen at once, after the first EVENLY

MOST_NEEDED, DRAWS = 100, 60  # reviews that ``outlook`` simulates, and how often

# The grid: a is the log-odds at a score of 0.5, b the slope, γ the share at a score of 1.
_A, _B, _GAMMA = np.linspace(-6, 6, 49), np.exp(np.linspace(-1.6, 1.6, 25)), np.array([1.0, 0.97, 0.94, 0.9, 0.8, 0.6])

_PRIOR_A, _PRIOR_LOG_B = 2.0, 0.7  # SDs; the means are those of a calibrated score

_PRIOR_GAMMA = np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.05])

_Z = np.linspace(-8, 8, 3201)  # between which the normal distribution is interpolated, to 1e-6

_NORMAL = np.array([NormalDist().cdf(z) for z in _Z])


@dataclass(frozen=True, kw_only=True)
class PrecisionCurve:
    """The precision by threshold, estimated from reviews; all arrays are ``[thresholds]``."""

    thresholds: NDArray[np.float64]
    windows: NDArray[np.int64]  # of the archive, at or above the threshold
    precision: NDArray[np.float64]  # NaN with fewer than FEWEST windows
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    reached: NDArray[np.float64]  # probability that the precision is at least ``wanted``
    wanted: float

    @property
    def safe_threshold(self) -> float | None:
        """The lowest threshold at which the wanted precision is reached with a probability of LEVEL; None: none."""
        safe = np.flatnonzero(self.reached >= LEVEL)
        return float(self.thresholds[safe[0]]) if len(safe) else None


@dataclass(frozen=True, eq=False)
class ScoreBins:
    """How many windows of an archive have which score: windows of similar scores are counted together."""

    middles: NDArray[np.float64]  # of the bins, as log-odds
    counts: NDArray[np.int64]  # of the windows at or above each threshold, ``[thresholds, bins]``

    @property
    def windows(self) -> NDArray[np.int64]:
        """The number of windows at or above each threshold."""
        found: NDArray[np.int64] = self.counts.sum(axis=1)
        return found


def binned(scores: NDArray[np.floating]) -> ScoreBins:
    """Count the windows by their score; a review of a large archive does so once.

    >>> binned(np.array([0.1, 0.5, 0.9])).windows[[0, 9, 18]].tolist()
    [3, 2, 0]
    """
    x, thresholds = _log_odds(scores), _log_odds(THRESHOLDS)
    edges = np.linspace(_log_odds(np.array([0.0]))[0], _log_odds(np.array([1.0]))[0], BINS + 1)
    column = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, BINS - 1)
    row = np.searchsorted(thresholds, x, side="right")  # the thresholds that the score reaches
    table = np.bincount(row * BINS + column, minlength=(len(thresholds) + 1) * BINS).reshape(-1, BINS)
    counts: NDArray[np.int64] = table[::-1].cumsum(axis=0)[::-1][1:]
    return ScoreBins((edges[:-1] + edges[1:]) / 2, counts)


def sample(scores: NDArray[np.floating], n: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the indices of up to ``n`` windows to review, evenly over the score, in random order.

    >>> sorted(sample(np.array([0.1, 0.11, 0.12, 0.5, 0.9]), 3).tolist())[1:]
    [3, 4]
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(scores))
    rank = np.empty(len(scores), np.int64)
    places = np.floor(np.clip(np.asarray(scores, np.float64)[order], 0, 1 - 1e-9) * min(n, len(scores))).astype(
        np.int64
    )
    for place in np.unique(places):  # the first window of each place, then the second of each, …
        members = np.flatnonzero(places == place)
        rank[members] = np.arange(len(members))
    first = np.lexsort((random.random(len(scores)), rank))[:n]
    chosen: NDArray[np.int64] = order[first]
    return chosen


def next_windows(
    scores: NDArray[np.floating],
    reviewed: NDArray[np.integer],
    answers: NDArray[np.bool_],
    n: int,
    *,
    wanted: float = 0.9,
    seed: int = 0,
    skipped: NDArray[np.integer] | None = None,
    bins: ScoreBins | None = None,
) -> NDArray[np.int64]:
    """Return the indices of up to ``n`` windows to review next, given what was ``reviewed`` and the ``answers``.

    The first EVENLY windows are those of ``sample``. The others are random windows at or above the threshold whose
    estimated precision is highest: only many reviews there can show that a precision is reached. Windows that were
    ``skipped`` are not returned. ``bins`` are those of the scores, if they are known.

    >>> scores = np.linspace(0, 1, 100)
    >>> first = next_windows(scores, np.zeros(0, int), np.zeros(0, bool), 5)
    >>> first.tolist() == sample(scores, EVENLY)[:5].tolist()
    True
    """
    done = np.asarray(reviewed if skipped is None else np.concatenate([reviewed, skipped]), np.int64)
    if len(reviewed) < EVENLY:
        even = sample(scores, EVENLY, seed=seed)
        if len(left := even[~np.isin(even, done)]):
            return left[:n]
    curve = precision_curve(scores, reviewed, answers, wanted=wanted, bins=bins)
    is_known = np.isfinite(curve.precision)
    best = int(np.argmax(np.where(is_known, curve.precision, -1.0))) if is_known.any() else 0
    free = np.ones(len(scores), bool)
    free[done] = False
    random = np.random.default_rng([seed, len(reviewed)])
    for threshold in curve.thresholds[best::-1].tolist():  # lower ones if all windows above are reviewed
        candidates = np.flatnonzero(free & (np.asarray(scores) >= threshold))
        if len(candidates):
            break
    else:
        candidates = np.flatnonzero(free)
    chosen: NDArray[np.int64] = random.permutation(candidates)[:n]
    return chosen


def precision_curve(
    scores: NDArray[np.floating],
    reviewed: NDArray[np.integer],
    answers: NDArray[np.bool_],
    *,
    wanted: float = 0.9,
    bins: ScoreBins | None = None,
) -> PrecisionCurve:
    """Estimate the precision of a class from the windows ``reviewed``, whose ``answers`` say whether they contain it.

    ``scores`` ``[n]`` are those of all windows of the archive, ``reviewed`` indices of some; ``bins`` are those of the
    scores, if they are known.

    >>> scores = np.linspace(0.01, 0.99, 500)
    >>> reviewed = sample(scores, 60)
    >>> curve = precision_curve(scores, reviewed, scores[reviewed] > 0.5)
    >>> 0.4 < curve.safe_threshold < 0.7, precision_curve(scores, reviewed[:0], np.zeros(0, bool)).safe_threshold
    (True, None)
    """
    bins = bins or binned(scores)
    weights = np.exp(_log_posterior(_log_odds(np.asarray(scores)[reviewed]), np.asarray(answers, bool))).ravel()
    used = weights > 1e-6
    weights = weights[used] / weights[used].sum()
    mean, sd = _precision(_share(bins.middles, used), bins)
    windows = bins.windows
    nothing = (np.nan, np.nan, np.nan, 0.0)
    rows = [
        _summary(mean[:, t], sd[:, t], weights, wanted) if windows[t] >= FEWEST else nothing
        for t in range(len(THRESHOLDS))
    ]
    precision, low, high, reached = (np.array(column) for column in zip(*rows, strict=True))
    return PrecisionCurve(
        thresholds=THRESHOLDS.copy(),
        windows=windows,
        precision=precision,
        low=low,
        high=high,
        reached=reached,
        wanted=wanted,
    )


@dataclass(frozen=True)
class Outlook:
    """What more reviews would give: the ``chance`` that a threshold is safe then, and the median number of ``reviews``.

    ``reviews`` is 0 if a threshold is safe already, and None if the chance is 0.
    """

    reviews: int | None
    chance: float


def outlook(
    scores: NDArray[np.floating],
    reviewed: NDArray[np.integer],
    answers: NDArray[np.bool_],
    *,
    wanted: float = 0.9,
    bins: ScoreBins | None = None,
    seed: int = 0,
) -> Outlook:
    """Estimate how many more reviews a safe threshold needs, and the chance that ``MOST_NEEDED`` are enough.

    Reviews are simulated ``DRAWS`` times: each draws parameters from their posterior, and then answers about windows at
    or above the threshold with the highest precision, until a threshold is safe.

    >>> scores = np.linspace(0.01, 0.99, 500)
    >>> reviewed = sample(scores, 10)
    >>> outlook(scores, reviewed, scores[reviewed] > 0.5).reviews > 0
    True
    >>> outlook(scores, sample(scores, 40), np.zeros(40, bool))
    Outlook(reviews=None, chance=0.0)
    """
    bins = bins or binned(scores)
    logs = _log_posterior(_log_odds(np.asarray(scores)[reviewed]), np.asarray(answers, bool)).ravel()
    used, possible = logs > np.log(1e-4), np.flatnonzero(bins.windows >= FEWEST)
    if not len(possible):
        return Outlook(None, 0.0)
    logs, share = logs[used], np.clip(_share(bins.middles, used), 1e-9, 1 - 1e-9)
    weights = np.exp(logs) / np.exp(logs).sum()
    mean, sd = (values[:, possible] for values in _precision(share, bins))
    reaches = _chance_of(mean, sd, wanted)
    if (weights @ reaches).max() >= LEVEL:
        return Outlook(0, 1.0)
    best = possible[int(np.argmax(weights @ mean))]
    free = bins.windows - (np.asarray(scores)[reviewed] >= THRESHOLDS[:, None]).sum(axis=1)
    random = np.random.default_rng([seed, len(reviewed)])
    truth = random.choice(len(weights), DRAWS, p=weights)
    yes, no = np.log(share).T, np.log(1 - share).T  # [bins, grid]
    simulated = np.tile(logs, (DRAWS, 1))
    needed = np.full(DRAWS, np.inf)
    for n in range(1, min(MOST_NEEDED, int(free[: best + 1].max())) + 1):
        row = int(np.flatnonzero(free[: best + 1] >= n)[-1])  # a lower threshold if all windows above are reviewed
        drawn = random.choice(BINS, DRAWS, p=bins.counts[row] / bins.counts[row].sum())
        contains = random.random(DRAWS) < share[truth, drawn]
        simulated += np.where(contains[:, None], yes[drawn], no[drawn])
        if n % STEP == 0:
            chances = np.exp(simulated - simulated.max(axis=1, keepdims=True))
            is_safe = (chances @ reaches / chances.sum(axis=1, keepdims=True)).max(axis=1) >= LEVEL
            needed[is_safe] = np.minimum(needed[is_safe], n)
    enough = needed[np.isfinite(needed)]
    return Outlook(round(float(np.median(enough))) if len(enough) else None, len(enough) / DRAWS)


def _share(middles: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of windows that contain the class, for each grid point ``used`` and log-odds, ``[grid, n]``."""
    a, b, gamma = (grid.ravel()[used, None] for grid in np.meshgrid(_A, _B, _GAMMA, indexing="ij"))
    found: NDArray[np.float64] = gamma / (1 + np.exp(-(a + b * middles)))
    return found


def _precision(share: NDArray[np.float64], bins: ScoreBins) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and SD of the precision for each grid point and threshold, ``[grid, thresholds]``."""
    counts, n = bins.counts.T.astype(np.float64), np.maximum(bins.windows, 1)
    return share @ counts / n, np.sqrt((share * (1 - share)) @ counts) / n


def _chance_of(mean: NDArray[np.float64], sd: NDArray[np.float64], wanted: float) -> NDArray[np.float64]:
    """Return the probability that a normally distributed precision is at least ``wanted``, of the same shape."""
    return np.interp((mean - wanted) / np.maximum(sd, 1e-9), _Z, _NORMAL)


def _log_odds(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    limited = np.clip(np.asarray(scores, np.float64), LIMIT, 1 - LIMIT)
    found: NDArray[np.float64] = np.log(limited / (1 - limited))
    return found


def _log_posterior(x: NDArray[np.float64], answers: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the logarithm of the probability of each grid point relative to the most probable, ``[a, b, γ]``."""
    a, log_b = _A[:, None, None], np.log(_B)[None, :, None]
    log_p = -0.5 * (a / _PRIOR_A) ** 2 - 0.5 * (log_b / _PRIOR_LOG_B) ** 2 + np.log(_PRIOR_GAMMA)
    for value, answer in zip(x.tolist(), answers.tolist(), strict=True):
        share = np.clip(_GAMMA / (1 + np.exp(-(a + np.exp(log_b) * value))), 1e-9, 1 - 1e-9)
        log_p = log_p + np.log(share if answer else 1 - share)
    found: NDArray[np.float64] = log_p - log_p.max()
    return found


def _summary(
    mean: NDArray[np.float64], sd: NDArray[np.float64], weights: NDArray[np.float64], wanted: float
) -> tuple[float, float, float, float]:
    """Return the precision, both ends of its interval, and the probability that it is at least ``wanted``."""
    order = np.argsort(mean)
    total = np.cumsum(weights[order])
    half, z = (1 - LEVEL) / 2, NormalDist().inv_cdf((1 + LEVEL) / 2)
    low, high = (mean[order][min(int(np.searchsorted(total, share)), len(order) - 1)] for share in (half, 1 - half))
    spread = z * float(np.average(sd, weights=weights))
    reached = float(weights @ _chance_of(mean, sd, wanted))
    return float(mean @ weights), max(0.0, float(low) - spread), min(1.0, float(high) + spread), reached
