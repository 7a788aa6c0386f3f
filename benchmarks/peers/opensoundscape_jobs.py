"""Classify and train with OpenSoundscape, with as many worker processes as cores.

opensoundscape_jobs.py predict MODEL.onnx SOUND OUT.npy
opensoundscape_jobs.py train FILES.json EPOCHS FOLDER
opensoundscape_jobs.py spectrograms FILES.json OUT.npy

``predict`` writes the probabilities of all complete windows, ``spectrograms`` the images of 64 × 64 pixels. FILES.json
is a list of [path, label]; ``train`` trains the notebook's network on images of them.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch_standins

torch_standins.install()

import pandas as pd  # noqa: E402 - after the stand-ins
from opensoundscape import CNN, ONNXModel  # noqa: E402
from opensoundscape.ml.dataloaders import SafeAudioDataloader  # noqa: E402
from opensoundscape.preprocess.preprocessors import SpectrogramPreprocessor  # noqa: E402

SIDE, SECONDS, RATE_HZ, BATCH = 64, 4.0, 22_050, 64


def predict(model: str, sound: str, out: str) -> None:
    """Write the softmax of the model's logits."""
    scores = ONNXModel(model).predict(
        [sound],
        activation_layer="softmax",
        batch_size=32,
        num_workers=os.cpu_count(),
        final_clip=None,
        progress_bar=False,
    )
    np.save(out, scores.to_numpy(np.float32))


def train(files: str, epochs: str, folder: str) -> None:
    """Train for some epochs, without augmentation, as the notebook does."""
    paths, labels = zip(*json.loads(Path(files).read_text()), strict=True)
    targets = pd.get_dummies(pd.Series(labels, index=pd.Index(paths, name="file"))).astype(float)
    model = CNN(
        network(len(targets.columns)),
        classes=list(targets.columns),
        sample_duration=SECONDS,
        single_target=True,
        sample_rate=RATE_HZ,
        height=SIDE,
        width=SIDE,
    )
    steps = int(epochs) * -(-len(paths) // BATCH)
    for name, step in model.preprocessor.pipeline.items():
        step.bypass = step.is_augmentation and name != "random_trim_audio"
    model.train(
        targets,
        validation_df=targets.head(1),  # else it is tested on all clips after the training
        steps=steps,
        batch_size=BATCH,
        num_workers=os.cpu_count(),
        save_path=folder,
        progress_bar=False,
    )


def network(n_classes: int) -> torch.nn.Module:
    """The notebook's network for images of 64 × 64 pixels."""
    layers: list[torch.nn.Module] = []
    for before, after in ((1, 32), (32, 64), (64, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.ReLU()]
        layers += [torch.nn.Conv2d(after, after, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Dropout(0.25)]
    layers += [torch.nn.Flatten(), torch.nn.Linear(64 * 6 * 6, 512), torch.nn.ReLU(), torch.nn.Dropout(0.5)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(512, n_classes))


def spectrograms(files: str, out: str) -> None:
    """Write the images, float32 [clips, 64, 64]."""
    paths = [path for path, _ in json.loads(Path(files).read_text())]
    preprocessor = SpectrogramPreprocessor(SECONDS, RATE_HZ, height=SIDE, width=SIDE)
    clips = pd.MultiIndex.from_tuples(
        [(path, 0.0, SECONDS) for path in paths], names=["file", "start_time", "end_time"]
    )
    loader = SafeAudioDataloader(pd.DataFrame(index=clips), preprocessor, batch_size=BATCH, num_workers=os.cpu_count())
    np.save(out, np.concatenate([[sample.data[0].numpy() for sample in batch] for batch in loader]))


if __name__ == "__main__":
    {"predict": predict, "train": train, "spectrograms": spectrograms}[sys.argv[1]](*sys.argv[2:])
