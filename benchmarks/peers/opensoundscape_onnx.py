"""Run in an environment with OpenSoundscape: ``python opensoundscape_onnx.py MODEL.onnx ACTIVATION SOUND...``.

Prints the scores of ``ONNXModel.predict`` as JSON, with the classes. torchvision and torchaudio, which OpenSoundscape
imports but does not use for ONNX models, are replaced by empty modules where they are missing.
"""

import json
import sys

import torch_standins

torch_standins.install()

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
