"""The thresholds of the server: files that it did not write are not replaced, and links not followed."""

import os
from pathlib import Path

import pytest

import soundmark as sm
from soundmark.detection.settings import read_thresholds, write_threshold
from soundmark.errors import OutputError, SettingsError
from soundmark.serving.settings import ServerSettings
from soundmark.serving.thresholds import MODEL, Thresholds
from support.foreign_files import KINDS, changes, snapshot
from support.models import tone_embedder, tone_model


@pytest.fixture(scope="module")
def model() -> sm.Model:
    return tone_model()


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.removeprefix("put_"))
def test_nothing_foreign_is_changed(tmp_path: Path, model: sm.Model, kind):
    for name in ("thresholds.toml", MODEL):
        place, elsewhere = tmp_path / name, tmp_path / name / "elsewhere"
        elsewhere.mkdir(parents=True)
        kind(place / name, elsewhere)
        before = snapshot(place)
        with pytest.raises((OutputError, SettingsError)):  # noqa: PT012 - the file is in the way of one of the steps
            thresholds = Thresholds(model, ServerSettings(corrections=place))
            thresholds.write("low", 0.7, comment="")
            thresholds.write_model()
        assert changes(before, snapshot(place)) == [], name


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links")
def test_a_file_of_thresholds_that_is_read_only_or_a_link_is_kept(tmp_path: Path):
    (tmp_path / "real.toml").write_text("low = 0.5\n")
    (tmp_path / "link.toml").symlink_to(tmp_path / "real.toml")
    (tmp_path / "fixed.toml").write_text("low = 0.5\n")
    (tmp_path / "fixed.toml").chmod(0o400)
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    before = snapshot(tmp_path)
    for name, message in (
        ("link", "is a symbolic link"),
        ("fixed", "is read-only: choose another file"),
        ("folder", "is a folder, but soundmark writes a file there. Choose another file"),
        ("pipe", "is not a regular file, but"),
    ):
        with pytest.raises(OutputError, match=message):
            write_threshold(tmp_path / f"{name}.toml", "low", 0.7)
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="the test needs pipes")
def test_a_pipe_among_the_corrections_is_not_waited_for(tmp_path: Path, model: sm.Model):
    os.mkfifo(tmp_path / "thresholds.toml")
    thresholds = Thresholds(model, ServerSettings(corrections=tmp_path))
    with pytest.raises(OutputError, match="is not a regular file, but"):
        thresholds.write("low", 0.7, comment="")


def test_the_copy_of_the_model_is_replaced_and_another_model_is_not(tmp_path: Path, model: sm.Model):
    for threshold in (0.6, 0.7):
        thresholds = Thresholds(model, ServerSettings(corrections=tmp_path))
        thresholds.write("low", threshold, comment="")
        assert sm.load(thresholds.write_model()).event_thresholds.tolist() == [threshold, 0.5, 0.5]
    tone_embedder().save(tmp_path / MODEL)
    content = (tmp_path / MODEL).read_bytes()
    with pytest.raises(OutputError, match=f'{MODEL}" exists already and is not a copy of the model that is served'):
        thresholds.write_model()
    assert (tmp_path / MODEL).read_bytes() == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"label,threshold\nlow,0.5\n" + b"x" * 5_000_000),
        ("a.csv", b'low,0.5\n"' + b"x" * 1_000_000),
        ("a.csv", b"low,0.5\0\n"),
        ("a.csv", b"low," + b"9" * 10_000),
        ("a.toml", b"low = 0.5\n" * 2),
        ("a.toml", b"low = 0.5\0\n"),
        ("a.toml", b"low = " + b"[" * 100_000),
        ("a.toml", b"a" * 5_000_000),
        ("a.toml", b"low = " + b"9" * 10_000),
        ("a.toml", b"\xff\xfe"),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{value[:20]!r}",
)
def test_hostile_thresholds_are_one_short_message(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=name) as caught:
        read_thresholds(tmp_path / name)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
