"""Fixtures that the tests share: an isolated cache, synthetic data sets, models, and the real clips where available."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Dataset, synthetic
from soundmark.models.classifier import Model
from soundmark.models.pretrained import weights
from support.models import random_model as build_random_model
from support.models import tone_model

os.environ.setdefault("MPLBACKEND", "agg")  # figures are drawn without a display
os.environ["KERAS_BACKEND"] = "torch"  # the oracle of the network; read when keras is first imported

SHARED = Path(__file__).resolve().parents[2] / "shared"
if (SHARED / "weights").is_dir():  # tests download nothing
    os.environ.setdefault("SOUNDMARK_WEIGHTS", str(SHARED / "weights"))


STARTED = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    """On a slow machine, `.ci/run` tries as many of the long tests as fit in its time."""
    parser.addoption(
        "--within",
        type=float,
        metavar="S",
        help="files in random order; skip each test that may take longer than what is left of S seconds",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the test if it would not end within the time of ``--within``."""
    within = item.config.getoption("--within")
    if within is None:
        return
    marker = item.get_closest_marker("long")
    needed_s = marker.args[0] if marker and marker.args else 60.0
    if time.monotonic() - STARTED + needed_s > within:
        pytest.skip(f"would not end within the {within:g} s of --within")


def pytest_configure() -> None:
    """Give each worker of pytest-xdist its own core: the threads of two trainings would wait for each other."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests on the real clips are slow: the clips are unpacked first."""
    for item in items:
        if {"urbansound8k", "urbansound8k_native"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    if config.getoption("--within") is not None:
        run = getattr(config, "workerinput", {}).get("testrunuid")  # the same for each worker, another one for each run
        order = random.Random(run)
        keys = {path: order.random() for path in dict.fromkeys(item.path for item in items)}
        items.sort(key=lambda item: keys[item.path])


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests never read or write the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def city_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic data set in UrbanSound8K's layout: ten classes, three folds, one clip from each recording."""
    return synthetic.write(tmp_path_factory.mktemp("city") / "city", recordings_per_class=3, clips_per_recording=1)


@pytest.fixture(scope="session")
def city(city_folder: Path) -> Dataset:
    """``city_folder`` as a data set."""
    return Dataset.open(city_folder)


@pytest.fixture(scope="session")
def sibling_city_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with several clips from each recording, so that a random split leaks."""
    return synthetic.write(tmp_path_factory.mktemp("city") / "city", recordings_per_class=3, clips_per_recording=2)


@pytest.fixture(scope="session")
def sibling_city(sibling_city_folder: Path) -> Dataset:
    """``sibling_city_folder`` as a data set."""
    return Dataset.open(sibling_city_folder)


@pytest.fixture(scope="session")
def random_model() -> Model:
    """A network with random weights and three classes, "b", "a" and "c"."""
    return build_random_model()


@pytest.fixture(scope="session")
def tone_detector() -> Model:
    """A linear model that detects low and high tones."""
    return tone_model()


@pytest.fixture(scope="session")
def mn04_weights(shared: Path) -> Path:
    """The released weights of mn04."""
    path = shared / "weights" / weights.WEIGHTS["mn04"].file
    if not path.exists():
        pytest.skip("the weights of mn04 are missing: this test needs them in shared/weights beside the checkout")
    return path


@pytest.fixture(scope="session")
def efficientat(shared: Path) -> Mapping[str, np.ndarray]:
    """EfficientAT's own logits and embeddings of 18 real clips, by mn04."""
    return np.load(shared / "oracles" / "efficientat_mn04.npz")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout."""
    if not (SHARED / "urbansound8k" / "unpack.py").exists():
        pytest.skip("the real clips are not here: this test needs shared/urbansound8k beside the checkout")
    return SHARED


def unpack(shared: Path, destination: Path, *options: str) -> Path:
    script = shared / "urbansound8k" / "unpack.py"
    subprocess.run([sys.executable, str(script), str(destination), *options], check=True, capture_output=True)
    return destination / "UrbanSound8K"


@pytest.fixture(scope="session")
def urbansound8k(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 097 real clips of UrbanSound8K (folds 1, 3, 10), 22 050 Hz mono, laid out as the data set is."""
    return unpack(shared, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def urbansound8k_native(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips of fold 10 in the mixture of rates, depths, channels and headers of the full data set."""
    return unpack(shared, tmp_path_factory.mktemp("native"), "--native", "--folds", "10")
