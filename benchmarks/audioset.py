"""How well `soundmark classify` recognises UrbanSound8K's classes without a trained model.

    python benchmarks/audioset.py DATASET

Each UrbanSound8K class corresponds to one or more of AudioSet's 527 classes (MAPPING). The first table has, for each
class, how often one of them is the first, and among the first five. The second one has precision and recall against the
threshold: a clip counts as detected if one of the corresponding classes reaches it.
"""

from __future__ import annotations

import sys

import numpy as np

import soundmark as sm
from soundmark.datasets import features
from soundmark.models.pretrained import named_models

MAPPING = {
    "air_conditioner": ("Air conditioning", "Mechanical fan"),
    "car_horn": ("Vehicle horn, car horn, honking", "Toot", "Air horn, truck horn"),
    "children_playing": ("Children playing", "Child speech, kid speaking", "Children shouting"),
    "dog_bark": ("Dog", "Bark", "Bow-wow", "Yip", "Growling", "Whimper (dog)"),
    "drilling": ("Drill", "Power tool", "Dental drill, dentist's drill"),
    "engine_idling": ("Idling", "Engine", "Medium engine (mid frequency)", "Light engine (high frequency)"),
    "gun_shot": ("Gunshot, gunfire", "Explosion", "Machine gun"),
    "jackhammer": ("Jackhammer",),
    "siren": (
        "Siren",
        "Police car (siren)",
        "Ambulance (siren)",
        "Fire engine, fire truck (siren)",
        "Emergency vehicle",
    ),
    "street_music": ("Music",),
}


THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


def main() -> None:
    """Score the clips, and print the tables."""
    data = sm.Dataset.open(sys.argv[1])
    model = named_models.audioset()
    names = list(model.classes)
    columns = {label: [names.index(name) for name in MAPPING[label]] for label in data.classes}
    store = features.build(data, model.card.representation)
    kept = np.arange(len(data))
    p = model.probabilities(store.array, kept)
    labels = np.array([data.clips[i].label for i in kept])
    order = np.argsort(-p, axis=1)
    print(f"{len(kept)} clips\n\n| class | clips | first | among the first five |\n|---|---|---|---|")
    for label in data.classes:
        found = np.isin(order[labels == label], columns[label])
        print(f"| {label} | {len(found)} | {found[:, 0].mean():.0%} | {found[:, :5].any(1).mean():.0%} |")
    first = [np.isin(row, columns[label])[:5] for row, label in zip(order, labels, strict=True)]
    print(f"| all | {len(first)} | {np.mean([f[0] for f in first]):.0%} | {np.mean([f.any() for f in first]):.0%} |\n")
    print("| threshold | precision | recall | F1 |\n|---|---|---|---|")
    best = np.stack([p[:, columns[label]].max(1) for label in data.classes], axis=1)
    truth = labels[:, None] == np.array(data.classes)
    for threshold in THRESHOLDS:
        hit = best >= threshold
        recall = np.mean([(hit & truth)[:, k].sum() / truth[:, k].sum() for k in range(len(data.classes))])
        precision = np.mean([(hit & truth)[:, k].sum() / max(1, hit[:, k].sum()) for k in range(len(data.classes))])
        print(f"| {threshold} | {precision:.0%} | {recall:.0%} | {2 * precision * recall / (precision + recall):.0%} |")


if __name__ == "__main__":
    main()
