"""``Dataset`` and ``Clip`` in notebooks: indexing, text, tables, arrays, figures and audio player."""

import io
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundmark import audio
from soundmark.datasets import Clip, Dataset, Skipped, description, features
from soundmark.datasets.dataset import ClipIndexError
from soundmark.errors import AudioError, DatasetError, SettingsError
from soundmark.spectrograms import LogMel, Mel

COLUMNS = ["path", "label", "start_s", "stop_s", "fold", "source", "salience", "time"]
MOST_CHARS = 2000

pytestmark = pytest.mark.usefixtures("cache")


def large_dataset(n_clips: int, n_classes: int, *, multi_label: bool = False, folds: int = 10) -> Dataset:
    """A data set whose files do not exist."""
    classes = tuple(f"A class with a rather long name, number {i}" for i in range(n_classes))
    clips = tuple(
        Clip(
            path=Path(f"/data/audio/fold{i % folds + 1}/{i}.wav"),
            label=";".join(classes[i % n_classes :][:300]) if multi_label else classes[i % n_classes],
            fold=i % folds + 1,
            source=str(i // 3),
        )
        for i in range(n_clips)
    )
    skipped = tuple(Skipped(f"missing/{i}.wav", "row 5: the file does not exist") for i in range(1000))
    return Dataset(
        name="large", root=Path("/data"), classes=classes, clips=clips, multi_label=multi_label, skipped=skipped
    )


def multi_label_dataset(tmp_path: Path) -> Dataset:
    """Three clips: one with both classes, one with the second class, one without a class."""
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * np.sin(np.arange(8000) * (i + 1) / 9), 8000)
    clips = tuple(Clip(path=tmp_path / f"{i}.wav", label=label) for i, label in enumerate(["dog; siren", "siren", ""]))
    return Dataset(name="street", root=tmp_path, classes=("dog", "siren"), clips=clips, multi_label=True)


# --- Length, iteration, indexing --------------------------------------------------------------------------------------


def test_a_data_set_is_a_sequence_of_clips(city):
    assert len(city) == 60
    assert list(city) == list(city.clips)
    assert city.clips[7] in city
    assert next(reversed(city)) == city.clips[-1]


@pytest.mark.parametrize("index", [3, -57, np.int64(3), np.uint8(3), np.array([3])[0]])
def test_indexing_with_a_whole_number_returns_a_clip(city, index):
    assert city[index] is city.clips[3]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(2, 5), [2, 3, 4]),
        (slice(None, None, -30), [59, 29]),
        (slice(70, None), []),
        ([4, 0, -1], [4, 0, 59]),
        ([4, 4], [4, 4]),
        ([], []),
        ((1, 2), [1, 2]),
        (np.array([5, 1], np.uint8), [5, 1]),
        (range(2), [0, 1]),
        ([i == 6 for i in range(60)], [6]),
    ],
)
def test_indexing_with_a_slice_a_list_or_a_mask_returns_a_data_set(city, index, expected):
    chosen = city[index]
    assert isinstance(chosen, Dataset)
    assert list(chosen) == [city.clips[i] for i in expected]
    assert (chosen.classes, chosen.name, chosen.window_s) == (city.classes, city.name, city.window_s)


def test_indexing_select_and_without_accept_a_mask(city):
    mask = city.labels == 2
    assert {clip.label for clip in city[mask]} == {"children_playing"}
    assert city.select(mask) == city[mask]
    assert len(city.without(mask)) == 60 - mask.sum()
    assert city[city.to_dataframe()["fold"] == 1].folds == (1,)  # a pandas Series as the mask


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (60, r"clip index 60 is out of range: synthetic city has 60 clips \(0 to 59\)"),
        (-61, "clip index -61 is out of range"),
        ([0, 99], "clip index 99 is out of range"),
        (1.0, "1.0 is not a valid clip index: expected a whole number, a slice, a list of whole numbers or a boolean"),
        ("siren", "'siren' is not a valid clip index"),
        (True, "True is not a valid clip index"),
        ([0.5], r"\[0.5\] is not a valid clip index"),
        ([[0]], r"\[\[0\]\] is not a valid clip index"),
        ([True, False], "the mask has 2 values but synthetic city has 60 clips: give one value per clip"),
    ],
)
def test_an_invalid_index_is_an_error(city, index, message):
    with pytest.raises(ClipIndexError, match=message) as caught:
        city[index]
    assert isinstance(caught.value, IndexError)
    assert isinstance(caught.value, DatasetError)


