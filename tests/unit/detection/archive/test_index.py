"""An index of an archive: complete after any interruption; search and suggestions against a plain computation."""

import json
import os
import shutil
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import pytest

import soundmark as sm
from soundmark import audio
from soundmark.detection.archive import store
from soundmark.detection.archive.indexing import build_index
from soundmark.detection.file_result import FileResult
from soundmark.detection.inputs import Input
from soundmark.detection.results_folder import write_files_table
from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.models.bundle import Bundle
from soundmark.runtime import locks
from support.models import tone_embedder, tone_model
from support.servers import QuietHandler, serving

RATE_HZ = 22_050


def tone(hz: float, seconds: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.003, int(seconds * RATE_HZ))
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(len(noise)) / RATE_HZ) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Recordings of 4.5 s with low and with high tones, and one of each kind in halves."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(4):
        audio.write(folder / "low" / f"{number}.wav", tone(200 + 20 * number, 4.5, number), RATE_HZ)
        audio.write(folder / "high" / f"{number}.wav", tone(5000 + 300 * number, 4.5, number), RATE_HZ)
    audio.write(folder / "both.wav", np.concatenate([tone(210, 2.0), tone(5200, 2.0)]), RATE_HZ)
    return folder


@pytest.fixture(scope="module")
def model() -> sm.Model:
    return tone_embedder()


@pytest.fixture(scope="module")
def index(archive: Path, model: sm.Model, tmp_path_factory) -> sm.Index:
    return sm.Index.build(archive, model, tmp_path_factory.mktemp("index") / "index", quiet=True)


def embeddings(index: sm.Index) -> np.ndarray:
    """Those of all windows, computed anew from the files."""
    return np.concatenate([index.model.embed(recording.path) for recording in index.recordings])


def test_each_window_has_the_scores_and_the_embedding_that_the_model_gives(index: sm.Index, model: sm.Model):
    table = index.to_dataframe()
    assert len(index) == len(table) == sum(recording.windows for recording in index.recordings) == 8 * 5 + 4
    for recording in index.recordings:
        rows, scores = table[table["file"] == recording.path], model.scores(recording.path)
        np.testing.assert_allclose(rows[list(model.classes)], scores.probabilities, atol=1e-6)
        np.testing.assert_array_equal(rows["start_s"], scores.start_s)
        np.testing.assert_array_equal(rows["stop_s"], scores.stop_s)
        sound = audio.read(recording.path)
        first_db = 10 * np.log10(np.mean(np.square(sound.samples[:RATE_HZ], dtype=np.float64)))
        assert rows["level_dbfs"].iloc[0] == pytest.approx(first_db, abs=0.01)
    stored = store.read_records(index.folder, store.read_parameters(index.folder))["embedding"]
    np.testing.assert_allclose(stored, embeddings(index), rtol=1e-3, atol=1e-2)


def test_any_number_of_jobs_gives_the_same_index(archive: Path, model: sm.Model, tmp_path: Path):
    found = []
    for jobs in (1, 3):
        sm.Index.build(archive, model, tmp_path / str(jobs), jobs=jobs, quiet=True)
        found.append((tmp_path / str(jobs) / store.RECORDS).read_bytes())
    assert found[0] == found[1]


def test_only_new_and_changed_recordings_are_read_again(archive: Path, model: sm.Model, tmp_path: Path):
    for number in range(3):
        audio.write(tmp_path / "sounds" / f"{number}.wav", tone(300, 1.0, number), RATE_HZ)
    first = sm.Index.build(tmp_path / "sounds", model, tmp_path / "index", quiet=True)
    audio.write(tmp_path / "sounds" / "1.wav", tone(6000, 2.0), RATE_HZ)
    os.utime(tmp_path / "sounds" / "1.wav", (time.time() + 10,) * 2)
    audio.write(tmp_path / "sounds" / "3.wav", tone(300, 1.0, 3), RATE_HZ)
    files = [Input(str(path), path.name) for path in sorted((tmp_path / "sounds").iterdir())]
    done = build_index(files, model, tmp_path / "index")
    assert (done.added, done.known) == (2, 2)
    assert done.summary_lines[0] == "Indexed 2 recordings; 2 were indexed before."
    second = sm.Index.open(tmp_path / "index")
    assert len(first) == 3
    assert len(second) == 5
    low = second.to_dataframe().groupby("file")["low"].mean()
    assert low[str(tmp_path / "sounds" / "1.wav")] < 0.1 < low[str(tmp_path / "sounds" / "0.wav")]


