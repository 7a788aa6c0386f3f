"""``Inspection`` in notebooks: repr, HTML, DataFrame and figure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark.datasets import Dataset
from soundmark.datasets.inspection import Encoding, Finding, Inspection, inspect
from soundmark.errors import DatasetError, SettingsError


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two identical dog clips in two folds, a silent cat clip, and a file that cannot be decoded."""
    rng = np.random.default_rng(0)
    bark = 0.5 * rng.uniform(-1, 1, 8000)
    for name, samples in {"dog/fold1/a": bark, "dog/fold2/b": bark, "cat/fold1/c": np.zeros(4000)}.items():
        path = tmp_path / "pets" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, 8000)
    (tmp_path / "pets/cat/fold1/d.wav").write_bytes(b"no sound")
    return tmp_path / "pets"


def test_inspect_accepts_a_path_or_a_data_set(pets):
    by_path, by_data = (inspect(argument, jobs=1, quiet=True) for argument in (str(pets), Dataset.open(pets)))
    assert repr(by_path) == repr(by_data)
    with pytest.raises(DatasetError):
        inspect(pets / "none", quiet=True)


def test_progress_is_shown_on_standard_error_unless_quiet(pets, capfd):
    inspect(pets, jobs=1)
    output = capfd.readouterr()
    assert "inspecting" in output.err
    assert output.out == ""
    inspect(pets, jobs=1, quiet=True)
    assert capfd.readouterr() == ("", "")


def test_the_repr_has_durations_encodings_and_faults(pets):
    lines = repr(inspect(pets, jobs=1, quiet=True)).splitlines()
    assert lines[0].startswith('Inspection of "pets": 4 of 4 clips (100 %), 2 classes')
    assert lines[1] == "  durations: 0.500 s to 1.000 s, median 1.000 s; 2.5 s in all"
    assert lines[2] == "  encodings: WAV PCM_16, 8 kHz, mono (3)"
    assert lines[3] == "  faults:    1 unreadable clip; 1 silent clip; 1 group of identical clips"


def test_one_clip_is_described_in_the_singular_and_without_a_range(tmp_path):
    (tmp_path / "pets" / "dog").mkdir(parents=True)
    soundfile.write(tmp_path / "pets" / "dog" / "rex.wav", 0.5 * np.sin(np.arange(8000)), 8000)
    data = Dataset.open(tmp_path / "pets")
    lines = repr(inspect(data, jobs=1, quiet=True)).splitlines()
    assert lines[:2] == [
        'Inspection of "pets": 1 of 1 clip (100 %), 1 class',
        "  durations: 1.000 s each; 1.0 s in all",
    ]
    assert repr(data).splitlines()[0] == 'Dataset "pets": 1 clip'
    summary = data.summary().splitlines()
    assert (summary[1], summary[4]) == ("classes     1, with 1 clip each", "durations   1.0 s each; 1.0 s in all")
    assert "1 clip, 1 class, recordings" in data._repr_html_()


def test_repr_and_html_have_a_bounded_length():
    findings = tuple(Finding(f"{i}.wav", "dog", 1, "all samples are zero") for i in range(8732))
    large = Inspection(
        name="a long name" * 1000,
        root=Path("/data"),
        share="8 732 of 8 732 clips (100 %)",
        classes=tuple(f"class {i}" for i in range(527)),
        folds=(1,),
        counts=np.ones((527, 1), np.int64),
        clips=np.array([8732]),
        unlabelled=np.array([0]),
        durations_s=np.ones(8732),
        encodings=tuple(Encoding("WAV", "PCM_16", rate, 1, 1) for rate in range(8000, 9000)),
        silent=findings,
        clipped=findings,
        truncated=findings,
        duplicates=(),
        recordings_in_folds=(),
        recordings_and_class_in_folds=(),
        unreadable=(),
        skipped=(),
    )
    assert len(repr(large)) <= 2000
    assert "8732 silent clips" in repr(large)
    assert len(large._repr_html_()) < 200_000


def test_the_html_has_tables_of_faults(pets):
    html = inspect(pets, jobs=1, quiet=True)._repr_html_()
    assert "<td>cat/fold1/c.wav</td><td>cat</td><td>1</td><td>all samples are zero</td>" in html
    assert "<b>Identical clips</b>" in html


def test_a_data_frame_has_a_row_per_problem(pets):
    table = inspect(pets, jobs=1, quiet=True).to_dataframe()
    assert list(table.columns) == ["problem", "path", "label", "fold", "detail"]
    by_problem = {problem: rows["path"].tolist() for problem, rows in table.groupby("problem")}
    assert by_problem == {
        "unreadable": ["cat/fold1/d.wav"],
        "silent": ["cat/fold1/c.wav"],
        "identical": ["dog/fold1/a.wav", "dog/fold2/b.wav"],
    }
    identical = table[table["problem"] == "identical"]
    assert identical["fold"].tolist() == [1, 2]
    assert identical["detail"].tolist() == ["same files as dog/fold2/b.wav", "same files as dog/fold1/a.wav"]


def test_the_plot_has_four_axes_on_one_pyplot_figure(pets):
    from matplotlib import pyplot

    axes = inspect(pets, jobs=1, quiet=True).plot()
    assert [one.get_title() for one in axes.flat] == ["Clips per class and fold", "Durations", "Encodings", "Faults"]
    assert pyplot.get_fignums() == [axes[0, 0].figure.number]


def test_save_writes_the_format_of_the_suffix_and_closes_the_figure(pets, tmp_path):
    from matplotlib import pyplot

    found = inspect(pets, jobs=1, quiet=True)
    found.save(str(tmp_path / "new" / "pets.pdf"))
    assert (tmp_path / "new" / "pets.pdf").read_bytes()[:4] == b"%PDF"
    assert pyplot.get_fignums() == []
    with pytest.raises(SettingsError, match='there is no image format "gif2"'):
        found.save(tmp_path / "pets.gif2")


@pytest.mark.parametrize("name", [r"a$\frac{$b", "a$b$", r"\$a$"])
def test_a_name_with_dollar_signs_is_not_a_formula(city, name, tmp_path):
    data = replace(
        city,
        name=name,
        classes=tuple(f"{label}{name}" for label in city.classes),
        clips=tuple(replace(clip, label=f"{clip.label}{name}") for clip in city.clips),
    )
    inspect(data, jobs=1).save(tmp_path / "data.svg")
    assert (tmp_path / "data.svg").stat().st_size > 1000
