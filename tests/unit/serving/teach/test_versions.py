"""The models that were taught: no file of someone else is replaced or followed, and no line is trusted."""

import json
import os
from pathlib import Path

import pytest

from soundmark.errors import OutputError, SettingsError
from soundmark.models.bundle import Bundle
from soundmark.runtime import checksums
from soundmark.serving.teach.versions import FOLDER, JOURNAL, Versions
from support.foreign_files import KINDS, changes, put_folder, snapshot
from support.models import tone_model


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tone_model().bundle


def add(versions: Versions, bundle: Bundle) -> int:
    return versions.add(bundle, time="2024-06-12T04:30:00Z", clips=frozenset({"c1"}), report={}).number


def test_models_get_numbers_and_the_last_is_in_use(tmp_path: Path, bundle: Bundle):
    versions = Versions(tmp_path, "base")
    assert [add(versions, bundle), add(versions, bundle)] == [1, 2]
    versions.use(1)
    found = versions.history()
    assert ([version.number for version in found.versions], found.in_use) == ([1, 2], 1)
    assert versions.read(found.versions[0]).digest == bundle.digest


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.removeprefix("put_"))
def test_nothing_foreign_is_changed(tmp_path: Path, bundle: Bundle, kind):
    for number, name in enumerate((FOLDER, f"{FOLDER}/{JOURNAL}", f"{FOLDER}/.lock", f"{FOLDER}/model-1.onnx")):
        place, elsewhere = tmp_path / f"{number}", tmp_path / f"{number}" / "elsewhere"
        elsewhere.mkdir(parents=True)
        (place / "out" / name).parent.mkdir(parents=True)
        kind(place / "out" / name, elsewhere)
        before = snapshot(place)
        versions = Versions(place / "out", "base")
        if name.endswith(".onnx"):
            assert add(versions, bundle) == 2
        elif kind is put_folder and name == FOLDER:
            assert add(versions, bundle) == 1
        else:
            with pytest.raises(OutputError):
                versions.started("2024-06-12T04:30:00Z")
            with pytest.raises((OutputError, SettingsError)):
                add(versions, bundle)
        after = snapshot(place)
        assert changes(before, after) == [], name
        assert [path for path in after if path not in before and str(elsewhere) in path] == [], name


def test_a_line_that_was_cut_off_is_followed_by_the_next(tmp_path: Path, bundle: Bundle):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / JOURNAL).write_text('{"ba')
    assert add(Versions(tmp_path, "base"), bundle) == 1
    assert Versions(tmp_path, "base").history().in_use == 1


@pytest.mark.parametrize(
    "change",
    [{"number": "2"}, {"number": None}, {"clips": 5}, {"clips": [[]]}, {"report": "x"}, {"digest": None}, {"time": {}}],
)
def test_a_line_with_other_types_is_ignored(tmp_path: Path, bundle: Bundle, change: dict):
    versions = Versions(tmp_path, "base")
    add(versions, bundle)
    line = checksums.verified(json.loads(versions.path.read_text()))
    with versions.path.open("a") as file:
        file.write(json.dumps(checksums.with_checksum(line | {"number": 2} | change)) + "\n")
    assert [version.number for version in versions.history().versions] == [1]
    assert add(versions, bundle) == 2
