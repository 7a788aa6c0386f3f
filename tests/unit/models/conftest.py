"""A model with the notebook's network and random weights, and a test tone."""

import numpy as np
import pytest
import torch

from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.training_record import TrainingRecord
from soundmark.spectrograms import Mel
from soundmark.training import networks
from soundmark.training.epochs import onnx_export

CLASSES = (
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
)
EPOCH = {
    "train_loss": 1.5,
    "train_accuracy": 0.4,
    "validation_loss": 1.7,
    "validation_accuracy": 0.35,
    "seconds": 2.0,
}


@pytest.fixture(scope="session")
def notebook_graph() -> bytes:
    torch.manual_seed(0)
    network = networks.build("notebook_cnn", shape=(64, 64), n_classes=10)
    with torch.no_grad():  # a new network has biases of zeros
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return onnx_export.export_network(network, (64, 64))


@pytest.fixture(scope="session")
def notebook_model(notebook_graph: bytes) -> Model:
    card = Card(
        classes=CLASSES,
        representation=Mel(),
        window_s=4.0,
        recipe={"name": "notebook-mel", "network": "notebook_cnn"},
        training=TrainingRecord.from_json(
            {
                "name": "UrbanSound8K",
                "n_train": 7000,
                "licence": "CC BY-NC 3.0",
                "history": [{"epoch": 1, **EPOCH}, {"epoch": 2, **EPOCH, "train_loss": 1.1, "validation_loss": None}],
            }
        ),
        scores={"protocol": "folds", "accuracy": 0.701, "accuracy_interval": [0.68, 0.72], "n_test": 837},
    )
    return Model(Bundle(notebook_graph, card))


@pytest.fixture(scope="session")
def tone() -> np.ndarray:
    """4 s at 22 050 Hz, float32."""
    seconds = np.arange(88_200) / 22_050
    return (0.3 * np.sin(2 * np.pi * 700 * seconds) * (seconds % 1 < 0.3)).astype(np.float32)