def test_files_that_cannot_be_read_are_named_and_tried_again(model: sm.Model, tmp_path: Path):
    (tmp_path / "broken.wav").write_text("no sound")
    index = sm.Index.build([tmp_path / "broken.wav", tmp_path / "none.wav"], model, tmp_path / "index", quiet=True)
    assert len(index) == 0
    assert ["broken.wav" in index.failures[0].reason, "none.wav" in index.failures[1].reason] == [True, True]
    assert list(index.suggest()) == []
    assert list(index.search(tone(300, 1.0), RATE_HZ)) == []
    audio.write(tmp_path / "broken.wav", tone(300, 1.0), RATE_HZ)
    assert len(sm.Index.build(tmp_path / "broken.wav", model, tmp_path / "index", quiet=True)) == 1


def test_similar_windows_are_those_of_a_plain_computation(archive: Path, index: sm.Index):
    x = embeddings(index).astype(np.float16).astype(np.float64)
    spread = x.std(0) + 2e-3 * abs(x.mean(0)) + 1e-6
    z = (x - x.mean(0)) / spread
    wanted = (index.model.embed(archive / "low" / "2.wav") - x.mean(0)) / spread
    cosine = z @ wanted.T / (np.linalg.norm(z, axis=1)[:, None] * np.linalg.norm(wanted, axis=1))
    files = np.repeat([found.path for found in index.recordings], [found.windows for found in index.recordings])
    expected = np.where(files == str(archive / "low" / "2.wav"), -9, cosine.max(1))
    found = index.search(archive / "low" / "2.wav", n=12)
    np.testing.assert_allclose([window.similarity for window in found], np.sort(expected)[::-1][:12], atol=2e-3)
    assert {Path(window.file).parent.name for window in found} <= {"low", archive.name}


def test_a_part_of_a_file_and_several_sounds_are_searched_for(archive: Path, index: sm.Index):
    high = index.search(archive / "both.wav", n=6, start_s=2.5, stop_s=3.5)
    assert {window.label for window in high} == {"high"}
    both = index.search([archive / "low" / "0.wav", archive / "high" / "0.wav"], n=30)
    assert {window.label for window in both} == {"low", "high"}
    assert archive / "low" / "0.wav" not in {Path(window.file) for window in both}
    own = index.search(archive / "low" / "0.wav", n=5, same_file=True)
    assert [window.similarity for window in own] == pytest.approx([1.0] * 5, abs=2e-3)
    assert {window.file for window in own} == {str(archive / "low" / "0.wav")}


def test_labelled_windows_are_not_suggested_again(archive: Path, index: sm.Index):
    first = index.suggest(4)
    clips = [
        sm.Clip(path=Path(window.file), start_s=window.start_s, stop_s=window.stop_s, label="low") for window in first
    ]
    second = index.suggest(len(index), labelled=clips)
    assert len(second) == len(index) - 4
    assert not {(w.file, w.start_s) for w in first} & {(w.file, w.start_s) for w in second}


def test_a_filled_in_table_of_suggestions_is_a_data_set(index: sm.Index, tmp_path: Path):
    table = index.suggest(6).to_csv()
    lines = [line.replace(",,", f",{('yes', 'no')[number % 2]},", 1) for number, line in enumerate(table.splitlines())]
    (tmp_path / "labels.csv").write_text("\n".join([table.splitlines()[0], *lines[1:]]) + "\n")
    data = sm.Dataset.open(tmp_path / "labels.csv")
    assert len(data) == 6
    assert sorted(data.classes) == ["no", "yes"]
    assert json.loads(index.suggest(1).to_json())[0]["label"] in index.classes


def test_an_index_of_another_model_or_overlap_is_kept(archive: Path, model: sm.Model, tmp_path: Path):
    file, folder = archive / "both.wav", tmp_path / "index"
    sm.Index.build(file, model, folder, quiet=True)
    with pytest.raises(SettingsError, match="was made with another model: choose a new folder with -o, or discard"):
        sm.Index.build(file, tone_embedder(2.0), folder, quiet=True)
    with pytest.raises(SettingsError, match="was made with overlap 0: give the same overlap"):
        sm.Index.build(file, model, folder, overlap=0.5, quiet=True)
    assert len(sm.Index.open(folder)) == 4
    assert len(sm.Index.build(file, model, folder, overlap=0.5, fresh=True, quiet=True)) == 7


