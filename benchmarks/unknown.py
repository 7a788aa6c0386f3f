"""How well "none of these" is told: classes left out of training one by one, and what each score makes of them.

    python benchmarks/unknown.py DATASET [--classes 5] [--seed 0] [--output FILE.md]

On the official folds of DATASET: each is tested once, with the sounds of the class that is left out of training beside
the known ones. The ``transfer`` recipe's network hears every clip once; its head is fitted anew for each of them.
The threshold of each score is set as soundmark sets it, on clips of the training folds that a head left out with their
recording, so that 95 % of them are kept; no test clip plays a role in it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from soundmark.datasets import Dataset, features, splits
from soundmark.models import weights
from soundmark.runtime import provenance
from soundmark.training import calibration, linear_head, loop, networks
from soundmark.training.calibration import Familiarity
from soundmark.training.named_recipes import recipe_named

NEIGHBOURS = 5
SCORES = {
    "energy": "energy: ln Σ exp(logit)",
    "softmax": "greatest probability",
    "logit": "greatest logit",
    "entropy": "entropy",
    "mahalanobis": "Mahalanobis distance to the nearest class",
    "familiarity": "relative Mahalanobis distance, to the nearest class and to all (soundmark's)",
    "neighbours": f"cosine to the {NEIGHBOURS} nearest training clips",
}


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the pretrained network makes of every clip, once."""

    embeddings: np.ndarray  # float32 [n, d], what is familiar is told by
    inputs: np.ndarray  # float32 [n, e], what a head hears
    targets: np.ndarray  # float32 [n, classes]
    sources: np.ndarray  # str [n]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one score said of a class that was left out, the mean over the folds it has clips in."""

    auroc: float
    refused: float  # share of the unknown test clips
    kept: float  # share of the known test clips


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """How often a known sound has the greater score of a known and an unknown one; a tie counts half.

    The rank formula of Mann and Whitney: (R − n(n + 1)/2) / nm with R the sum of the known ones' mean ranks.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    scores = np.concatenate([known, unknown])
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    n, m = len(known), len(unknown)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def by_logits(logits: np.ndarray) -> dict[str, np.ndarray]:
    """The scores that ask the logits ``[n, classes]``, divided by the head's temperature; the greater, the more known.

    >>> {name: score.round(2).tolist() for name, score in by_logits(np.zeros((1, 2))).items()}
    {'energy': [0.69], 'softmax': [0.5], 'logit': [0.0], 'entropy': [-0.69]}
    """
    z = np.asarray(logits, np.float64)
    energy = np.logaddexp.reduce(z, axis=1)
    p = np.exp(z - energy[:, None])
    entropy = (p * (z - energy[:, None])).sum(1)  # Σ p·ln p
    return {"energy": energy, "softmax": p.max(1), "logit": z.max(1), "entropy": entropy}


def by_embedding(seen: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """The scores that ask where ``asked`` ``[n, d]`` lies among the training clips ``seen`` ``[m, d]``.

    >>> seen = np.random.default_rng(0).normal(size=(50, 4)) + 9 * np.eye(4)[np.arange(50) % 2]
    >>> found = by_embedding(seen, np.eye(2)[np.arange(50) % 2], np.array([seen.mean(0), seen[0]]))
    >>> [name for name, score in found.items() if score[0] < score[1]]
    ['mahalanobis', 'familiarity', 'neighbours']
    """
    familiar = Familiarity.of(seen, targets)
    relative = familiar.raw(asked)
    z = (np.asarray(asked, np.float64) - familiar.mean) * familiar.scale
    # f = xᵀC₀⁻¹x − (the nearest class' distance): without its first part, the plain distance.
    nearest = relative - (z @ familiar.overall * z).sum(1)
    cosines = _directions(asked) @ _directions(seen).T
    near = np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(1)
    return {"mahalanobis": nearest, "familiarity": relative, "neighbours": near}


def _directions(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return result


def hear(dataset: Dataset, progress: Callable[..., None]) -> Heard:
    """Every clip through the pretrained network of ``transfer``."""
    recipe = recipe_named("transfer").for_window(dataset.window_s)
    store = features.build(dataset, recipe.representation, progress=progress)
    if store.skipped:
        raise SystemExit(f"{len(store.skipped)} clips cannot be read, {store.skipped[0].path} first.")
    targets = dataset.targets.astype(np.float32)
    everything, nothing = np.arange(len(dataset.clips)), np.arange(0)
    data = loop.TrainingData(
        features=store.array, targets=targets, train=everything, validation=nothing, sources=dataset.sources
    )
    network = networks.build(recipe.network, shape=recipe.representation.shape, n_classes=data.n_classes)
    network.load_pretrained(weights.find(recipe.network))
    embeddings = linear_head.embed(
        network, data, everything, lambda done, total: progress("heard", done, total, "parts")
    )
    with torch.no_grad():
        inputs = network.head_features(torch.from_numpy(embeddings)).numpy()
    return Heard(embeddings=embeddings, inputs=inputs, targets=targets, sources=dataset.sources)


def scored(heard: Heard, train: np.ndarray, test: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Each score of the training clips, every one held out with its recording, and of the test clips."""
    targets = heard.targets[train]
    targets = targets[:, targets.any(axis=0)]
    head = linear_head.fit_head(heard.inputs[train], targets, heard.sources[train])
    held_out = by_logits(head.held_out / head.temperature)
    x = heard.embeddings[train]
    for name in ("mahalanobis", "familiarity", "neighbours"):
        held_out[name] = np.zeros(len(train))
    fold_of = splits.deal_recordings(heard.sources[train], targets, k=calibration.TURNS, seed=0)
    for fold in np.unique(fold_of):
        kept = fold_of == fold
        for name, score in by_embedding(x[~kept], targets[~kept], x[kept]).items():
            held_out[name][kept] = score
    logits = (heard.inputs[test] @ head.weights + head.bias) / head.temperature
    return held_out, by_logits(logits) | by_embedding(x, targets, heard.embeddings[test])


