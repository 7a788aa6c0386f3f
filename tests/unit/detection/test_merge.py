"""Shards of a list of files, and their results merged: identical to one run over all files."""

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest

from soundmark import audio
from soundmark.detection.analysis import analyze
from soundmark.detection.results_folder import JOURNAL
from soundmark.detection.results_folder.merge import merge
from soundmark.detection.settings import Shard
from soundmark.errors import OutputError, SettingsError
from soundmark.runtime import checksums
from soundmark.runtime.output_folder import MANIFEST
from support.sounds import RATE_HZ, wave

pytestmark = pytest.mark.slow

N_SHARDS = 3


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Clips in two folders with equal names, a recording of 20 s, an unreadable file, and a truncated one."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(12):
        audio.write(folder / f"day{number % 2}" / f"{number // 2}.wav", wave(0.6, number), RATE_HZ)
    audio.write(folder / "long.wav", wave(20.0, 1), RATE_HZ)
    (folder / "day0" / "2.wav").write_text("no sound")
    cut = (folder / "day1" / "3.wav").read_bytes()
    (folder / "day1" / "3.wav").write_bytes(cut[: len(cut) // 2])
    return folder


def run_shards(sounds: Path, model, folder: Path, n: int = N_SHARDS, **options) -> list[Path]:
    folders = [folder / f"part-{k}" for k in range(1, n + 1)]
    for k, part in enumerate(folders, 1):
        analyze(sounds, model, part, shard=f"{k}/{n}", quiet=True, **options)
    return folders


@pytest.fixture(scope="module")
def parts(sounds, random_model, tmp_path_factory) -> list[Path]:
    return run_shards(sounds, random_model, tmp_path_factory.mktemp("parts"))


@pytest.fixture
def copies(parts, tmp_path) -> list[Path]:
    """Copies of the folders of the shards, which a test may damage."""
    for part in parts:
        shutil.copytree(part, tmp_path / part.name)
    return [tmp_path / part.name for part in parts]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (MANIFEST, ".lock")
    }


@pytest.mark.parametrize(("n", "count"), list(itertools.product((0, 1, 7, 1000), (1, 2, 9))))
def test_each_file_is_in_exactly_one_shard(n: int, count: int):
    shards = [Shard(number, count).indices(n) for number in range(1, count + 1)]
    assert sorted(itertools.chain(*shards)) == list(range(n))
    assert all(indices == sorted(indices) for indices in shards)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_daily_pattern_of_long_files_is_spread_over_the_shards():
    long_files = set(range(0, 24 * 50, 24))  # one of 24 each day
    counts = [len(long_files & set(Shard(number, 24).indices(24 * 50))) for number in range(1, 25)]
    assert max(counts) < 10


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "/", "a/b", "1/2/3", "-1/3", "1/9999999", "²/3"])
def test_an_invalid_shard_is_refused(text: str):
    with pytest.raises(SettingsError, match="expected K/N with K from 1 to N, like 1/4"):
        Shard.parse(text)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "raven"])
def test_merged_shards_are_identical_to_one_run_in_every_byte(sounds, random_model, tmp_path, form: str):
    folders = run_shards(sounds, random_model, tmp_path, format=form)
    single = analyze(sounds, random_model, tmp_path / "single", format=form, quiet=True)
    merged = merge(tmp_path / "merged", folders[::-1])
    assert contents(tmp_path / "merged") == contents(tmp_path / "single")
    assert (merged.analyzed, len(merged.failures)) == (len(single), len(single.failures)) == (12, 1)
    assert len(merged.notes) == 1


def test_more_shards_than_files_leave_some_empty(sounds, random_model, tmp_path):
    folders = run_shards(sounds / "day1", random_model, tmp_path, n=8)
    merge(tmp_path / "merged", folders)
    analyze(sounds / "day1", random_model, tmp_path / "single", quiet=True)
    assert contents(tmp_path / "merged") == contents(tmp_path / "single")


def test_a_merged_folder_is_a_results_folder_that_resumes(sounds, random_model, parts, tmp_path):
    merge(tmp_path / "merged", parts)
    before = contents(tmp_path / "merged")
    states = []
    found = analyze(sounds, random_model, tmp_path / "merged", quiet=True)
    assert len(found) == 12, states
    assert contents(tmp_path / "merged") == before


def test_merging_again_gives_the_same(parts, tmp_path):
    merge(tmp_path / "merged", parts)
    before = contents(tmp_path / "merged")
    merge(tmp_path / "merged", parts)
    assert contents(tmp_path / "merged") == before


def test_merging_does_not_change_the_shards(copies, tmp_path):
    before = [contents(part) for part in copies]
    merge(tmp_path / "merged", copies)
    assert [contents(part) for part in copies] == before


def test_a_missing_shard_is_named(parts, tmp_path):
    with pytest.raises(SettingsError, match="1 shard of 3 missing: 2. Give the folders of all."):
        merge(tmp_path / "merged", [parts[0], parts[2]])
    assert not (tmp_path / "merged").exists()


def test_a_shard_that_is_given_twice_is_refused(parts, copies, tmp_path):
    with pytest.raises(SettingsError, match='part-1" and ".*part-1" are the same shard, 1/3'):
        merge(tmp_path / "merged", [*parts, copies[0]])


def test_shards_of_different_counts_are_refused(sounds, random_model, parts, tmp_path):
    analyze(sounds, random_model, tmp_path / "other", shard="1/2", quiet=True)
    with pytest.raises(SettingsError, match='other" is shard 1/2, but ".*part-1" is 1/3'):
        merge(tmp_path / "merged", [parts[0], tmp_path / "other"])