def test_what_cannot_be_indexed_is_refused(archive: Path, index: sm.Index, tmp_path: Path):
    with pytest.raises(BundleError, match="has no embedding output: train one with the recipe transfer or scratch"):
        sm.Index.build(archive, tone_model(), tmp_path / "index", quiet=True)
    with pytest.raises(SettingsError, match=r'standard input \("-"\) cannot be indexed'):
        sm.Index.build("-", tone_embedder(), tmp_path / "index", quiet=True)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match=r'is not an index: it contains "thesis.txt"'):
        sm.Index.build(archive, tone_embedder(), tmp_path / "foreign", quiet=True)
    with pytest.raises(SettingsError, match=r'the index has no class "lo". Did you mean "low"'):
        index.suggest(label="lo")
    with pytest.raises(SettingsError, match="n is 0: expected a whole number of windows, at least 1"):
        index.search(archive / "both.wav", n=0)
    with pytest.raises(SettingsError, match="start and stop are those of one file"):
        index.search([archive / "both.wav", archive / "low" / "0.wav"], start_s=1.0)


def test_a_replaced_model_is_refused(archive: Path, model: sm.Model, tmp_path: Path):
    folder = tmp_path / "index"
    index = sm.Index.build(archive / "both.wav", model, folder, quiet=True)
    tone_embedder(2.0).save(folder / store.MODEL)
    with pytest.raises(BundleError, match=r'"model.onnx" is not the model that computed the index ".*": make it again'):
        index.search(archive / "both.wav")


def test_a_description_of_other_classes_or_another_embedding_is_refused(archive: Path, model: sm.Model, tmp_path: Path):
    index = sm.Index.build(archive / "both.wav", model, tmp_path / "index", quiet=True)
    path = tmp_path / "index" / store.PARAMETERS
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"classes": ["a", "b", "c"]}))
    with pytest.raises(BundleError, match=r'"model.onnx" is not the model that computed the index'):
        sm.Index.open(tmp_path / "index").search(archive / "both.wav")
    path.write_text(json.dumps(values | {"embedding_size": 32}))
    with pytest.raises(SettingsError, match=r"is damaged: its embeddings have 32 values, those of its model 64"):
        sm.Index.open(tmp_path / "index").search(archive / "both.wav")
    assert len(index) == 4


def test_embeddings_beyond_half_precision_are_limited(archive: Path, tmp_path: Path):
    model = tone_embedder()
    graph = onnx.load_from_string(model.bundle.graph)
    graph.graph.node[-1].CopyFrom(onnx.helper.make_node("Mul", ["flat", "large"], ["embedding"]))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1e4), "large"))
    large = sm.Model(Bundle(graph.SerializeToString(), model.card))
    index = sm.Index.build(archive / "both.wav", large, tmp_path / "index", quiet=True)
    assert len(index) == 4
    assert np.abs(index.embeddings()).max() == np.finfo(np.float16).max


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_that_ended_between_model_and_description_is_repeated(
    archive: Path, model: sm.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
):
    folder = tmp_path / "index"
    if fresh:
        sm.Index.build(archive / "both.wav", tone_embedder(2.0), folder, quiet=True)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt("here")

    with monkeypatch.context() as patch:
        patch.setattr("soundmark.detection.archive.indexing.atomic.write_text", interrupted)
        with pytest.raises(KeyboardInterrupt, match="here"):
            sm.Index.build(archive / "both.wav", model, folder, fresh=fresh, quiet=True)
    index = sm.Index.build(archive / "both.wav", model, folder, quiet=True)
    assert (len(index), index.model.bundle.digest) == (4, model.bundle.digest)


@pytest.mark.parametrize("ranges", [True, False])
def test_recordings_at_urls_keep_their_address(archive: Path, model: sm.Model, tmp_path: Path, ranges: bool):
    """A server without ranges does not say which content it has: the recording is indexed again each time."""
    content = (archive / "both.wav").read_bytes()
    with served(content, ranges=ranges) as address:
        url = f"{address}/both.wav"
        for _ in range(2):
            index = sm.Index.build(url, model, tmp_path / "index", quiet=True)
            assert ([found.path for found in index.recordings], len(index), index.failures) == ([url], 4, ())
    assert {found.file for found in index.search(tone(300, 1.0), RATE_HZ)} == {url}
    written = (tmp_path / "index" / store.JOURNAL).read_text().splitlines()
    assert len(written) == (1 if ranges else 2)