def left_out(heard: Heard, dataset: Dataset, which: int, kept: float) -> dict[str, Told]:
    """What each score says where the class ``which`` is tested and not trained on."""
    found: dict[str, list[Told]] = {name: [] for name in SCORES}
    new = dataset.labels == which
    for split in splits.official_folds(dataset):
        unknown = new[split.test]
        if not unknown.any():
            continue
        held_out, tested = scored(heard, split.train[~new[split.train]], split.test)
        for name in SCORES:
            threshold = np.quantile(held_out[name], 1 - kept)
            refused = tested[name] < threshold
            found[name].append(
                Told(
                    auroc=auroc(tested[name][~unknown], tested[name][unknown]),
                    refused=float(refused[unknown].mean()),
                    kept=float(1 - refused[~unknown].mean()),
                )
            )
    return {
        name: Told(**{key: float(np.mean([getattr(one, key) for one in told])) for key in ("auroc", "refused", "kept")})
        for name, told in found.items()
    }


def as_markdown(found: dict[str, dict[str, Told]], dataset: Dataset, share: float, seconds: float) -> str:
    """The table, mean and range over the classes left out, the best AUROC first, and what it was measured on."""
    by_score = {name: [told[name] for told in found.values()] for name in SCORES}
    order = sorted(SCORES, key=lambda name: -np.mean([told.auroc for told in by_score[name]]))
    lines = [
        '# "None of these": classes left out of training',
        "",
        f"| score | AUROC | unknown sounds refused where {share:.0%} of the validation clips are kept "
        "| known test sounds kept |",
        "|---|---|---|---|",
    ]
    for name in order:
        cells = [_range([getattr(told, key) for told in by_score[name]], key) for key in ("auroc", "refused", "kept")]
        lines.append(f"| {SCORES[name]} | {' | '.join(cells)} |")
    machine, versions = provenance.machine(), provenance.versions()
    lines += [
        "",
        f"Mean (least … greatest) over the classes left out, each the mean of its folds: {', '.join(found)}.  ",
        f"Data: {dataset.name}, {len(dataset.clips):,} clips, official folds {', '.join(map(str, dataset.folds))}, "
        "each tested once and trained on the others, by recipe `transfer`.  ",
        f"Machine: {machine['processor']}, {machine['cores']} core{'s' if machine['cores'] > 1 else ''}; "
        f"Python {versions['python']}, torch {torch.__version__}; {seconds / 60:.0f} minutes.  ",
        "Command: `python benchmarks/unknown.py DATASET`.",
    ]
    return "\n".join(lines) + "\n"


def _range(values: list[float], key: str) -> str:
    if key == "auroc":
        return f"{np.mean(values):.3f} ({min(values):.3f} … {max(values):.3f})"
    return f"{np.mean(values):.0%} ({min(values):.0%} … {max(values):.0%})"


def main() -> None:
    """Read the command line, leave the classes out, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--classes", type=int, default=5, help="how many are left out, one by one: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="that deals which: %(default)s")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("UNKNOWN.md"))
    options = parser.parse_args()
    started, dataset = time.perf_counter(), Dataset.open(options.dataset)
    heard = hear(dataset, lambda *told: print(*told, file=sys.stderr, end="\r"))
    chosen = np.sort(np.random.default_rng(options.seed).permutation(len(dataset.classes))[: options.classes])
    share = recipe_named("transfer").known_quantile
    found = {}
    for which in chosen:
        found[dataset.classes[which]] = left_out(heard, dataset, int(which), share)
        print(dataset.classes[which], found[dataset.classes[which]]["familiarity"], file=sys.stderr)
    options.output.write_text(as_markdown(found, dataset, share, time.perf_counter() - started), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