def test_shards_of_different_settings_are_refused(sounds, random_model, parts, tmp_path):
    analyze(sounds, random_model, tmp_path / "other", shard="2/3", top_k=1, quiet=True)
    with pytest.raises(SettingsError, match="differ in parameters: run all shards with the same model, options and"):
        merge(tmp_path / "merged", [parts[0], tmp_path / "other", parts[2]])


def test_shards_of_different_lists_are_refused(sounds, random_model, parts, tmp_path):
    analyze(sounds / "day0", random_model, tmp_path / "other", shard="2/3", quiet=True)
    with pytest.raises(SettingsError, match=r"is of another list of files \(6\) than \".*part-1\" \(13\)"):
        merge(tmp_path / "merged", [parts[0], tmp_path / "other", parts[2]])


def test_an_unfinished_shard_is_refused(copies, tmp_path):
    (copies[1] / "shard.json").unlink()
    with pytest.raises(OutputError, match='part-2" is not the folder of a finished shard: it has no shard.json'):
        merge(tmp_path / "merged", copies)


def test_a_shard_that_runs_again_is_unfinished_until_its_end(sounds, random_model, copies, monkeypatch):
    from soundmark.detection import results_folder

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(results_folder.FolderWork, "analyze", killed)
    with pytest.raises(KeyboardInterrupt):
        analyze(sounds, random_model, copies[0], shard="1/3", quiet=True)
    assert not (copies[0] / "shard.json").exists()


def test_lost_results_of_a_shard_are_refused(copies, tmp_path):
    journal = copies[0] / JOURNAL
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(OutputError, match=r"has lost results since it was written: run classify --shard 1/3 again"):
        merge(tmp_path / "merged", copies)


def test_a_changed_shard_record_is_refused(copies, tmp_path):
    record = json.loads((copies[0] / "shard.json").read_text())
    record["items"] = record["items"][1:]
    (copies[0] / "shard.json").write_text(json.dumps(record))
    with pytest.raises(OutputError, match='part-1" cannot be read .its checksum does not match.'):
        merge(tmp_path / "merged", copies)


def test_foreign_files_in_the_output_folder_are_kept(parts, tmp_path):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "results.csv").write_text("mine")
    with pytest.raises(OutputError, match="is not a results folder"):
        merge(tmp_path / "merged", parts)
    assert (tmp_path / "merged" / "results.csv").read_text() == "mine"


def test_a_shard_cannot_be_the_output(copies, tmp_path):
    with pytest.raises(SettingsError, match="is one of the shards, or in one: choose another folder"):
        merge(copies[0], copies)
    (tmp_path / "link").symlink_to(copies[0])
    for inside in (tmp_path / "link", copies[0] / "new", tmp_path / "link" / "new"):
        with pytest.raises(SettingsError, match="is one of the shards, or in one"):
            merge(inside, copies)
    assert not (copies[0] / "new").exists()


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links and pipes")
@pytest.mark.parametrize("name", ["shard.json", "parameters.json", "journal.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_in_a_shard_are_not_waited_for(copies, tmp_path, name, kind):
    (copies[0] / name).unlink()
    os.mkfifo(copies[0] / name) if kind == "pipe" else (copies[0] / name).symlink_to("/dev/zero")
    with pytest.raises(OutputError, match=r"part-1.*(it is not a regular file|has lost results since)"):
        merge(tmp_path / "merged", copies)


def test_urls_are_refused_and_no_folder_is_made_of_them(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, shards in (("s3://sensors/all", parts), ("all", ["s3://sensors/1"])):
        with pytest.raises(SettingsError, match="is a URL: copy the results to a folder, and merge folders"):
            merge(folder, shards)
    assert not list(tmp_path.glob("s3*"))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SettingsError, match='nowhere" does not exist: give the results folders of classify --shard'):
        merge(tmp_path / "merged", [tmp_path / "nowhere"])


def changed_record(part: Path, change) -> None:
    record = checksums.verified(json.loads((part / "shard.json").read_text()))
    change(record)
    (part / "shard.json").write_text(json.dumps(checksums.with_checksum(record)))


@pytest.mark.parametrize("name", ["../../../outside", "/outside", "a/../../../b", None, 3, "a\0b", "", "\ud800"])
def test_the_name_of_a_result_cannot_leave_the_folder(copies, tmp_path, name):
    def rename(record):
        for item in record["items"]:
            item[0] = name if item[2] is None else item[0]

    changed_record(copies[0], rename)
    with pytest.raises(OutputError, match=r'part-1" cannot be read .shard.json is damaged.'):
        merge(tmp_path / "x" / "merged", copies)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-1", "part-2", "part-3"]


@pytest.mark.parametrize(
    "change",
    [
        {"items": 3},
        {"items": [3]},
        {"files": 10**12},
        {"files": "15"},
        {"files": -1},
        {"files": 13.0},
        {"list": {}},
        {"number": "1"},
    ],
)
def test_a_record_with_other_types_is_refused(copies, tmp_path, change):
    for part in copies:  # of all shards: they agree
        changed_record(part, lambda record: record.update(change))
    with pytest.raises(OutputError, match=r"damaged"):
        merge(tmp_path / "merged", copies)


@pytest.mark.parametrize("change", [{"format": "xls"}, {"format": []}, {"versions": 3}, {"versions": None}])
def test_damaged_parameters_of_a_shard_are_refused(copies, tmp_path, change):
    for part in copies:
        values = json.loads((part / "parameters.json").read_text())
        (part / "parameters.json").write_text(json.dumps(values | change))
    with pytest.raises(OutputError, match=r'part-1" cannot be read .parameters.json is damaged.'):
        merge(tmp_path / "merged", copies)
