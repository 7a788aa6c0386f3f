"""Teach over HTTP: labels, retraining, models, and what happens when a server is interrupted."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from websockets.sync.client import connect

import soundmark as sm
from soundmark.serving.archives import open_archives
from support.models import tone_embedder
from support.serving import Running, running
from support.teaching import TeachingSet, teaching_set
from unit.serving.test_classify_api import problem


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> TeachingSet:
    return teaching_set(tmp_path_factory.mktemp("teaching"))


@pytest.fixture
def teaching(material, tmp_path: Path):
    archives = open_archives([material.index])
    with running(
        tone_embedder(), archives=archives, corrections=tmp_path / "corrections", training=material.data
    ) as server:
        yield server


def label(server: Running, **values) -> requests.Response:
    return server.post("/v1/teach/labels", json.dumps({"archive": "index", **values}))


def status(server: Running) -> dict:
    return server.get("/v1/teach").json()


def train(server: Running) -> dict:
    assert server.post("/v1/teach/training").status_code == 202
    for _ in range(600):
        job = status(server)["job"]
        if job["state"] != "running":
            return job
        time.sleep(0.05)
    raise AssertionError("the training does not end")


def teach_middle(server: Running, material: TeachingSet, n: int = 5) -> list[int]:
    """Label ``n`` windows with the tone that the model does not know, of different recordings."""
    numbers, seen = [], set()
    for number, name in enumerate(material.truth):
        if name == "middle" and number // 6 not in seen and len(numbers) < n:
            numbers.append(number)
            seen.add(number // 6)
    for number in numbers:
        answer = label(server, window=number, decision="label", label="middle", reviewer="ann")
        assert answer.status_code == 201, answer.text
    return numbers


def test_a_class_that_was_taught_with_five_examples_is_found_elsewhere_in_the_archive(teaching, material):
    taught = teach_middle(teaching, material)
    found = status(teaching)
    assert found["corrections"]["by_class"] == {"middle": 5}
    assert found["corrections"]["recent"][0]["file"].startswith("r")
    job = train(teaching)
    assert (job["state"], job["detail"]) == ("done", "Model 1 was trained on 41 clips and is in use.")
    top = teaching.get("/v1/archives/index/top", params={"class": "middle", "n": 16}).json()["windows"]
    others = [window["number"] for window in top if window["number"] not in taught]
    assert [material.truth[number] for number in others] == ["middle"] * 11
    assert all(window["score"] > 0.5 for window in top)
    model = teaching.get("/v1/model").json()
    assert (model["name"], model["classes"]) == ("model.onnx, taught 1", ["background", "high", "low", "middle"])
    (report,) = [each["report"] for each in status(teaching)["models"]]
    scores = report["held_out"]["corrections"]
    assert scores["before"]["accuracy"]["value"] == 0.0  # it did not have the class
    assert scores["after"]["accuracy"]["value"] == 1.0
    assert scores["after"]["accuracy"]["interval"][0] < 1.0
    assert scores["accuracy_gain"]["interval"][0] > 0.0
    assert [point["corrections"] for point in report["curve"]] == [0, 1, 2, 5]
    assert report["curve"][0]["macro_f1"]["value"] < report["curve"][-1]["macro_f1"]["value"] == 1.0


def test_the_model_that_is_downloaded_is_the_one_that_classifies(teaching, material, tmp_path):
    teach_middle(teaching, material)
    train(teaching)
    path = tmp_path / "taught.onnx"
    path.write_bytes(teaching.get("/v1/teach/models/1").content)
    recording = material.index.parent / "recordings" / "r7.wav"
    (here,) = teaching.classify(recording.read_bytes(), top_k=4).json()
    there = sm.load(path).classify(recording, top_k=4)
    assert [each["label"] for each in here["classes"]] == [each["label"] for each in there]
    np.testing.assert_allclose(
        [each["score"] for each in here["classes"]], [each["score"] for each in there], atol=1e-6
    )


def test_one_goes_back_to_the_model_before_and_forth_again(teaching, material):
    before = teaching.get("/v1/archives/index/top", params={"class": "low"}).json()
    teach_middle(teaching, material)
    train(teaching)
    for number, name in ((0, "model.onnx"), (1, "model.onnx, taught 1"), (0, "model.onnx")):
        answer = requests.put(f"{teaching.url}/v1/teach/model", json.dumps({"number": number}), timeout=60)
        assert answer.json()["model"]["in_use"] == number
        assert teaching.get("/v1/model").json()["name"] == name
    assert teaching.get("/v1/archives/index/top", params={"class": "low"}).json() == before
    assert "middle" not in teaching.get("/v1/model").json()["classes"]


def test_a_live_session_is_told_that_another_model_is_in_use(teaching, material):
    teach_middle(teaching, material)
    with connect(f"{teaching.url.replace('http', 'ws')}/v1/listen?rate=22050") as socket:
        socket.send(bytes(2 * 22050))
        assert any(json.loads(message)["kind"] == "state" for message in socket)  # it has started
        train(teaching)
        for _ in range(5):  # a note comes with the state, which is sent at most every 0.1 s
            socket.send(bytes(4 * 22050))
            time.sleep(0.3)
        socket.send(b"")
        notes = [each["detail"] for each in map(json.loads, socket) if each["kind"] == "note"]
    expected = 'the model "model.onnx, taught 1" is in use now: start to listen again to use it.'
    assert [note for note in notes if "in use now" in note] == [expected]


def test_without_the_training_data_the_model_learns_the_classes_of_the_corrections_alone(material, tmp_path):
    archives = open_archives([material.index])
    with running(tone_embedder(), archives=archives, corrections=tmp_path / "corrections") as server:
        assert "--train-data" in status(server)["training_data"]["note"]
        assert "nothing to train on yet" in train(server)["detail"]
        numbers = teach_middle(server, material)
        job = train(server)
        assert job["state"] == "failed"
        assert "at least two classes, and the clips have middle" in job["detail"]
        for number in [n for n, name in enumerate(material.truth) if name in ("low", "background")][:8]:
            label(server, window=number, decision="none")
        assert train(server)["state"] == "done"
        top = server.get("/v1/archives/index/top", params={"class": "middle", "n": 16}).json()["windows"]
        others = [window["number"] for window in top if window["number"] not in numbers]
        assert {material.truth[number] for number in others} == {"middle"}


def test_the_model_in_use_survives_a_restart_and_an_interrupted_training_is_reported(material, tmp_path):
    archives, folder = open_archives([material.index]), tmp_path / "corrections"
    with running(tone_embedder(), archives=archives, corrections=folder, training=material.data) as server:
        teach_middle(server, material)
        train(server)
    journal = folder / "models" / "versions.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines) + lines[0] + b'{"torn')  # a server that was killed during a training
    with running(tone_embedder(), archives=archives, corrections=folder, training=material.data) as server:
        found = status(server)
        assert (found["model"]["in_use"], found["job"]["state"]) == (1, "interrupted")
        assert "Nothing is lost" in found["job"]["detail"]
        assert server.get("/v1/model").json()["name"] == "model.onnx, taught 1"
        assert train(server)["detail"].startswith("Model 2 was trained")
    with running(tone_embedder(), archives=archives, corrections=folder, training=material.data) as server:
        found = status(server)
        assert (found["model"]["in_use"], found["job"]["state"]) == (2, "idle")
        assert found["corrections"]["by_class"] == {"middle": 5}


def test_a_training_can_be_cancelled(teaching, material, monkeypatch):
    from soundmark.serving.teach import teacher

    teach_middle(teaching, material)

    def slow(*_, check, **__):
        for _ in range(1000):
            time.sleep(0.01)
            check()

    monkeypatch.setattr(teacher, "retrain", slow)
    teaching.post("/v1/teach/training")
    assert problem(teaching.post("/v1/teach/training"), 409).startswith("a training is running")
    answer = requests.put(f"{teaching.url}/v1/teach/model", json.dumps({"number": 0}), timeout=60)
    assert answer.status_code == 409
    assert requests.delete(f"{teaching.url}/v1/teach/training", timeout=60).status_code == 202
    for _ in range(200):
        if (job := status(teaching)["job"])["state"] != "running":
            break
        time.sleep(0.05)
    assert (job["state"], job["detail"]) == ("cancelled", "The training was cancelled. The model did not change.")
    assert status(teaching)["models"] == []


def test_similar_windows_and_what_to_label_next(teaching, material):
    (first, *_) = [number for number, name in enumerate(material.truth) if name == "middle"]
    found = teaching.get("/v1/archives/index/similar", params={"window": first, "n": 5}).json()["windows"]
    assert {material.truth[each["number"]] for each in found} == {"middle"}
    assert all(each["file"] != f"r{first // 6}.wav" for each in found)
    part = {"window": first, "start": 0.0, "stop": 1.0, "n": 5}
    region = teaching.get("/v1/archives/index/similar", params=part).json()["windows"]
    assert len(region) == 5
    numbers = [each["number"] for each in teaching.get("/v1/archives/index/suggestions?n=8").json()["windows"]]
    label(teaching, window=numbers[0], decision="none")
    again = [each["number"] for each in teaching.get("/v1/archives/index/suggestions?n=8").json()["windows"]]
    assert numbers[0] not in again
    of_class = teaching.get("/v1/archives/index/suggestions", params={"n": 3, "class": "low"}).json()["windows"]
    assert {each["label"] for each in of_class} == {"low"}


def test_a_region_is_labelled_and_a_label_is_undone(teaching, tmp_path):
    answer = label(teaching, window=3, start_s=0.25, stop_s=2.5, decision="label", label="whistle")
    (clip,) = sm.Dataset.open(tmp_path / "corrections").clips
    assert (clip.label, round(clip.stop_s, 3)) == ("whistle", 2.25)
    undone = requests.delete(f"{teaching.url}/v1/teach/labels/{answer.json()['id']}", timeout=60)
    assert undone.json()["corrections"]["labelled"] == 0
    assert problem(requests.delete(f"{teaching.url}/v1/teach/labels/{answer.json()['id']}", timeout=60), 404)


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ({"window": 3}, 400, "the body has no decision: expected a JSON object with archive"),
        ({"window": 999, "decision": "none"}, 404, "windows, numbered from 0"),
        ({"archive": "../x", "window": 0, "decision": "none"}, 404, "there is no archive"),
        ({"window": 0, "decision": "maybe"}, 400, "there is no decision"),
        ({"window": 0, "decision": "label"}, 400, "is not valid"),
        ({"window": 0, "decision": "label", "label": "a", "start_s": 5.0, "stop_s": 5.0}, 400, "the first smaller"),
        ({"window": 0, "decision": "label", "label": "a", "start_s": 500.0, "stop_s": 501.0}, 422, "r0.wav"),
        ({"window": 0, "decision": "none", "colour": "red"}, 400, 'the body has no name "colour"'),
        ({"window": True, "decision": "none"}, 400, "expected a whole number"),
        ({"window": 0, "decision": "none", "start_s": 10**400}, 400, "expected a number"),
    ],
)
def test_a_label_that_is_not_valid_is_refused(teaching, values, code, message):
    answer = label(teaching, **values)
    assert message in problem(answer, code)
    assert "/recordings" not in answer.text  # no path of the server


def test_the_body_of_a_label_must_be_a_json_object(teaching):
    assert "is not a JSON object" in problem(teaching.post("/v1/teach/labels", b"{"), 400)
    assert "is not a JSON object" in problem(teaching.post("/v1/teach/labels", b"[" * 100_000), 400)
    assert "expected a small JSON object" in problem(teaching.post("/v1/teach/labels", b" " * 100_001), 413)


def test_the_disk_for_corrections_is_bounded(material, tmp_path):
    archives, folder = open_archives([material.index]), tmp_path / "corrections"
    with running(tone_embedder(), archives=archives, corrections=folder, max_corrections_bytes=1000) as server:
        assert "the limit is 0.001 MB" in problem(label(server, window=0, decision="label", label="low"), 507)


def test_without_a_folder_corrections_are_off(material):
    with running(tone_embedder(), archives=open_archives([material.index])) as server:
        assert status(server)["is_on"] is False
        assert problem(label(server, window=0, decision="none"), 409).startswith("corrections are off")
        assert server.get("/v1/archives/index/top", params={"class": "low"}).status_code == 200


def test_another_page_may_not_teach(teaching):
    headers = {"Origin": "https://evil.example"}
    for method, path in (("POST", "labels"), ("POST", "training"), ("DELETE", "training"), ("PUT", "model")):
        answer = requests.request(method, f"{teaching.url}/v1/teach/{path}", headers=headers, timeout=60)
        assert problem(answer, 403)


def test_the_default_limit_of_the_server_is_that_of_corrections():
    from soundmark.detection.archive.corrections import DEFAULT_MAX_BYTES
    from soundmark.serving.settings import ServerSettings

    assert ServerSettings.max_corrections_bytes == DEFAULT_MAX_BYTES


@pytest.mark.slow
def test_a_retrained_model_is_the_one_that_train_makes_of_both_data_sets(mn04_weights, city, tmp_path):
    archive = [clip.path for clip in city.clips[:20]]
    data = city.without(range(20))
    model = sm.train(data, "transfer", tmp_path / "first", quiet=True)
    index = sm.Index.build(archive, model, tmp_path / "index", quiet=True)
    folder = tmp_path / "corrections"
    with running(model, archives=open_archives([index.folder]), corrections=folder, training=data) as server:
        for number in range(6):
            label(server, window=3 * number, decision="label", label=f"sound {number % 2}")
        assert train(server)["state"] == "done"
        (tmp_path / "taught.onnx").write_bytes(server.get("/v1/teach/models/1").content)
    taught = sm.load(tmp_path / "taught.onnx")
    trained = sm.train([data, folder], "transfer", tmp_path / "both", window_s=model.card.window_s, quiet=True)
    assert taught.classes == trained.classes == (*city.classes, "sound 0", "sound 1")
    for clip in city.clips[:10]:
        np.testing.assert_allclose(
            taught.scores(clip.path).probabilities, trained.scores(clip.path).probabilities, atol=1e-6
        )
