"""The scores of a sound: one row of probabilities for each window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scores:
    """What a model says of stretches of sound: one row each.

    ``items`` names the input of each row, ``start_s`` and ``stop_s`` (float64 ``[n]``) are where in it the stretch
    lies, ``probabilities`` is float32 ``[n, classes]``. Nothing assumes that a row sums to one. ``familiarity`` float32
    ``[n]``, between 0 and 1, is how much each stretch is like what the model was trained on; None where the model
    cannot tell, or has no threshold to hold it against.
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
        """The mean over all rows, float64 ``[classes]``: a long recording's own answer."""
        result: np.ndarray = self.probabilities.mean(axis=0, dtype=np.float64)
        return result

    def to_dataframe(self) -> Any:
        """A pandas ``DataFrame`` with a column per class, indexed by ``(file, start_time, end_time)``."""
        import pandas as pd

        index = pd.MultiIndex.from_arrays(
            [self.items, self.start_s, self.stop_s], names=["file", "start_time", "end_time"]
        )
        return pd.DataFrame(self.probabilities, index=index, columns=list(self.classes))
