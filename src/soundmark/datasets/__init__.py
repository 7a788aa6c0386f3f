"""Labelled sound clips: open a data set, inspect it, split it, and compute its features.

    path ─ layouts ─▶ Dataset ─ splits, protocols ─▶ train and test clips
                         └─ features ─▶ arrays in the feature store

In reading order:

    clip                Clip: one labelled clip; Skipped: a file that cannot be used
    dataset             Dataset: clips and their classes
    description         text, tables and a figure that describe a Dataset
    synthetic           a small synthetic data set for the demo and the tests
    layouts             layouts of data sets on disk; one file per layout
    splits              train, validation and test splits of a Dataset
    leakage             data leakage from the training clips to the test clips
    protocols           evaluation protocols: how a comparison splits the clips
    inspection          statistics and problems of a data set, as text, tables and a figure
    clip_windows        the window length; clips cut into windows
    feature_store       a float32 array on disk, written in chunks with checksums
    features            the features of a Dataset, computed once and stored
    spectrogram_images  a PNG per clip, in one folder per class
    download            fetch UrbanSound8K and ESC-50: download, verify, unpack
"""

from soundmark.datasets.dataset import Clip, Dataset, Skipped

__all__ = ["Clip", "Dataset", "Skipped"]
