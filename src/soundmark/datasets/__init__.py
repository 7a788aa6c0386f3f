"""A path to a ``Dataset`` of ``Clip``s, and what is computed from it.

    path ─ layouts ─▶ Dataset ─ splits, protocols ─▶ train and test clips
                         └─ features ─▶ arrays in the feature store

In reading order:

    clip                Clip, Skipped
    dataset             Dataset
    description         a Dataset for people: text, tables, a figure
    synthetic           a small synthetic city, for the demo and the tests
    layouts             how data sets are laid out on the disk; one file per layout
    splits              a Dataset to train, validation and test clips
    leakage             how much the training clips give away about the test clips
    protocols           the protocols by which recipes are compared
    inspection          statistics and problems of a data set
    inspection_tables   the same as sentences and tables
    inspection_figure   the same as a figure
    feature_store       a float32 array on the disk, filled in chunks and checked
    features            a Dataset and a representation to a feature store
    spectrogram_images  a Dataset to PNGs, one folder per class
"""

from soundmark.datasets.dataset import Clip, Dataset, Skipped

__all__ = ["Clip", "Dataset", "Skipped"]
