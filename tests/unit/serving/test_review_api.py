"""Reviews through the API: their state is what Python computes, decisions are kept, thresholds are written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import requests

import soundmark as sm
from soundmark.detection.archive import corrections as corrections_file
from soundmark.detection.archive import review
from soundmark.detection.settings import read_thresholds
from soundmark.errors import SettingsError
from soundmark.runtime import atomic
from soundmark.serving import archives, server, thresholds
from soundmark.serving.settings import ServerSettings
from support.archives import tone_archive
from support.serving import Running, running
from unit.serving.test_classify_api import problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tone_archive(tmp_path_factory.mktemp("archive"), n=10)


@pytest.fixture(scope="module")
def opened(folder):
    return archives.open_archives([folder])


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "corrections"


@pytest.fixture
def server_(opened, kept):
    with running(opened[0].index.model, archives=opened, corrections=kept) as found:
        yield found


def state(server: Running, label: str = "low", **parameters) -> dict:
    found = server.get("/v1/archives/index/review", params={"class": label, **parameters})
    assert found.status_code == 200, found.text
    return found.json()


def decide(server: Running, window: int, decision: str, **others) -> requests.Response:
    body = {"class": "low", "window": window, "decision": decision, **others}
    return server.post("/v1/archives/index/review", json.dumps(body))


def review_all(server: Running, n: int, contains: np.ndarray) -> list[int]:
    found, numbers = state(server), []
    for _ in range(n):
        number = found["upcoming"][0]
        found = decide(server, number, "yes" if contains[number] else "no").json()
        numbers.append(number)
    return numbers


def test_the_curve_is_that_of_python(server_, opened, kept):
    scores = opened[0].index.scores("low")
    numbers = review_all(server_, 30, scores > 0.6)
    found = state(server_, wanted=0.8)
    curve = review.precision_curve(scores, np.array(numbers), scores[numbers] > 0.6, wanted=0.8)
    for name in ("precision", "low", "high", "reached"):
        values = [np.nan if row[name] is None else row[name] for row in found["curve"]]
        np.testing.assert_allclose(values, getattr(curve, name), atol=1e-9)
    assert [row["windows"] for row in found["curve"]] == curve.windows.tolist()
    assert found["safe_threshold"] == curve.safe_threshold
    assert found["safe_threshold"] is not None
    session = opened[0].index.review("low", wanted=0.8, corrections=kept)
    assert (session.safe_threshold, session.upcoming()) == (found["safe_threshold"], found["upcoming"])
    assert (found["reviewed"], found["contain"]) == (30, (scores[numbers] > 0.6).sum())
    assert [each["window"] for each in found["decisions"]] == numbers


def test_the_windows_are_spread_over_the_scores(server_, opened):
    scores = opened[0].index.scores("low")
    numbers = review_all(server_, 10, scores > 0.6)
    assert np.ptp(scores[numbers]) > 0.7


def test_a_new_server_goes_on_with_the_decisions(opened, kept):
    contains = opened[0].index.scores("low") > 0.6
    with running(opened[0].index.model, archives=opened, corrections=kept) as first:
        review_all(first, 7, contains)
        before = state(first)
    with running(opened[0].index.model, archives=opened, corrections=kept) as second:
        assert state(second) == before
        numbers = review_all(second, 7, contains)
    assert len({*numbers, *(each["window"] for each in before["decisions"])}) == 14


def test_undo_names_the_window_so_that_it_can_be_repeated(server_):
    first = state(server_)["upcoming"]
    decide(server_, first[0], "yes")
    decide(server_, first[1], "skip")
    for _ in range(2):
        found = decide(server_, first[1], "undo").json()
        assert (found["reviewed"], found["skipped"], found["upcoming"][0]) == (1, 0, first[1])


def test_another_class_and_the_reviewer_are_recorded(server_, opened, kept):
    found = decide(server_, 3, "label", label="owl", reviewer="ann").json()
    (made,) = found["decisions"]
    score = opened[0].index.scores("low")[3]
    assert made == {"window": 3, "decision": "label", "label": "owl", "contains": False, "score": pytest.approx(score)}
    (clip,) = sm.Dataset.open(kept).clips
    assert clip.label == "owl"
    (row,) = sm.Corrections(kept).standing()
    assert (row.reviewer, row.asked) == ("ann", "low")


def test_a_decision_that_is_sent_twice_counts_once(server_, kept):
    for _ in range(2):
        assert decide(server_, 3, "yes").json()["reviewed"] == 1
    assert len(sm.Dataset.open(kept).clips) == 1


def test_a_decision_about_another_state_of_the_archive_is_refused(server_):
    revision = state(server_)["revision"]
    assert decide(server_, 3, "yes", revision=revision).status_code == 200
    assert "was indexed again meanwhile" in problem(decide(server_, 3, "yes", revision="0" * 16), 409)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"[]", 400, "the body is not a JSON object"),
        (b"{", 400, "the body is not a JSON object"),
        (b'{"class": "low", "window": 1, "decision": NaN}', 400, "the body is not a JSON object"),
        (b'{"class": "low", "window": 1}', 400, "the body has no decision"),
        (b'{"class": "low", "windo": 1, "decision": "yes"}', 400, 'the body has no name "windo". Did you mean'),
        (b'{"class": "low", "window": "1", "decision": "yes"}', 400, 'window is "1": expected a whole number'),
        (b'{"class": "low", "window": 60, "decision": "yes"}', 400, "there is no window 60"),
        (b'{"class": "low", "window": -1, "decision": "yes"}', 400, "there is no window -1"),
        (b'{"class": "lwo", "window": 1, "decision": "yes"}', 400, 'no class "lwo". Did you mean "low"'),
        (b'{"class": "low", "window": 1, "decision": "maybe"}', 400, 'no decision "maybe"'),
        (b'{"class": "low", "window": 1, "decision": "label"}', 400, "give another class"),
        (b'{"class": "low", "window": 1, "decision": "label", "label": "\\ud800"}', 400, "label is"),
        (b'{"class": "low", "window": 1, "decision": "yes", "wanted": 90}', 400, "wanted is 90"),
        (b'{"class": "low", "window": 1, "decision": "yes", "reviewer": "a\\nb"}', 400, "reviewer is"),
        (b'{"class": "low"' + b" " * 100_000 + b"}", 413, "the body is larger than 100 kB"),
    ],
)
def test_what_is_invalid_is_refused(server_, body, status, text):
    assert text in problem(server_.post("/v1/archives/index/review", body), status)
    assert state(server_)["reviewed"] == 0


def test_the_limit_of_the_corrections(opened, kept, tmp_path):
    one = sm.Corrections(tmp_path / "one").add(opened[0].index.windows([1])[0].file, 1.0, 2.0, decision="none")
    limit = round(1.5 * (tmp_path / "one" / one.path).stat().st_size)
    with running(opened[0].index.model, archives=opened, corrections=kept, max_corrections_bytes=limit) as server:
        assert decide(server, 1, "yes").status_code == 200
        detail = problem(decide(server, 2, "yes"), 507)
        assert "the limit is" in detail
        assert decide(server, 2, "no").json()["reviewed"] == 2  # needs no clip


def test_the_default_limit_is_that_of_corrections():
    assert ServerSettings().max_corrections_bytes == corrections_file.DEFAULT_MAX_BYTES


def test_a_page_of_another_origin_cannot_decide(server_):
    headers = {"Origin": "https://evil.example"}
    for path in ("review", "threshold"):
        answer = server_.post(f"/v1/archives/index/{path}", b"{}", headers=headers)
        assert "may not use this server" in problem(answer, 403)


def use(server: Running, **values) -> requests.Response:
    return server.post("/v1/archives/index/threshold", json.dumps({"class": "low", **values}))


def test_a_threshold_is_written_and_used(server_, opened, kept):
    model = opened[0].index.model
    review_all(server_, 12, opened[0].index.scores("low") > 0.6)
    found = use(server_, threshold=0.75, model=True).json()
    assert found == {
        "file": str(kept / "thresholds.toml"),
        "model": str(kept / "model-with-thresholds.onnx"),
        "thresholds": {"low": 0.75},
    }
    assert read_thresholds(kept / "thresholds.toml") == {"low": 0.75}
    line = (kept / "thresholds.toml").read_text()
    assert line.startswith("low = 0.75  # precision ")
    assert '12 reviews of "index", 20' in line
    assert sm.load(kept / "model-with-thresholds.onnx").event_thresholds.tolist() == [0.75, 0.5, 0.5]
    assert state(server_)["threshold"] == 0.75
    recording = opened[0].index.recordings[0].path
    content = Path(recording).read_bytes()
    events = server_.classify(content, name="a").json()[0]["events"]
    expected = model.events(recording, threshold=[0.75, 0.5, 0.5])
    assert [(each["label"], each["start_s"]) for each in events] == [(each.label, each.start_s) for each in expected]
    default = server_.classify(content, name="a", min_confidence=0.5).json()[0]["events"]
    assert [each["start_s"] for each in default] == [each.start_s for each in model.events(recording, threshold=0.5)]
    assert events != default
    (opened_line,) = [
        json.loads(line)
        for line in server_.classify(content, format="updates").text.splitlines()
        if '"kind":"opened"' in line
    ]
    assert opened_line["thresholds"] == [0.75, 0.5, 0.5]
    assert server_.listen(b"", rate=22050)[0]["thresholds"] == [0.75, 0.5, 0.5]
    assert server_.listen(b"", rate=22050, min_confidence=0.5)[0]["thresholds"] == [0.5, 0.5, 0.5]


def test_a_threshold_remains_and_the_file_keeps_its_lines(opened, tmp_path):
    path = tmp_path / "mine.toml"
    atomic.write_text(path, "# ours\nhigh = 0.3  # by ear\n\nlow = 0.2\n")
    kept = tmp_path / "kept"
    for _ in range(2):
        with running(opened[0].index.model, archives=opened, corrections=kept, thresholds=path) as server:
            assert use(server, threshold=0.75).status_code == 200
    text = path.read_text()
    assert text.startswith('# ours\nhigh = 0.3  # by ear\n\nlow = 0.75  # 0 reviews of "index", ')
    assert len(text.splitlines()) == 4
    assert not (kept / "thresholds.toml").exists()


def test_thresholds_that_do_not_fit_are_refused(opened, detector, tmp_path):
    path = tmp_path / "mine.toml"
    with pytest.raises(SettingsError, match=r'the thresholds file ".*mine.toml" cannot be read'):
        server.application(detector, ServerSettings(thresholds=path))
    atomic.write_text(path, "dog = 0.3\n")
    with pytest.raises(SettingsError, match='the model has no class "dog"'):
        server.application(detector, ServerSettings(thresholds=path))
    kept = tmp_path / "kept"
    kept.mkdir()
    shutil.copy(path, kept / "thresholds.toml")  # of another model
    assert thresholds.Thresholds(detector, ServerSettings(corrections=kept)).values == {}
    with running(opened[0].index.model, archives=opened) as without:
        assert "start it with --corrections DIR" in problem(use(without, threshold=0.5), 400)
        assert decide(without, 1, "yes").json()["kept"] is False
        assert problem(without.get("/v1/archives/index/review?class=low&wanted=2"), 400)
        assert state(without, wanted=0.8)["reviewed"] == 1  # in memory
    with running(opened[0].index.model, archives=opened, corrections=tmp_path / "x") as server_:
        assert problem(use(server_, threshold=1.5), 400) == "threshold is 1.5: expected a number from 0 to 1."


def test_reviews_at_once_do_not_lose_decisions(server_, opened):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: decide(server_, number, "no").status_code, range(40)))
    assert set(answers) == {200}
    assert state(server_)["reviewed"] == 40


def test_metrics_do_not_grow_with_names(server_):
    for number in range(3):
        server_.get(f"/v1/archives/index/windows/{number}/sound")
        server_.get(f"/v1/archives/name-{number}/review")
    text = server_.get("/metrics").text
    assert 'path="/v1/archives/{archive}/windows/{window}/sound"' in text
    assert "name-1" not in text
