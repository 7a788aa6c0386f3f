"""Whether `inspect --labels` finds wrong labels: 5 % of the recordings get another class at random.

    python benchmarks/label_check.py DATASET [--draws 20] [--recipe transfer] [--share 0.05]

All clips of a chosen recording get the same wrong class. Printed: which fraction of the relabelled recordings is among
the first 5 % of the list (the bar is 40 %), and among the first 10 %. Labels of the data set that are wrong already
lower the figures.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from soundmark.datasets import Dataset
from soundmark.evaluation.label_check import rank_labels
from soundmark.training.methods import background_features, build_features, held_out_scores
from soundmark.training.named_recipes import recipe


def relabelled(data: Dataset, share: float, random: np.random.Generator) -> tuple[Dataset, set[str]]:
    """Return the data with another class for a share of the recordings, and the names of these recordings."""
    names = np.unique(data.sources)
    chosen = random.choice(names, round(share * len(names)), replace=False)
    new: dict[str, str] = {}
    for name in chosen.tolist():
        present = {data.clips[i].label for i in np.flatnonzero(data.sources == name)}
        new[name] = str(random.choice([label for label in data.classes if label not in present]))
    clips = tuple(
        replace(clip, label=new.get(source, clip.label))
        for clip, source in zip(data.clips, data.sources.tolist(), strict=True)
    )
    return replace(data, clips=clips), set(new)


def main() -> None:
    """Relabel, rank and count, once for each draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--recipe", default="transfer")
    parser.add_argument("--share", type=float, default=0.05)
    options = parser.parse_args()
    data = Dataset.open(options.dataset)
    chosen = recipe(options.recipe).for_window(data.window_s)
    store, backgrounds = build_features(data, chosen), background_features(chosen)
    clips = np.flatnonzero(store.usable)
    found = []
    for number in range(options.draws):
        wrong, names = relabelled(data, options.share, np.random.default_rng([7, number]))
        ranked = rank_labels(wrong, clips, held_out_scores(chosen, wrong, store, clips, backgrounds=backgrounds))
        order = [one.recording for one in ranked]
        shares = [len(names & set(order[: round(part * len(order))])) / len(names) for part in (0.05, 0.10)]
        found.append(shares)
        print(f"draw {number}: {shares[0]:.0%} in the first 5 %, {shares[1]:.0%} in the first 10 %", flush=True)
    first, second = np.mean(found, axis=0)
    least = np.min(found, axis=0)[0]
    print(
        f"{len(found)} draws of {len(names)} of {len(order)} recordings: {first:.0%} (least {least:.0%}), {second:.0%}"
    )


if __name__ == "__main__":
    main()