def test_an_empty_data_set_has_no_valid_index(city):
    assert len(city[:0]) == 0
    with pytest.raises(ClipIndexError, match="clip index 0 is out of range: synthetic city has 0 clips"):
        city[:0][0]


# --- Text and tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_repr_of_a_large_data_set_is_short(multi_label):
    data = large_dataset(8732, 527, multi_label=multi_label)
    for value in (data, data[0], data[:5000], data.clips[8731]):
        assert 20 < len(repr(value)) <= MOST_CHARS
    assert "8 732 of 9 732 clips (89 %)" in repr(data)
    assert "527" in repr(data)
    assert "1000 (see .skipped)" in repr(data)


def test_the_repr_lists_classes_folds_recordings_and_root(city):
    lines = repr(city).splitlines()
    assert lines[0] == 'Dataset "synthetic city": 60 clips'
    assert lines[1].startswith("  classes:    10: air_conditioner, car_horn, ")
    assert lines[2:4] == ["  folds:      1, 2, 3", "  recordings: 30"]
    assert lines[4] == f"  root:       {city.root}"


def test_the_repr_has_no_control_characters_from_file_names_or_labels():
    clip = Clip(path=Path("a\x1b[31m.wav"), label="dog\n")
    data = Dataset(name="\x1b[2Jpets", root=Path("\x07"), classes=("dog\n",), clips=(clip,))
    assert all(character.isprintable() or character == "\n" for value in (data, clip) for character in repr(value))


def test_the_html_table_counts_clips_by_class_and_fold(city):
    html = city._repr_html_()
    assert html.count("<tr>") == 12  # headings, ten classes, totals
    assert html.count("<td>2</td><td>2</td><td>2</td><td>6</td>") == 10
    large = large_dataset(8732, 527)._repr_html_()
    assert "and 477 more classes" in large
    assert len(large) < 20_000
    unsafe = Dataset(name="<b>", root=Path(), classes=("<script>",), clips=(Clip(path=Path("a"), label="<script>"),))
    assert "<script>" not in unsafe._repr_html_()


def test_the_summary_has_counts_and_skipped_files(city):
    text = city.summary()
    assert "60 clips" in text
    assert "1 (20 clips), 2 (20), 3 (20)" in text
    assert text.splitlines()[-1].split() == ["all", "20", "20", "20", "60"]
    text = large_dataset(8732, 527, folds=2).summary()
    assert "missing/0.wav (row 5: the file does not exist); missing/1.wav" in text
    assert "995 more (see .skipped)" in text
    assert "durations   unknown" in text  # no file exists


def test_unknown_durations_are_read_from_file_headers(tmp_path):
    for i, n in enumerate([8000, 16000, 4000]):
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(n), 8000)
    clips = tuple(Clip(path=tmp_path / f"{i}.wav", label="dog") for i in range(3))
    data = Dataset(name="pets", root=tmp_path, classes=("dog",), clips=clips)
    assert "durations   0.5 s to 2.0 s, median 1.0 s; 3.5 s in all" in data.summary()
    with_a_missing_file = replace(data, clips=(*clips, Clip(path=tmp_path / "none.wav", label="dog")))
    assert "median 1.0 s of 3 clips" in with_a_missing_file.summary()


def test_a_data_frame_has_a_row_per_clip(city):
    table = city.to_dataframe()
    assert list(table.columns) == COLUMNS
    assert len(table) == 60
    assert table["path"].tolist() == [city.relative_path(clip) for clip in city]
    assert table["label"].tolist() == [clip.label for clip in city]
    assert table["fold"].tolist() == [clip.fold for clip in city]
    assert str(table["fold"].dtype) == "Int64"
    assert table["stop_s"].isna().all()
    section = replace(city, clips=(replace(city[0], start_s=0.5, stop_s=1.5, fold=None, source=None),))
    row = section.to_dataframe().iloc[0]
    assert (row["start_s"], row["stop_s"]) == (0.5, 1.5)
    assert section.to_dataframe()[["fold", "source"]].isna().all(axis=None)


