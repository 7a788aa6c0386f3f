"""What the tests share: the real clips, where they are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")  # figures are drawn without a display
os.environ["KERAS_BACKEND"] = "torch"  # the oracle of the network; read when keras is first imported

SHARED = Path(__file__).resolve().parents[2] / "shared"
if (SHARED / "weights").is_dir():  # nothing is fetched from a network here
    os.environ.setdefault("SOUNDMARK_WEIGHTS", str(SHARED / "weights"))


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


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