def served(content: bytes, *, ranges: bool):
    """A server that sends ``content`` for each address, in ranges with an ETag, or always as a whole."""

    class Handler(QuietHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            body = content[first : last + 1] if ranges else content
            self.send_response(206 if ranges else 200)
            if ranges:
                self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(content)}")
                self.send_header("ETag", '"v1"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # the identity needs the headers only
                self.wfile.write(body)

    return serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler))


@pytest.fixture
def results(archive: Path, model: sm.Model, tmp_path: Path, cache: Path) -> Path:
    """The results folder of two recordings, ``sounds/low.wav`` and ``sounds/high.wav``; the cache is empty."""
    (tmp_path / "sounds").mkdir()
    for name in ("low", "high"):
        shutil.copy(archive / name / "0.wav", tmp_path / "sounds" / f"{name}.wav")
    sm.analyze(tmp_path / "sounds", model, tmp_path / "results", quiet=True)
    return tmp_path / "results"


def names(index: sm.Index) -> set[str]:
    return {Path(recording.path).name for recording in index.recordings}


def lines(index: sm.Index) -> int:
    """Recordings that were written to the index, in all runs."""
    return len((index.folder / store.JOURNAL).read_text().splitlines())


def test_the_recordings_of_a_results_folder_are_indexed_in_the_cache(
    results: Path, model: sm.Model, cache: Path, caplog
):
    index = sm.Index.of_results(results, model, quiet=True)
    assert cache in index.folder.parents
    plain = sm.Index.build(results.parent / "sounds", model, results.parent / "index", quiet=True)
    assert index.to_dataframe().equals(plain.to_dataframe())
    assert (index.failures, caplog.messages) == ((), [])
    assert sm.Index.open(index.folder).model.bundle.digest == model.bundle.digest


def test_the_next_call_adds_what_is_new_and_leaves_out_what_the_results_no_longer_name(
    archive: Path, results: Path, model: sm.Model
):
    sounds = results.parent / "sounds"
    first = sm.Index.of_results(results, model, quiet=True)
    assert (names(sm.Index.of_results(results, model, quiet=True)), lines(first)) == ({"low.wav", "high.wav"}, 2)
    shutil.copy(archive / "both.wav", sounds)
    sm.analyze([sounds / "both.wav", sounds / "low.wav"], model, results, quiet=True)
    second = sm.Index.of_results(results, model, quiet=True)
    assert (second.folder, names(second), lines(first)) == (first.folder, {"both.wav", "low.wav"}, 3)
    assert second.scores("low").shape == (len(second),) == (4 + 5,)


def test_an_interrupted_index_of_a_results_folder_is_resumed(results: Path, model: sm.Model, monkeypatch):
    add = store.IndexWriter.add

    def stopped(self: store.IndexWriter, *arguments: object, **others: object) -> None:
        if self.keys:
            raise KeyboardInterrupt("here")
        add(self, *arguments, **others)

    with monkeypatch.context() as patch:
        patch.setattr(store.IndexWriter, "add", stopped)
        with pytest.raises(KeyboardInterrupt, match="here"):
            sm.Index.of_results(results, model, quiet=True)
    index = sm.Index.of_results(results, model, quiet=True)
    assert (names(index), lines(index)) == ({"low.wav", "high.wav"}, 2)


def test_results_folders_and_models_do_not_mix(results: Path, model: sm.Model, caplog):
    sounds, others = results.parent / "sounds", results.parent / "others" / "results"
    sm.analyze(sounds / "low.wav", model, others, quiet=True)
    found = [sm.Index.of_results(folder, model, quiet=True) for folder in (results, others)]
    assert ([names(index) for index in found], caplog.messages) == ([{"low.wav", "high.wav"}, {"low.wav"}], [])
    found.append(sm.Index.of_results(results, tone_embedder(2.0), quiet=True))
    assert (len({index.folder for index in found}), found[2].windows([0])[0].stop_s) == (3, 2.0)
    assert caplog.messages == [
        f'"{results}" was made with another model: its events are those of that model, the scores of windows those of '
        "this one."
    ]


def test_recordings_that_are_gone_are_named_and_left_out(results: Path, model: sm.Model):
    sounds = results.parent / "sounds"
    assert len(sm.Index.of_results(results, model, quiet=True)) == 10
    (sounds / "low.wav").unlink()
    index = sm.Index.of_results(results, model, quiet=True)
    assert names(index) == {"high.wav"}
    assert [failure.reason.partition(":")[0] for failure in index.failures] == [
        f'"{sounds / "low.wav"}" does not exist'
    ]
    (sounds / "high.wav").unlink()
    with pytest.raises(SettingsError, match=r'none of the 2 recordings in ".*" can be indexed: ".*high.wav" does not'):
        sm.Index.of_results(results, model, quiet=True)


