"""Run in an environment with OpenSoundscape: ``python opensoundscape_onnx.py MODEL.onnx ACTIVATION SOUND...``.

Prints the scores of ``ONNXModel.predict`` as JSON, with the classes. torchvision and torchaudio, which OpenSoundscape
imports but does not use for ONNX models, are replaced by empty modules where they are missing.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

import torch


class Standin(ModuleType):
    """A module of which every class is an empty ``torch.nn.Module``."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {}) if name[0].isupper() else Standin(f"{self.__name__}.{name}")


for package in ("torchvision", "torchaudio"):
    if find_spec(package) is None:
        for name in (package, f"{package}.transforms", f"{package}.models"):
            sys.modules[name] = Standin(name)
            sys.modules[name].__spec__ = ModuleSpec(name, None)

from opensoundscape import ONNXModel  # noqa: E402 - after the stand-ins

file, activation, *sounds = sys.argv[1:]
model = ONNXModel(file)
scores = model.predict(sounds, activation_layer=activation, num_workers=0)
embedding = model.embed(sounds, num_workers=0, progress_bar=False) if model.embedding_outputs_key else None
print(
    json.dumps(
        {
            "classes": model.classes,
            "scores": scores.to_numpy().tolist(),
            "embedding": None if embedding is None else list(embedding.shape),
        }
    )
)
