"""Trainings on workers in another folder than this process: the files that one machine writes."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import soundmark as sm
from soundmark import audio
from support.backbones import write_small

pytestmark = pytest.mark.slow


class Elsewhere(ThreadPoolExecutor):
    """A worker whose current folder is ``folder``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(1)
        self.folder = folder

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        def work() -> Any:
            with chdir(self.folder):
                return fn(*args, **kwargs)

        return super().submit(work)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A current folder with a data set of two classes and the file of a backbone."""
    rng = np.random.default_rng(0)
    for number in range(12):
        hz = 200 if number % 2 else 3000
        sound = 0.3 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000) + rng.normal(0, 0.01, 16_000)
        audio.write(tmp_path / "here" / "sounds" / str(hz) / f"{number}.wav", sound, 16_000)
    write_small(tmp_path / "here" / "small.onnx")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_workers_find_the_file_of_a_backbone_that_was_given_by_a_relative_path(here: Path):
    options: dict[str, Any] = {"backbone": "small.onnx", "protocols": "random", "quiet": True}
    data = (here / "sounds").absolute()
    sm.compare(data, "transfer", here / "alone", **options)
    with Elsewhere(here.parent / "elsewhere") as worker:
        sm.compare(data, "transfer", here / "together", cluster=worker, **options)
    one, other = (here / folder / "transfer" / "random" for folder in ("alone", "together"))
    for name in ("recipe.toml", "predictions.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert sm.load(one / "model.onnx").bundle.graph == sm.load(other / "model.onnx").bundle.graph
    sm.compare(data, "transfer", here / "together", **options)  # it is the same run