def test_relative_paths_are_those_of_the_folder_in_which_the_recordings_were_classified(
    results: Path, model: sm.Model, monkeypatch
):
    monkeypatch.chdir(results.parent)
    sm.analyze("sounds", model, "other", quiet=True)
    assert len(sm.Index.of_results("other", model, quiet=True)) == 10
    monkeypatch.chdir(results)
    with pytest.raises(SettingsError, match=r"does not exist.* Its paths are relative: run this in the folder in"):
        sm.Index.of_results("../other", model, quiet=True)


def test_recordings_that_have_changed_are_named_and_indexed_as_they_are_now(results: Path, model: sm.Model, caplog):
    sounds = results.parent / "sounds"
    shutil.copy(sounds / "high.wav", sounds / "low.wav")
    index = sm.Index.of_results(results, model, quiet=True)
    (message,) = caplog.messages
    assert message.startswith(f'"{results}": 1 recording changed or moved since classify was run; the index has the')
    assert message.endswith('sounds/low.wav".')
    assert index.to_dataframe().groupby("file")["low"].mean()[str(sounds / "low.wav")] < 0.1


def test_an_unfinished_results_folder_has_the_recordings_so_far(results: Path, model: sm.Model, caplog):
    (results / "files.csv").unlink()
    assert names(sm.Index.of_results(results, model, quiet=True)) == {"low.wav", "high.wav"}
    assert caplog.messages == [
        f'"{results}" is unfinished: its 2 recordings so far are indexed. Run this again when classify has ended.'
    ]
    (results / "journal.jsonl").write_bytes(b"")
    with pytest.raises(SettingsError, match="contains no recording that was classified"):
        sm.Index.of_results(results, model, quiet=True)


def test_recordings_at_urls_and_from_pipes(archive: Path, results: Path, model: sm.Model, caplog):
    with served((archive / "both.wav").read_bytes(), ranges=True) as address:
        url = f"{address}/both.wav"
        answer = [{"label": "low", "score": 0.9}]
        found = [FileResult(file=file, duration_s=4.0, answer=answer, events=[]) for file in (url, "-")]
        write_files_table(results / "files.csv", found)
        for _ in range(2):
            index = sm.Index.of_results(results, model, quiet=True)
            assert [recording.path for recording in index.recordings] == [url]
            assert [failure.reason for failure in index.failures] == [
                f'a recording in "{results}" was read from standard input: it cannot be indexed.'
            ]
        assert (lines(index), caplog.messages) == (1, [])


def test_what_is_not_a_results_folder_or_is_damaged(results: Path, model: sm.Model, cache: Path):
    with pytest.raises(SettingsError, match=r'results" is a results folder of .*, with -m \(in Python, Index.of_'):
        sm.Index.open(results)
    with pytest.raises(SettingsError, match="is not a results folder: classify -o makes one"):
        sm.Index.of_results(results.parent / "sounds", model, quiet=True)
    with pytest.raises(BundleError, match="has no embedding output"):
        sm.Index.of_results(results, tone_model(), quiet=True)
    assert not cache.exists()
    (results / "files.csv").write_text("path\na.wav\n")
    with pytest.raises(SettingsError, match=r"files.csv\" cannot be read: the file is damaged"):
        sm.Index.of_results(results, model, quiet=True)


def test_a_damaged_index_in_the_cache_is_made_again(results: Path, model: sm.Model):
    index = sm.Index.of_results(results, model, quiet=True)
    (index.folder / store.PARAMETERS).write_text("{}")
    assert len(sm.Index.of_results(results, model, quiet=True)) == 10


def test_a_cache_that_is_in_use_or_cannot_be_written(results: Path, model: sm.Model, tmp_path: Path, monkeypatch):
    folder, taken, done = sm.Index.of_results(results, model, quiet=True).folder, threading.Event(), threading.Event()

    def other() -> None:
        with locks.exclusive(folder):
            taken.set()
            done.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    taken.wait(30)
    monkeypatch.setattr("logging.Logger.warning", lambda *message: done.set())
    assert len(sm.Index.of_results(results, model, quiet=True)) == 10
    assert done.is_set()
    thread.join(30)
    (tmp_path / "full").touch()
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "full"))
    with pytest.raises(OutputError, match="or set SOUNDMARK_CACHE to another folder"):
        sm.Index.of_results(results, model, quiet=True)
