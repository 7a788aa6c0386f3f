"""The names that options accept, each with a short description for ``--help`` and for shell completion.

The registries themselves load NumPy, which would slow down ``--help``. A test checks that the names are the same.
"""

from __future__ import annotations

RECIPES = {
    "notebook-image": "the notebook's CNN on 8-bit spectrogram images",
    "notebook-mel": "the notebook's CNN on log-mel spectrograms",
    "notebook-image-22k": "notebook-image with all sounds resampled to 22.05 kHz",
    "scratch": "an ensemble of three ResNets, trained from scratch",
    "transfer": "a linear head on a pretrained MobileNet (AudioSet)",
}


BACKBONES = {
    "mn04": "EfficientAT's MobileNetV3 of width 0.4, 0.98 million parameters",
    "mn10": "EfficientAT's MobileNetV3 of width 1.0, 4.88 million parameters",
}


PRESETS = {
    "notebook": "the notebook's experiment: notebook-image and notebook-mel",
}


DOWNLOADS = {
    "urbansound8k": "UrbanSound8K: 8 732 clips, 10 classes, 6 GB",
    "esc50": "ESC-50: 2 000 clips, 50 classes, 0.6 GB",
}


PROTOCOLS = {
    "random": "one random split, a third of the clips for testing",
    "folds": "cross-validation over the official folds",
    "grouped": "cross-validation over folds that keep recordings together",
}


RESULT_FORMATS = {
    "table": "a table for the terminal",
    "csv": "one row per event",
    "jsonl": "one JSON object per event and line",
    "json": "one JSON object per file: classes and events",
    "parquet": "one row per event, for pandas and DuckDB (needs -o)",
    "audacity": "a label track for Audacity",
    "raven": "a selection table for Raven",
    "aoef": "an annotation project for Whombat, as AOEF (soundevent)",
}


LIVE_FORMATS = {
    "view": "a live view: level meter, classes, last events",
    "jsonl": "one JSON object per event and line",
}


WINDOW_FORMATS = {
    "table": "a table for the terminal",
    "csv": "one row per window, with an empty column for its label",
    "json": "a list of windows",
}


SUMMARY_FORMATS = {
    "table": "a table for the terminal",
    "csv": "one row per class and hour of the day",
    "json": "minutes by hour, by day and by both, as one JSON object",
}


CARD_FORMATS = {
    "table": "at most ten lines for the terminal; with --all, everything",
    "json": "the complete card as one JSON object",
    "markdown": "the complete card as a page for a model hub",
}


EXPORT_TARGETS = {
    "opensoundscape": "one ONNX file for its class ONNXModel",
    "birdnet-go": "an ONNX file and a label file that replace BirdNET 2.4",
    "transformers.js": "a folder for its pipeline audio-classification",
}


SAMPLE_FORMATS = {
    "u8": "unsigned 8-bit integers",
    "s16": "signed 16-bit integers",
    "s24": "signed 24-bit integers in 3 bytes",
    "s32": "signed 32-bit integers",
    "f32": "32-bit floats",
}


DEVICES = {
    "auto": "the GPU if there is one, else the CPU",
    "cpu": "the processor",
    "cuda": "an NVIDIA GPU",
    "mps": "an Apple GPU",
}


COLOUR_MAPS = ("magma", "viridis", "cividis", "inferno", "plasma", "gray")


SUBSETS = {"esc10": "the ten classes of ESC-10, in ESC-50"}