def test_a_data_frame_of_multi_label_data_can_be_exploded(tmp_path):
    table = multi_label_dataset(tmp_path).to_dataframe()
    assert list(table.columns) == [*COLUMNS[:2], "labels", *COLUMNS[2:]]
    assert table["labels"].tolist() == [("dog", "siren"), ("siren",), ()]
    assert table.explode("labels")["labels"].dropna().tolist() == ["dog", "siren", "siren"]


def test_without_pandas_the_error_states_what_to_install(city, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SettingsError, match=r'a DataFrame needs pandas: pip install "soundmark\[table\]"'):
        city.to_dataframe()


# --- Arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("representation", ["mel", {"name": "mel", "size": [16, 20]}, Mel(size=(16, 20)), "logmel"])
def test_features_are_the_spectrograms_and_labels_of_the_clips(city, representation):
    data = city[[40, 3, 21]]
    X, y = data.features(representation, jobs=1, quiet=True)
    assert X.dtype == np.float32
    assert y.dtype == np.int64
    expected = {"mel": Mel(), "logmel": LogMel().for_window(4.0)}.get(str(representation), Mel(size=(16, 20)))
    assert X.shape == (3, *expected.shape)
    for row, label, clip in zip(X, y, data, strict=True):
        assert (row == features.spectrogram(clip, expected)).all()
        assert data.classes[label] == clip.label


