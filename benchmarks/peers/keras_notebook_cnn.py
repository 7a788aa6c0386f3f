"""Train the original notebook's network in Keras on TensorFlow: the baseline of ``soundmark.training``."""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import distributions

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
from json_server import serve
from keras import Sequential
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from keras.optimizers import Adam

TENSORFLOW = next(d.name for d in distributions() if d.name in ("tensorflow", "tensorflow-cpu", "tensorflow_cpu"))


def notebook_model(n_classes: int) -> Sequential:
    """Build the network, as in the notebook's cell."""
    model = Sequential()
    model.add(Input((64, 64, 1)))
    model.add(Conv2D(32, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(Conv2D(32, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25))
    model.add(Conv2D(64, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(Conv2D(64, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25))
    model.add(Conv2D(64, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(Conv2D(64, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25))
    model.add(Flatten())
    model.add(Dense(512))
    model.add(Activation("relu"))
    model.add(Dropout(0.5))
    model.add(Dense(n_classes, activation="softmax"))
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], optimizer=Adam())
    return model


class Training:
    """The methods that the benchmark calls."""

    def __init__(self, path: str) -> None:
        with np.load(path) as data:
            self.x, self.labels = data["features"][..., None], data["labels"]
            self.train, self.test, self.timed = data["train"], data["test"], data["timed"]
        self.n_classes = int(self.labels.max()) + 1
        self.y = np.eye(self.n_classes, dtype=np.float32)[self.labels]
        self.model = notebook_model(self.n_classes)

    def epoch(self, batch_size: int) -> dict[str, float]:
        """Train one epoch on the timed clips; return the seconds of Keras' ``fit`` alone."""
        x, y = self.x[self.timed], self.y[self.timed]
        start = time.perf_counter()
        self.model.fit(x, y, batch_size=batch_size, epochs=1, verbose=0)
        return {"seconds": time.perf_counter() - start}

    def fit(self, seed: int, epochs: int, batch_size: int) -> dict[str, list[float]]:
        """Train as the notebook does, from new weights; return the accuracy on the test clips after each epoch."""
        keras.utils.set_random_seed(seed)
        model = notebook_model(self.n_classes)
        fitted = model.fit(
            self.x[self.train],
            self.y[self.train],
            batch_size=batch_size,
            epochs=epochs,
            validation_data=(self.x[self.test], self.y[self.test]),
            verbose=0,
        )
        return {"accuracies": [float(value) for value in fitted.history["val_accuracy"]]}


if __name__ == "__main__":
    serve(Training(sys.argv[1]), "keras", TENSORFLOW, "numpy")
