"""Create the files in this folder with soundmark 0.1.0 at commit e0b82e4; run it only with that version.

git worktree add old e0b82e4
cd tests/data/v0.1
PYTHONPATH=../../../old/src python make.py

Everything runs in an empty folder, with relative paths, so that no file contains absolute paths.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from soundmark.bundle import Bundle, Card
from soundmark.checkpoint import Checkpoint
from soundmark.prediction import Model, load
from soundmark.runs import train

from soundmark import audio, recipes, spectrograms
from soundmark.datasets import Dataset, synthetic

HERE = Path(__file__).resolve().parent
MODIFIED_NS = 1_700_000_000_000_000_000  # modification time of the clips, by which the journal identifies them
CLIPS = {
    "20240611_143000.wav": (("dog_bark",), 22_050, 1.5),
    "20240611_150000.wav": (("siren", "jackhammer"), 8_000, 4),
}


def soundmark(*command: str) -> None:
    code = "import sys; from soundmark import cli; sys.argv[0] = 'soundmark'; cli.main()"
    subprocess.run([sys.executable, "-c", code, *command, "--quiet"], check=True)


def write_clips(folder: Path) -> None:
    for name, (labels, rate_hz, seconds) in CLIPS.items():
        sounds = [synthetic.synthesise(label, seed=7)[: round(seconds * synthetic.RATE_HZ)] for label in labels]
        samples = np.concatenate(sounds)
        audio.write(folder / name, samples[:: round(synthetic.RATE_HZ / rate_hz)], rate_hz)
        os.utime(folder / name, ns=(MODIFIED_NS, MODIFIED_NS))


def write_tiny_model(
    path: str, *, familiarity: bool = False, front_end: spectrograms.Representation | None = None, **card: object
) -> None:
    """Write an untrained model: logits are the mean levels of thirds of the bands, familiarity their mean level."""
    weights = np.repeat(np.eye(3, dtype=np.float32) / 32, [21, 21, 22], axis=0)
    nodes = [
        helper.make_node("ReduceMean", ["spectrogram"], ["bands"], axes=[1, 3], keepdims=0),
        helper.make_node("Gemm", ["bands", "weights", "bias"], ["logits"]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])]
    if familiarity:
        nodes += [
            helper.make_node("ReduceMean", ["logits"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Sigmoid", ["mean"], ["familiarity"]),
        ]
        outputs.append(helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["batch"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 1, 64, 64])],
        outputs,
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([30, 29, 31], np.float32), "bias"),
        ],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    recipe = recipes.named("seed-mel")
    Bundle(
        data,
        Card(
            classes=("low", "middle", "high"),
            representation=front_end or spectrograms.Mel(),
            window_s=1.0,
            recipe=recipe.settings(),
            **card,
        ),
    ).write(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        os.environ["SOUNDMARK_CACHE"] = "cache"
        shutil.copytree(HERE / "recipes", "recipes")
        Path("recipes/transfer-finetune.toml").write_text(recipes.named("transfer-finetune").to_toml())
        synthetic.write("city", recordings_per_class=3, clips_per_recording=1)
        Path("clips").mkdir()
        write_clips(Path("clips"))
        mel, image = ("--recipe", "recipes/seed-mel.toml"), ("--recipe", "recipes/seed-image.toml")
        soundmark("compare", "city", *image, *mel, "--protocol", "random", "-o", "compare")
        Path("compare/report.html").unlink()
        soundmark("train", "city", *mel, "--test-fold", "1", "-o", "train")
        Path("models").mkdir()
        write_tiny_model("models/multi_label.onnx", activation="sigmoid", thresholds=(0.3, 0.5, 0.7), temperature=2.0)
        write_tiny_model(
            "models/unknown.onnx", familiarity=True, unknown=0.95, temperature=1.5, data={"calibrated_on": 12}
        )
        soundmark("export", "train/model.onnx", "--int8", "--calibrate", "city", "-o", "models/int8.onnx")
        write_tiny_model("models/short_fft.onnx", front_end=spectrograms.Mel(n_fft=512, n_mels=64), temperature=2.0)
        soundmark("export", "models/short_fft.onnx", "--with-front-end", "-o", "models/waveform.onnx")
        for form in ("csv", "jsonl"):
            soundmark("classify", "clips", "-m", "train/model.onnx", "--format", form, "-o", f"classify_{form}")
        soundmark("evaluate", "city", "-m", "train/model.onnx", "-o", "evaluate")
        Path("expected.json").write_text(json.dumps(expected(), indent=1) + "\n")
        shutil.rmtree("city")
        shutil.rmtree("cache")
        for lock in Path().rglob(".lock"):
            lock.unlink()
        shutil.copytree(".", HERE, dirs_exist_ok=True)


def expected() -> dict[str, object]:
    """The results of version 0.1.0."""
    paths = ["train/model.onnx", *(f"compare/seed-{kind}/random/model.onnx" for kind in ("mel", "image"))]
    paths += [f"models/{name}.onnx" for name in ("multi_label", "unknown", "short_fft", "int8")]
    answers = {path: {name: results_of(load(path), f"clips/{name}") for name in CLIPS} for path in paths}
    return {"checkpoint": checkpoint_fingerprint(), "answers": answers, "waveform": waveform()}


def results_of(model: Model, clip: str) -> dict[str, object]:
    events = [asdict(event) for event in model.events(clip, overlap=0.5, threshold=0.12)]
    return {"classify": model.classify(clip), "events": events}


def waveform() -> list[float]:
    """The probabilities of the waveform export for a second of a tone, from ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession("models/waveform.onnx")
    (waveform_input,) = session.get_inputs()
    n = waveform_input.shape[1]
    tone = np.sin(2 * np.pi * 440 * np.arange(n) / 22_050).astype(np.float32)[None] / 2
    return session.run(None, {waveform_input.name: tone})[0][0].tolist()


def checkpoint_fingerprint() -> str:
    """The fingerprint of a checkpoint of seed-mel on folds 2 and 3; the checkpoint itself, 2 MB, is not stored."""
    fingerprints = []
    Checkpoint.save = lambda self, path, fingerprint: fingerprints.append(fingerprint)  # type: ignore[method-assign]
    recipe = replace(recipes.named("recipes/seed-mel.toml"), epochs=1)
    train(Dataset.open("city"), recipe, Path("unfinished"), test_fold=1)
    shutil.rmtree("unfinished")
    return fingerprints[0]


if __name__ == "__main__":
    main()
