"""The scores of a recording: one row of probabilities per window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from soundmark.runtime.dataframes import import_pandas
from soundmark.runtime.text import counted, html_table, one_line

MAX_ROWS, MAX_COLUMNS = 20, 5  # windows and classes of the table in Jupyter


@dataclass(frozen=True, repr=False)
class Scores:
    """The class probabilities of windows, one row per window.

    Attributes:
        items: the input file of each row; "-" for samples and bytes.
        start_s, stop_s: start and end of each window in the recording, in seconds, float64 ``[n]``.
        classes: the class names, in the order of the columns of ``probabilities``.
        probabilities: float32 ``[n, classes]``; with sigmoid outputs, a row does not sum to one.
        familiarity: similarity to the training data, 0 to 1, float32 ``[n]``; None if the model has no unknown
            threshold.
    """

    items: tuple[str, ...]
    start_s: np.ndarray
    stop_s: np.ndarray
    classes: tuple[str, ...]
    probabilities: np.ndarray
    familiarity: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.items)

    def mean(self) -> np.ndarray:
        """Return the mean of all rows, float64 ``[classes]``: the scores of the recording."""
        result: np.ndarray = self.probabilities.mean(axis=0, dtype=np.float64)
        return result

    def _best(self, count: int) -> list[int]:
        """The indices of the classes with the highest mean probability, highest first."""
        return np.argsort(-self.mean(), kind="stable")[:count].tolist() if len(self) else []

    def __repr__(self) -> str:
        files = sorted(set(self.items))
        what = one_line(f'"{files[0]}"') if len(files) == 1 else counted(len(files), "file")
        best = ", ".join(f"{one_line(self.classes[i], 60)} {self.mean()[i]:.2f}" for i in self._best(3))
        windows = counted(len(self), "window")
        return f"Scores({windows} of {what}, {counted(len(self.classes), 'class')}; highest means: {best or 'none'})"

    def _repr_html_(self) -> str:
        best = self._best(MAX_COLUMNS)
        rows = [
            [
                one_line(self.items[i]),
                f"{self.start_s[i]:.2f}",
                f"{self.stop_s[i]:.2f}",
                *(float(self.probabilities[i, c]) for c in best),
            ]
            for i in range(min(len(self), MAX_ROWS))
        ]
        header = ["file", "start (s)", "stop (s)", *(one_line(self.classes[c], 60) for c in best)]
        windows, classes = counted(len(self), "window"), counted(len(self.classes), "class")
        counts = f"{min(len(self), MAX_ROWS)} of {windows}, {len(best)} of {classes}"
        return html_table(rows, header=header, caption=f"Scores: {counts}, by mean probability")

    def to_dataframe(self) -> Any:
        """Convert to a pandas ``DataFrame`` with a column per class, indexed by ``(file, start_time, end_time)``."""
        pd = import_pandas()

        index = pd.MultiIndex.from_arrays(
            [self.items, self.start_s, self.stop_s], names=["file", "start_time", "end_time"]
        )
        return pd.DataFrame(self.probabilities, index=index, columns=list(self.classes))
