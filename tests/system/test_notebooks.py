"""The example notebooks run without errors: on synthetic sounds, and on real clips if they are available."""

import re
from pathlib import Path
from typing import Any

import pytest

from support.documentation_files import copy_some_clips

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
CLIP_NAME = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)\.wav")
MAX_BYTES = 4_000_000  # of a notebook with its stored outputs
REAL_CLIPS = 4  # of each class in each fold

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def execute(path: Path, folder: Path) -> Any:
    """Run all cells of a notebook in ``folder`` and return it with its outputs; a cell that raises fails the test."""
    notebook = read(path)
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def output_text(notebook: Any) -> str:
    """All text of the outputs, without images and audio."""
    parts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = {"text": output.get("text", ""), **output.get("data", {})}
            parts += [str(value) for kind, value in data.items() if not kind.startswith(("image/", "audio/"))]
    return "\n".join(parts)


def count_images(notebook: Any) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def is_synthetic(name: re.Match[str]) -> bool:
    """Whether a file name is one of ``synthetic.write``; no clip of UrbanSound8K has such a name."""
    fs_id, class_id, occurrence, last = map(int, name.groups())
    recording = fs_id - 1000 * (class_id + 1)
    return 0 <= recording < 9 and occurrence < 4 and last == 0


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SOUNDMARK_DATASET", "SOUNDMARK_SOUNDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # Jupyter sets its own, which displays figures
    monkeypatch.setenv("SOUNDMARK_EXAMPLE_EPOCHS", "2")
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))


def test_there_are_two_notebooks():
    assert [path.name for path in NOTEBOOKS] == ["urbansound8k.ipynb", "your_sounds.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_its_stored_outputs_are_synthetic(path: Path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < MAX_BYTES
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    text = path.read_text(encoding="utf-8")
    assert not [name[0] for name in CLIP_NAME.finditer(text) if not is_synthetic(name)]
    assert not [path for path in ("/tmp/", "/home/", "/root/", "/work/") if path in output_text(notebook)]  # noqa: S108


def test_file_names_of_real_clips_are_not_synthetic(urbansound8k: Path):
    names = [path.name for path in (urbansound8k / "audio").rglob("*.wav")]
    assert len(names) > 2000
    assert not [name for name in names if is_synthetic(CLIP_NAME.fullmatch(name))]  # type: ignore[arg-type]


@pytest.mark.long(200)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_synthetic_sounds(path: Path, tmp_path: Path):
    notebook = execute(path, tmp_path)
    assert count_images(notebook) >= 5
    text = output_text(notebook)
    assert "air_conditioner" in text or "dog_bark" in text
    assert "Traceback" not in text


@pytest.mark.long(600)
def test_the_urbansound8k_notebook_runs_on_real_clips(
    urbansound8k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(
        "SOUNDMARK_DATASET", str(copy_some_clips(urbansound8k, tmp_path / "UrbanSound8K", each=REAL_CLIPS))
    )
    notebook = execute(EXAMPLES / "urbansound8k.ipynb", tmp_path)
    assert count_images(notebook) >= 7
    assert "UrbanSound8K" in output_text(notebook)
