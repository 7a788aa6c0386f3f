"""Results at a URL of an object store are those of a folder, resume anywhere, and replace nothing of others."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import soundfile

from soundmark.audio.remote import store
from soundmark.detection.analysis import analyze
from soundmark.detection.results_folder import destination
from soundmark.detection.results_folder.merge import merge
from soundmark.errors import OutputError
from support.commands import run_soundmark
from support.object_stores import STORES
from support.sounds import RATE_HZ, tones

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=STORES)
def bucket(request):
    with STORES[request.param]({"foreign/thesis.txt": b"mine"}):
        yield f"{request.param}://sensors"


@pytest.fixture
def url(bucket, tmp_path):
    return f"{bucket}/{tmp_path.name}"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(3):
        samples = tones(3.0, [("low", 1.0, 2.0)] if number else [])
        soundfile.write(folder / f"{number}.wav", samples, RATE_HZ)
    return folder


def contents(url):
    """The objects below ``url``, without the list of them."""
    found = {}
    for name in set(store.contents(url)) - {destination.OBJECTS}:
        with store.open_object(f"{url}/{name}") as file:
            found[name] = file.read()
    return found


def listed(url):
    with store.open_object(f"{url}/{destination.OBJECTS}") as file:
        return json.loads(file.read())["objects"]


def files_of(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def run(sounds, model, url, **options):
    return analyze(sounds, model, url, jobs=1, quiet=True, **options)


def test_results_are_those_of_a_folder(tone_detector, sounds, url, tmp_path):
    here = run(sounds, tone_detector, tmp_path / "out")
    there = run(sounds, tone_detector, url)
    assert there.folder == url
    assert [one.events for one in there] == [one.events for one in here] != [[], [], []]
    assert contents(url) == files_of(tmp_path / "out")
    assert set(listed(url)) == set(contents(url))


def test_another_format_and_fewer_files_leave_nothing_of_the_first_run(tone_detector, sounds, url, tmp_path):
    run(sounds, tone_detector, url)
    (sounds / "2.wav").unlink()
    run(sounds, tone_detector, tmp_path / "out", format="jsonl")
    run(sounds, tone_detector, url, format="jsonl")
    found, expected = contents(url), files_of(tmp_path / "out")
    assert set(found) == set(expected) == set(listed(url))
    assert found["results.jsonl"] == expected["results.jsonl"]


def test_a_run_on_another_machine_resumes(tone_detector, sounds, url, tmp_path):
    tone_detector.save(tmp_path / "model.onnx")
    for machine, resumed in (("a", False), ("b", True)):
        done = run_soundmark(
            "classify", sounds, "-m", tmp_path / "model.onnx", "-o", url, env={"SOUNDMARK_CACHE": tmp_path / machine}
        )
        assert done.returncode == 0, done.stderr
        assert ("3 of them in an earlier run" in done.stderr) == resumed
        assert f"The results are in {url}." in done.stderr


def test_results_in_the_cache_and_at_the_url_are_both_used(tone_detector, sounds, url, tmp_path):
    tone_detector.save(tmp_path / "model.onnx")
    options = ("-m", tmp_path / "model.onnx", "-o", url)
    here, other = {"SOUNDMARK_CACHE": tmp_path / "here"}, {"SOUNDMARK_CACHE": tmp_path / "other"}
    run_soundmark("classify", sounds / "0.wav", *options, env=here)
    for name in store.contents(url):  # as if this run had been interrupted before it copied its results
        store.delete(f"{url}/{name}")
    run_soundmark("classify", sounds / "1.wav", sounds / "2.wav", *options, env=other)
    done = run_soundmark("classify", sounds, *options, env=here)
    assert "3 of them in an earlier run" in done.stderr


def test_copies_of_shards_at_urls_are_merged(tone_detector, sounds, url, tmp_path):
    for number in (1, 2):
        run(sounds, tone_detector, f"{url}/{number}", shard=f"{number}/2")
        for name, content in contents(f"{url}/{number}").items():
            path = tmp_path / "parts" / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    run(sounds, tone_detector, tmp_path / "out")
    merge(tmp_path / "merged", [tmp_path / "parts" / "1", tmp_path / "parts" / "2"])
    assert files_of(tmp_path / "merged") == files_of(tmp_path / "out")


@pytest.mark.parametrize("uploads", [0, 1, 4])
def test_a_run_killed_while_it_copies_is_completed_by_the_next(
    tone_detector, sounds, url, tmp_path, monkeypatch, uploads
):
    monkeypatch.setattr(destination, "UPLOADS", 1)
    run(sounds, tone_detector, url, unknown=False)  # of which some objects are replaced
    real, done = store.upload, []

    def killed(path, url):
        if len(done) == uploads:
            raise KeyboardInterrupt
        done.append(path)
        real(path, url)

    with monkeypatch.context() as patch:
        patch.setattr(store, "upload", killed)
        with pytest.raises(KeyboardInterrupt):
            run(sounds, tone_detector, url, format="jsonl", threshold=0.3)
    assert len(done) == uploads
    run(sounds, tone_detector, url, format="json", threshold=0.4)
    run(sounds, tone_detector, tmp_path / "out", format="json", threshold=0.4)
    found, expected = contents(url), files_of(tmp_path / "out")
    assert {name: found[name] for name in found if name != "journal.jsonl"} == {
        name: expected[name] for name in expected if name != "journal.jsonl"
    }


def test_objects_of_others_are_never_replaced(tone_detector, sounds, bucket, url, cache):
    with pytest.raises(OutputError, match=r'is not a results folder: it contains "thesis.txt". Choose another URL'):
        run(sounds, tone_detector, f"{bucket}/foreign")
    assert contents(f"{bucket}/foreign") == {"thesis.txt": b"mine"}
    run(sounds, tone_detector, url)
    store.write(b"mine", f"{url}/results.jsonl")
    with pytest.raises(OutputError, match=r'/results.jsonl" exists already and was not written by soundmark'):
        run(sounds, tone_detector, url, format="jsonl")
    assert contents(url)["results.jsonl"] == b"mine"


def test_an_object_that_changed_is_kept(tone_detector, sounds, url):
    run(sounds, tone_detector, url)
    changed = contents(url)["files.csv"].swapcase()  # of the same size
    store.write(changed, f"{url}/files.csv")
    with pytest.raises(OutputError, match=r'/files.csv" exists already and changed after soundmark wrote it') as error:
        run(sounds, tone_detector, url, threshold=0.3)
    assert contents(url)["files.csv"] == changed
    local = Path(str(error.value).rpartition("The results are in ")[2].strip('".'))
    assert (local / "files.csv").is_file()


def test_a_run_that_another_one_overtakes_changes_nothing(tone_detector, sounds, url, monkeypatch, tmp_path):
    run(sounds / "0.wav", tone_detector, url)

    def overtaken(objects, path):
        monkeypatch.undo()
        monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "other"))
        run(sounds, tone_detector, url)

    monkeypatch.setattr(destination._Objects, "fetch_journal", overtaken)
    with pytest.raises(OutputError, match="another run has just written to"):
        run(sounds / "1.wav", tone_detector, url)
    assert set(listed(url)) == set(contents(url)), "the list of the other run"
    run(sounds / "1.wav", tone_detector, url)


def test_a_damaged_list_is_refused(tone_detector, sounds, url):
    run(sounds, tone_detector, url)
    before = contents(url)
    store.write(b'{"schema": 1, "objects": {}}', f"{url}/{destination.OBJECTS}")
    with pytest.raises(OutputError, match='soundmark-objects.json" is damaged: choose another URL'):
        run(sounds, tone_detector, url, fresh=True)
    assert contents(url) == before


def test_a_missing_bucket_or_an_unusable_url_is_one_message_before_the_work(tone_detector, sounds, bucket):
    missing = bucket.replace("sensors", "nobody")
    with pytest.raises(OutputError, match=f'the bucket of "{missing}/out" does not exist'):
        run(sounds, tone_detector, f"{missing}/out")
    for other in ("https://example.org/out", "s3://", "ftp://sensors/out", "s3://[x/june", "S3://sensors/june"):
        with pytest.raises(OutputError, match="results cannot be written to .*: give s3://… or gs://…, or a folder"):
            run(sounds, tone_detector, other)


def test_an_object_with_the_name_of_the_folder_is_not_in_it(tone_detector, sounds, url):
    store.write(b"mine", url)
    run(sounds, tone_detector, url)
    assert "files.csv" in contents(url)
    with store.open_object(url) as file:
        assert file.read() == b"mine"


def test_a_name_with_a_version_replaces_no_other_object(tone_detector, sounds, url):
    (sounds / "0.wav").rename(sounds / "0.wav?versionId=1")
    refused = pytest.raises(OutputError, match="versions of objects are not supported")
    with refused if url.startswith("s3") else nullcontext():
        analyze([str(sounds / "0.wav?versionId=1")], tone_detector, url, jobs=1, quiet=True)
    assert "files/0.wav" not in contents(url)


def test_the_store_fails_while_results_are_copied(tone_detector, sounds, url, monkeypatch):
    def fails(path, url):
        raise OSError("slow down")

    with monkeypatch.context() as patch:
        patch.setattr(store, "upload", fails)
        with pytest.raises(OutputError, match="results cannot be copied to .*: slow down"):
            run(sounds, tone_detector, url)
    assert len(run(sounds, tone_detector, url)) == 3
    assert "files.csv" in contents(url)