def test_features_of_clips_longer_than_the_window_warn_and_windows_cut_them(tmp_path, caplog):
    for name, seconds in (("a/0", 1.0), ("a/1", 1.0), ("b/0", 1.0), ("b/1", 9.0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        audio.write(tmp_path / f"{name}.wav", np.full(round(seconds * 8000), 0.1, np.float32), 8000)
    data = Dataset.open(tmp_path)
    assert data.window_s == 1.0
    with caplog.at_level(logging.WARNING, "soundmark"):
        assert len(data.features("mel", jobs=1, quiet=True)[0]) == 4  # resized: covers each clip
        assert caplog.text == ""
        assert len(data.features("logmel", jobs=1, quiet=True)[0]) == 4
    assert "a clip is longer than the window of 1 s: logmel covers only the middle of it" in caplog.text
    caplog.clear()
    cut = data.windows()
    X, y = cut.features("logmel", jobs=1, quiet=True)
    assert (len(X), y.tolist(), caplog.text) == (12, [0, 0, *[1] * 10], "")
    assert set(cut.sources) == set(data.sources)
    with pytest.raises(SettingsError, match=r"the window is 0 s: expected a number of seconds above 0"):
        data.windows(0)


def test_features_of_multi_label_data_have_targets(tmp_path):
    X, y = multi_label_dataset(tmp_path).features("mel", jobs=1, quiet=True)
    assert X.shape == (3, 64, 64)
    assert y.tolist() == [[1, 1], [0, 1], [0, 0]]


def test_an_unreadable_clip_is_skipped_in_both_arrays_with_a_warning(city, tmp_path, caplog):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    data = replace(city, clips=(city[0], replace(city[1], path=broken), city[2]))
    with caplog.at_level(logging.WARNING, "soundmark"):
        X, y = data.features("mel", jobs=1, quiet=True)
    assert len(X) == len(y) == 2
    assert (X[1] == city[2].spectrogram("mel")).all()
    assert y.tolist() == city.labels[[0, 2]].tolist()
    [record] = caplog.records
    assert "1 clip was skipped because it cannot be read" in record.message
    assert "broken.wav" in record.message


def test_many_unreadable_clips_give_one_warning(caplog):
    features.warn_skipped([Skipped(f"{i}.wav", "it has no samples") for i in range(8)])
    [record] = caplog.records
    assert record.message.startswith('8 clips were skipped because they cannot be read: "0.wav": it has no samples; ')
    assert "and 3 more" in record.message


@pytest.mark.parametrize("call", ["features", "save_spectrograms", "spectrogram", "plot"])
def test_the_error_for_an_unknown_representation_suggests_the_nearest_name(city, tmp_path, call):
    folder = [tmp_path] if call == "save_spectrograms" else []
    method = getattr(city if hasattr(city, call) and call != "plot" else city[0], call)
    with pytest.raises(SettingsError, match='there is no representation "mell". Did you mean "mel"'):
        method(*folder, "mell")


def test_progress_is_shown_on_standard_error_unless_quiet(city, capfd):
    city[:3].features("mel", jobs=1)
    output = capfd.readouterr()
    assert "mel features" in output.err
    assert output.out == ""
    city[:3].features("mel", jobs=1, fresh=True, quiet=True)
    city[:3].features("image", jobs=1, quiet=True)
    output = capfd.readouterr()
    assert (output.out, output.err) == ("", "")


def test_save_spectrograms_writes_an_image_per_clip(city, tmp_path):
    saved = city[:3].save_spectrograms(str(tmp_path / "images"), jobs=1, quiet=True)
    assert repr(saved) == "SavedImages(count=3, skipped=0, notes=0)"
    assert len(list((tmp_path / "images").rglob("*.png"))) == 3


def test_a_script_with_one_job_needs_no_main_guard(city, tmp_path):
    script = f"""
import soundmark as sm
data = sm.Dataset.open({str(city.root)!r})
X, y = data[:40].features("mel", jobs=1, quiet=True)
data.plot().figure.savefig({str(tmp_path / "bars.png")!r})
data[0].plot("image").figure.savefig({str(tmp_path / "clip.svg")!r})
print(X.shape, y.shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "(40, 64, 64) (40,)\n"
    assert {path.name for path in tmp_path.glob("*.*g")} == {"bars.png", "clip.svg"}


# --- Clips ------------------------------------------------------------------------------------------------------------


def test_a_clip_is_read_from_its_start_to_its_stop(tmp_path):
    samples = np.linspace(-0.9, 0.9, 8000)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    sound = Clip(path=tmp_path / "a.wav", label="dog", start_s=0.25, stop_s=0.5).read()
    assert sound.rate_hz == 8000
    np.testing.assert_allclose(sound.samples, samples[2000:4000], atol=1e-7)


def test_the_repr_of_a_clip_omits_default_values():
    clip = Clip(path=Path("dog/1.wav"), label="dog", stop_s=0.6485250000000002, fold=3, salience="background")
    assert repr(clip) == "Clip(path='dog/1.wav', label='dog', stop_s=0.648525, fold=3, salience='background')"


@pytest.mark.parametrize("rate_hz", [8000, 44100])
def test_the_audio_player_contains_all_samples_at_the_clips_sample_rate(tmp_path, rate_hz):
    pytest.importorskip("IPython", reason="the Jupyter player needs IPython")
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([0.5 * np.sin(np.arange(3000) / 9)] * 2, axis=1), rate_hz)
    samples, rate = soundfile.read(io.BytesIO(Clip(path=path, label="dog").audio().data))
    assert (rate, samples.shape) == (rate_hz, (3000,))
    assert "audio" in Clip(path=path, label="dog").audio()._repr_html_()


def test_the_audio_player_of_silence_is_silent(tmp_path):
    pytest.importorskip("IPython", reason="the Jupyter player needs IPython")
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    samples, _ = soundfile.read(io.BytesIO(Clip(path=tmp_path / "a.wav", label="dog").audio().data))
    assert samples.tolist() == [0.0] * 100


def test_without_ipython_the_error_states_what_to_install(city, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(SettingsError, match="playing a clip needs IPython: pip install ipython"):
        city[0].audio()


def test_every_method_of_an_unreadable_clip_raises_an_error(tmp_path):
    clip = Clip(path=tmp_path / "none.wav", label="dog")
    for method in (clip.read, clip.spectrogram, clip.plot):
        with pytest.raises(AudioError, match=r"none\.wav"):
            method()


# --- Figures ----------------------------------------------------------------------------------------------------------


def test_the_plot_of_a_data_set_has_a_bar_per_class_and_fold(city):
    axes = city.plot()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("clips", "class")
    assert axes.get_title() == "synthetic city: 60 clips"
    assert [label.get_text() for label in axes.get_yticklabels()] == list(city.classes)
    assert [[bar.get_width() for bar in bars] for bars in axes.containers] == [[2] * 10] * 3
    assert [bar.get_x() for bar in axes.containers[2]] == [4] * 10
    assert {text.get_text() for text in axes.texts} == {"6"}


def test_the_plot_of_many_classes_shows_the_most_frequent_ones():
    axes = large_dataset(8732, 527, folds=20).plot()
    assert "the 40 most frequent of 527 classes" in axes.get_title()
    assert len(axes.containers) == 1  # too many folds for separate colours


@pytest.mark.parametrize("n_clips", [0, 1])
def test_a_data_set_of_no_or_one_clip_can_be_plotted(city, n_clips):
    city[:n_clips].plot().figure.canvas.draw()


def test_class_names_with_mathtext_characters_can_be_plotted():
    clips = (Clip(path=Path("a"), label="a$b$c_{"), Clip(path=Path("b"), label="$"))
    data = Dataset(name="$x^", root=Path(), classes=("a$b$c_{", "$"), clips=clips)
    data.plot().figure.canvas.draw()


def test_plots_are_drawn_on_given_axes(city):
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2)
    assert city.plot(ax=left) is left
    assert city[0].plot("mel", ax=right) is right
    assert len(figure.axes) == 2  # no colour bar is added to a given figure


@pytest.mark.parametrize(
    ("representation", "frequency"),
    [("image", "frequency (Hz)"), ("mel", "frequency (Hz, mel scale)"), ("logmel", "frequency (Hz, mel scale)")],
)
def test_the_plot_of_a_clip_has_axes_with_units_and_a_colour_bar(city, representation, frequency):
    axes = city[0].plot(representation)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", frequency)
    assert axes.get_title() == f"air_conditioner: {city[0].path.name}"
    assert axes.get_xlim() == (0, city[0].read().duration_s)
    assert axes.figure.axes[1].get_ylabel() == "level (dB)"
    assert city[0].plot(representation, title="mine").get_title() == "mine"


def test_an_unknown_colour_map_does_not_leave_an_open_figure(city):
    from matplotlib import pyplot

    with pytest.raises(SettingsError, match='there is no colour map "magmaa". Did you mean "magma"'):
        city[0].plot(colours="magmaa")
    assert pyplot.get_fignums() == []


def test_a_file_name_that_is_not_utf_8_is_kept_in_the_data_frame(tmp_path):
    name = "caf\udce9.wav"
    for path in (tmp_path / "dog" / name, tmp_path / "cat" / "mia.wav"):
        path.parent.mkdir()
        path.touch()
    assert Dataset.open(tmp_path).to_dataframe()["path"].tolist() == ["cat/mia.wav", f"dog/{name}"]


# --- Real clips -------------------------------------------------------------------------------------------------------


def test_the_methods_of_a_data_set_of_real_clips(urbansound8k, caplog):
    data = Dataset.open(urbansound8k)
    assert len(data) == 2097
    assert "2 097 of 8 732 clips (24 %)" in repr(data)
    assert data.to_dataframe().groupby("fold").size().to_dict() == {1: 873, 3: 387, 10: 837}
    selected = data[::200]
    X, y = selected.features("image", jobs=1, quiet=True)
    assert y.tolist() == selected.labels.tolist()
    assert all((row == clip.spectrogram("image")).all() for row, clip in zip(X, selected, strict=True))
    assert description.counts(data).by_class.sum() == 2097
    data.plot().figure.canvas.draw()
    for clip in selected:
        samples, rate = soundfile.read(io.BytesIO(clip.audio().data))
        assert rate == clip.read().rate_hz == 22050
        assert len(samples) == len(clip.read().samples)


def test_a_waveform_is_plotted_as_samples(city):
    axes = city[0].plot("waveform")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "amplitude")
    assert axes.get_xlim() == (0, pytest.approx(city[0].read().duration_s, abs=0.01))


def test_the_features_of_a_waveform_are_samples(city):
    x, _ = city[:2].features({"name": "waveform", "rate_hz": 8000, "window_samples": 4000}, jobs=1, quiet=True)
    assert x.shape[1:] == (1, 32_000)  # the window of the data set, 4 s


def test_a_waveform_is_not_saved_as_a_picture(city, tmp_path):
    with pytest.raises(SettingsError, match="a waveform has no frequencies to draw: choose another representation"):
        city[:1].save_spectrograms(tmp_path, "waveform", jobs=1, quiet=True)
