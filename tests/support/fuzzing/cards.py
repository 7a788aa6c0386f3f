"""Model cards: their JSON with changed values, keys and nesting, sealed in a model with a graph that fits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
from onnx import numpy_helper

from soundmark.models.card import Card
from soundmark.models.training_record import EngineRecord, Epoch, Int8Record, TrainingRecord
from soundmark.spectrograms import Image, LogMel, Mel
from support import hostile_graphs
from support.fuzzing.models import COPY, check_model, seed_case, with_card
from support.fuzzing.mutators import encoded, mutated_value, to_json
from support.fuzzing.target import Beat, Case, Target

SCORES = {
    "protocol": "folds", "accuracy": 0.71, "accuracy_interval": [0.65, 0.77], "macro_f1": 0.69, "ece": 0.05,
    "n_test": 400,
    "leak": {"recording": 0.1, "recording_and_class": 0.05}, "cross_validated": True,
}  # fmt: skip
EPOCHS = tuple(
    Epoch(
        epoch=i, train_loss=2 / i, train_accuracy=0.1 * i, validation_loss=None, validation_accuracy=None, seconds=2.5
    )
    for i in range(1, 5)
)
TRAINING = TrainingRecord(
    name="city", fingerprint="0123456789abcdef", protocol="folds", test_fold=3, n_train=900, n_test=400,
    n_recordings=70,
    trained_on="abc", licence="CC BY-NC 3.0", citation="Somebody 2020", calibrated_on=90, weights="MIT", history=EPOCHS,
    training_s=125.5, testing_s=1.5, engine=EngineRecord(device="cpu", precision="float32", threads=2),
    predictions_sha256="00ff", features="1234",
    int8=Int8Record(calibrated_on=500, scored="fold 3", figure="accuracy", before=0.71, after=0.7),
)  # fmt: skip
RECIPE = {"name": "transfer", "network": "mn04", "epochs": 20, "representation": {"name": "logmel", "size": [8, 8]}}


class Cards(Target):
    """The cards of models for one and for several labels, with each representation."""

    name = "cards"

    def seeds(self) -> list[Case]:
        proto = hostile_graphs.model()  # a linear model, which needs no torch
        weights = np.random.default_rng(0).normal(0, 0.02, (64, 3)).astype(np.float32)
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "W"))
        graph = hostile_graphs.seal(proto)
        full = {"recipe": RECIPE, "training": TRAINING, "scores": SCORES, "versions": {"soundmark": "0.1.0"}}
        base = Card(classes=("low", "high", "background"), representation=Mel(size=(8, 8)), window_s=1.0, **full)
        sigmoid = {"activation": "sigmoid", "thresholds": (0.5, 0.2, 0.9)}
        cards = [
            replace(base, training=TrainingRecord(), recipe={}, scores={}, versions={}),
            base,
            replace(base, **sigmoid, temperature=2.5, scores={"protocol": "random", "macro_ap": 0.6, "n_test": 9}),
            replace(base, representation=Image(size=(8, 8))),
            replace(base, representation=LogMel(size=(8, 8)), unknown=0.4),
        ]
        return [seed_case(graph, card) for card in cards]

    def mutated(self, seed: Case, rng: Random) -> Case:
        values = json.loads(seed.files["card"])
        if rng.random() < 0.4:  # the representation and the window decide what is computed
            part = rng.choice(("representation", "window_s", "classes", "temperature", "thresholds", "unknown"))
            changed = mutated_value({part: values.get(part)}, rng, most=2)
            values = values | changed if isinstance(changed, dict) else changed
        else:
            values = mutated_value(values, rng)
        return with_card(seed, encoded(to_json(values, rng), rng))

    def names(self, path: Path) -> tuple[str, ...]:
        return path.name, COPY

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        model = check_model(path, rng, beat)
        if model.history and rng.random() < 0.03:
            beat("history")
            model.plot_history().figure.canvas.draw()
            import matplotlib.pyplot as plt

            plt.close("all")
