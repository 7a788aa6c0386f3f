"""Windows of archives: their sound and spectrogram, by the name of the archive and a number."""

import io
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import soundmark as sm
from soundmark.audio import Sound
from soundmark.detection import results_folder
from soundmark.errors import SettingsError
from soundmark.models.classifier import Model
from soundmark.serving import archives, server
from soundmark.serving.settings import ServerSettings
from support.archives import tone_archive
from support.models import tone_embedder
from support.serving import Running, running
from unit.serving.test_classify_api import problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An index of three recordings of 6 s with windows of 1 s."""
    return tone_archive(tmp_path_factory.mktemp("archive"), n=3)


@pytest.fixture(scope="module")
def index(folder) -> sm.Index:
    return sm.Index.open(folder)


@pytest.fixture(scope="module")
def server_(folder):
    opened = archives.open_archives([folder])
    with running(opened[0].index.model, archives=opened) as found:
        yield found


def get(server: Running, path: str, **parameters):
    return server.get(f"/v1/archives/index/windows/{path}", params=parameters)


def test_the_archives_are_listed(server_):
    (found,) = server_.get("/v1/archives").json()["archives"]
    assert len(found.pop("revision")) == 16
    assert found == {
        "name": "index", "recordings": 3, "windows": 18, "duration_s": 18.0, "classes": ["low", "high", "background"],
        "likely_windows": {"low": 18, "high": 18, "background": 0},
    }  # fmt: skip


def test_whether_a_folder_has_results_is_asked_once(folder, index, tmp_path, monkeypatch):
    sm.analyze(folder.parent / "recordings", index.model, tmp_path / "results", quiet=True)
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    asked, plain = [], results_folder.is_parameters
    monkeypatch.setattr(results_folder, "is_parameters", lambda path: asked.append(path.parent.name) or plain(path))
    opened = archives.open_archives([tmp_path / "results", folder], index.model, jobs=1)
    assert ([archive.name for archive in opened], asked) == (["results", "index"], ["results"])
    with pytest.raises(SettingsError, match="is not a results folder: .* and `soundmark index` makes an index"):
        archives.open_archives([tmp_path], index.model)


def test_a_review_starts_with_the_class_of_most_likely_windows(tmp_path):
    folder = tone_archive(tmp_path, n=1, levels_db=(-160, -120))
    (archive,) = archives.open_archives([folder])
    assert archive.likely_windows == {"high": 6, "low": 0, "background": 0}
    assert list(archive.likely_windows) == ["high", "low", "background"]
    with running(archive.index.model, archives=[archive]) as server:
        assert server.get("/v1/archives/index/review").json()["class"] == "high"


def test_the_sound_of_a_window_has_a_margin_within_the_recording(server_, index):
    window = index.windows([7])[0]
    recording, rate_hz = soundfile.read(window.file, dtype="int16")
    for margin, start_s, stop_s in ((0.5, 0.5, 2.5), (0, 1.0, 2.0), (5, 0.0, 6.0)):
        found = get(server_, "7/sound", margin=margin)
        assert found.headers["Content-Type"] == "audio/wav"
        samples, rate = soundfile.read(io.BytesIO(found.content), dtype="int16")
        assert rate == rate_hz
        assert (samples == recording[round(start_s * rate_hz) : round(stop_s * rate_hz)]).all()


def test_a_quiet_sound_is_scaled_on_request(server_):
    samples, _ = soundfile.read(io.BytesIO(get(server_, "0/sound", equal_loudness="true").content))
    assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-3)
    silence, _ = soundfile.read(io.BytesIO(archives.wav(Sound(np.zeros(800), 8000), equal_loudness=True)))
    assert not silence.any()


def test_the_spectrogram_of_a_window(server_, index):
    found = get(server_, "7/spectrogram", margin=0.5, **{"class": "high"}).json()
    window = index.windows([7], "high")[0]
    assert found["window"]["score"] == pytest.approx(window.score, rel=1e-5)
    assert (found["number"], found["file"], found["start_s"], found["stop_s"]) == (7, "tones-1.wav", 0.5, 2.5)
    assert (found["window"]["start_s"], found["window"]["label"]) == (1.0, "high")
    (tile,) = found["tiles"]
    assert (tile["start_s"], tile["stop_s"]) == (0.5, 2.5)
    assert len(found["spectrogram"]["frequencies_hz"]) == tile["rows"]


def test_what_does_not_exist_is_not_found(server_, detector):
    detail = problem(server_.get("/v1/archives/none/windows/0/sound"), 404)
    assert detail == 'there is no archive "none": this server has index. See /v1/archives.'
    for path in ("18/sound", "99999999999999999999999/spectrogram"):
        assert problem(get(server_, path), 404) == 'the archive "index" has 18 windows, numbered from 0.'
    for path in ("-1/sound", "../../index.json", "%2e%2e%2f%2e%2e%2fetc%2fpasswd/sound", "1.5/sound"):
        assert problem(get(server_, path), 404)
    assert 'no class "lov". Did you mean "low"?' in problem(get(server_, "0/sound", **{"class": "lov"}), 400)
    assert problem(get(server_, "0/sound", margin=31), 400) == "margin is 31: expected 0 to 30 seconds."
    with running(detector) as without:
        assert without.get("/v1/archives").json() == {"archives": []}
        assert "soundmark serve INDEX" in problem(without.get("/v1/archives/index/windows/0/sound"), 404)


def test_a_recording_that_is_missing_or_damaged(tmp_path):
    (opened,) = archives.open_archives([tone_archive(tmp_path, n=2)])
    first, second = sorted(recording.path for recording in opened.index.recordings)
    with running(opened.index.model, archives=[opened]) as server:
        (tmp_path / "recordings" / "tones-0.wav").unlink()
        detail = problem(get(server, f"{number_of(opened.index, first)}/sound"), 422)
        assert "tones-0.wav" in detail
        assert str(tmp_path) not in detail
        (tmp_path / "recordings" / "tones-1.wav").write_bytes(b"Tuesday: rain")
        detail = problem(get(server, f"{number_of(opened.index, second)}/spectrogram"), 422)
        assert "tones-1.wav" in detail
        assert "cannot be decoded" in detail
        assert str(tmp_path) not in detail
        if hasattr(os, "mkfifo"):  # not waited for
            os.mkfifo(tmp_path / "recordings" / "tones-0.wav")
            detail = problem(get(server, f"{number_of(opened.index, first)}/sound"), 422)
            assert detail == "tones-0.wav is not a regular file."


def test_recordings_without_a_common_folder_keep_their_paths():
    recordings = [SimpleNamespace(path=path, duration_s=1.0) for path in ("/a/b.wav", "c/d.wav")]
    archive = archives.Archive("index", SimpleNamespace(recordings=recordings))
    assert [archive.shown(recording.path) for recording in recordings] == ["/a/b.wav", "c/d.wav"]


def number_of(index: sm.Index, path: str) -> int:
    return next(number for number in range(len(index)) if index.windows([number])[0].file == path)


def test_a_token_is_needed(folder):
    opened = archives.open_archives([folder])
    with running(opened[0].index.model, archives=opened, token="x" * 20) as server:
        for path in ("/v1/archives", "/v1/archives/index/windows/0/sound"):
            assert problem(server.get(path), 401)
            assert server.get(path, headers={"Authorization": f"Bearer {'x' * 20}"}).status_code == 200


def test_archives_of_the_same_name_get_numbers(folder, tmp_path):
    copies = [shutil.copytree(folder, tmp_path / name / "index") for name in ("a", "b")]
    assert [archive.name for archive in archives.open_archives(copies)] == ["index", "index-2"]
    with pytest.raises(SettingsError, match="is given twice"):
        archives.open_archives([copies[0], copies[0]])


def test_results_folders_are_indexed_with_the_model(folder, index, tmp_path, cache):
    results = tmp_path / "june" / "results"
    sm.analyze(folder.parent / "recordings", index.model, results, quiet=True)
    opened = archives.open_archives([results, folder], index.model)
    assert [(found.name, len(found.index)) for found in opened] == [("results", 18), ("index", 18)]
    assert not list(results.glob("**/index.json"))
    with running(index.model, archives=opened, corrections=tmp_path / "corrections") as server:
        sound = server.get("/v1/archives/results/windows/7/sound", params={"margin": 0})
        assert soundfile.info(io.BytesIO(sound.content)).duration == 1.0
        answer = {"class": "low", "window": 7, "decision": "yes"}
        assert server.post("/v1/archives/results/review", json=answer).json()["reviewed"] == 1
        assert server.get("/v1/archives/results/similar", params={"window": 7}).json()["windows"]
    with pytest.raises(SettingsError, match=r'results" is given twice: give it once'):
        archives.open_archives([results, results], index.model)


def test_nothing_is_indexed_before_all_archives_are_accepted(folder, index, tmp_path, cache):
    sm.analyze(folder.parent / "recordings", index.model, tmp_path / "results", quiet=True)
    with pytest.raises(SettingsError, match='results" is a results folder of .* give the model that indexes'):
        archives.open_archives([folder, tmp_path / "results"])
    with pytest.raises(SettingsError, match=r'the index ".*index" was made with another model: leave out -m'):
        archives.open_archives([tmp_path / "results", folder], tone_embedder(2.0))
    assert not cache.exists()


def test_what_is_not_an_index_is_refused(folder, tmp_path, detector):
    with pytest.raises(SettingsError, match="is not an index"):
        archives.open_archives([tmp_path])
    (opened,) = archives.open_archives([folder])
    other = Model(replace(opened.index.model.bundle, card=replace(opened.index.model.card, temperature=2.0)))
    with pytest.raises(SettingsError, match="was made with another model: leave out -m"):
        server.serve(other, ServerSettings(port=0), archives=[opened])
