"""POST /v1/classify, /v1/explain and /v1/convert: the same results as the command line and Python."""

import base64
import io
import json

import numpy as np
import pytest
import requests
import soundfile

from soundmark.detection.analysis import analyze
from soundmark.detection.output_formats import FORMATS
from soundmark.models.explanation import explain
from soundmark.models.pretrained import named_models
from support.commands import run_soundmark
from support.serving import running
from support.sounds import RATE_HZ, tones, wave
from unit.serving.conftest import encoded


def problem(response, status: int) -> str:
    """The message of a problem."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    content = response.json()
    assert content["status"] == status
    return content["detail"]


@pytest.fixture(scope="module")
def folder(detector, sound, tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    detector.save(folder / "model.onnx")
    (folder / "20240612_043000.wav").write_bytes(sound)
    return folder


@pytest.mark.parametrize("options", [{}, {"overlap": 0.5, "top_k": 2}, {"min_confidence": 0.9, "merge_gap": 1.5}])
def test_the_answer_is_that_of_the_command_line(server, folder, sound, options):
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    line = ("classify", "20240612_043000.wav", "-m", "model.onnx", "--format", "json", *words)
    expected = json.loads(run_soundmark(*line, cwd=folder).stdout)
    found = server.classify(sound, name="20240612_043000.wav", **options)
    assert found.status_code == 200
    assert found.headers["Content-Type"] == "application/json"
    assert found.json() == expected
    assert expected[0]["events"]
    assert expected[0]["began"] == "2024-06-12T04:30:00.000Z"


def test_scores_are_those_of_python_with_a_pretrained_model(mn04_weights, tmp_path):
    """API, its updates, `classify` and Python agree to 1e-6, with AudioSet's 527 classes."""
    model = named_models.load("audioset")
    path = tmp_path / "long.wav"
    soundfile.write(path, wave(25.0, 5), RATE_HZ)
    with running(model) as server:
        answer = server.classify(path.read_bytes(), top_k=527, name="long.wav").json()[0]
        lines = server.classify(path.read_bytes(), format="updates").text.splitlines()
    by_class = {entry["label"]: entry["score"] for entry in model.classify(path)}
    assert {entry["label"]: entry["score"] for entry in answer["classes"]} == pytest.approx(by_class, abs=1e-6)
    updates = [json.loads(line) for line in lines]
    rows = np.array([row for each in updates if each["kind"] == "scores" for row in each["probabilities"]])
    np.testing.assert_allclose(rows, model.scores(path).probabilities, atol=1e-6)
    printed = run_soundmark("classify", path, "--top-k", 527, "--format", "json").stdout
    by_command = {entry["label"]: entry["score"] for entry in json.loads(printed)[0]["classes"]}
    assert by_command == pytest.approx(by_class, abs=1e-6)


@pytest.mark.parametrize("form", ["csv", "audacity", "raven", "json"])
def test_every_format_is_that_of_a_results_file(server, detector, folder, sound, form):
    result = analyze(folder / "20240612_043000.wav", detector)[0]
    expected = b"".join(FORMATS[form].write([result])).replace(str(folder).encode() + b"/", b"")
    found = server.classify(sound, name="20240612_043000.wav", format=form)
    assert found.content == expected
    results = server.classify(sound, name="20240612_043000.wav").content
    assert server.post("/v1/convert", results, params={"format": form}).content == expected


def test_a_form_is_read_like_a_raw_body(server, sound):
    form = server.post("/v1/classify", files={"file": ("../../dir/street.wav", sound)})
    assert form.json() == server.classify(sound, name="street.wav").json()


def test_lines_are_sent_while_a_long_recording_is_analysed(server, sound):
    with requests.post(server.url + "/v1/classify?format=jsonl", data=sound, stream=True, timeout=60) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        events = [json.loads(line) for line in response.iter_lines()]
    assert [event["label"] for event in events] == ["low", "high"]
    plain = server.classify(sound).json()[0]["events"]
    assert [{key: value for key, value in event.items() if key != "file"} for event in events] == plain


def test_updates_have_everything_that_the_page_shows(server, detector, sound, samples):
    updates = [json.loads(line) for line in server.classify(sound, format="updates", name="a.wav").text.splitlines()]
    kinds = [each["kind"] for each in updates]
    assert (kinds[0], kinds[-1]) == ("opened", "result")
    assert updates[0]["classes"] == list(detector.classes)
    assert updates[0]["background"] == ["background"]
    assert updates[0]["thresholds"] == [0.5, 0.5, 0.5]
    assert updates[-1]["result"] == server.classify(sound, name="a.wav").json()[0]
    events = [event for each in updates if each["kind"] == "events" for event in each["events"]]
    assert [event["label"] for event in events] == ["low", "high"]
    rows = np.concatenate([each["probabilities"] for each in updates if each["kind"] == "scores"])
    expected = detector.scores(samples, RATE_HZ)
    np.testing.assert_allclose(rows, expected.probabilities, atol=1e-6)
    starts = [start for each in updates if each["kind"] == "scores" for start in each["start_s"]]
    np.testing.assert_allclose(starts, expected.start_s, atol=1e-6)
    tiles = [each for each in updates if each["kind"] == "tile"]
    assert [tile["start_s"] for tile in tiles] == [0.0, 5.0, 10.0]
    assert tiles[-1]["stop_s"] == pytest.approx(12.0, abs=1e-3)
    pixels = np.frombuffer(base64.b64decode(tiles[0]["pixels"]), np.uint8).reshape(tiles[0]["rows"], -1)
    hertz = updates[0]["spectrogram"]["frequencies_hz"]
    column = pixels[:, int(3.0 / 5.0 * pixels.shape[1])]
    assert hertz[int(column.argmax())] == pytest.approx(300, abs=40)  # the low tone at 3 s


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"topk": 3}, 'there is no query parameter "topk". Did you mean "top_k"?'),
        ({"top_k": "three"}, 'top_k is "three": expected a whole number.'),
        ({"top_k": 0}, "top_k is 0: expected a whole number of at least 1."),
        ({"overlap": "1"}, "overlap is 1.0: expected a fraction of the window, at least 0 and below 1."),
        ({"overlap": "nan"}, 'overlap is "nan": expected a number.'),
        ({"min_confidence": "2"}, "min_confidence is 2.0: expected a number from 0 to 1."),
        ({"format": "xml"}, 'there is no format "xml". Known: json, jsonl, updates, csv, audacity, raven.'),
        ({"unknown": "yes"}, 'unknown is "yes": expected true or false.'),
        ({"top_k": [1, 2]}, "the query parameter top_k is given twice: give it once."),
    ],
)
def test_a_wrong_parameter_is_named(server, sound, parameters, message):
    assert message in problem(server.classify(sound, **parameters), 400)


def test_a_file_that_is_no_sound_is_named_by_its_name_not_by_its_path(server):
    for form in ("json", "updates", "jsonl", "csv"):
        detail = problem(server.classify(b"Tuesday: rain.\n", name="C:\\me\\notes.wav", format=form), 422)
        assert detail.startswith('"notes.wav" cannot be decoded: it begins with the text')


def test_a_truncated_sound_is_analysed_with_a_note(server, sound):
    result = server.classify(sound[: len(sound) // 2], name="cut.wav").json()[0]
    assert result["note"].startswith('"cut.wav" is truncated:')
    assert result["duration_s"] == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize(
    ("data", "headers", "message"),
    [
        (b"", {}, "the request has no sound"),
        (b"x", {"Content-Type": "multipart/form-data"}, "the form cannot be read"),
        (b"--b--", {"Content-Type": "multipart/form-data; boundary=b"}, "the form has 0 files"),
        (b"--b\r\n\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, "the form cannot be read"),
    ],
)
def test_a_request_without_a_sound(server, data, headers, message):
    assert message in problem(server.post("/v1/classify", data, headers=headers), 400)


def test_two_files_in_a_form_are_refused(server, sound):
    files = [("file", ("a.wav", sound)), ("file", ("b.wav", sound))]
    assert "send one" in problem(server.post("/v1/classify", files=files), 400)


def test_an_explanation_is_that_of_python(server, detector, samples, sound):
    expected = explain(detector, samples, rate_hz=RATE_HZ)
    found = server.post("/v1/explain", sound).json()
    assert (found["label"], found["start_s"], found["stop_s"]) == (
        expected.classes[0],
        expected.start_s,
        expected.stop_s,
    )
    assert found["sentence"] == expected.sentence()
    assert len(found["regions"]) == len(expected.regions())
    importance = np.frombuffer(base64.b64decode(found["importance"]), np.uint8)
    assert importance.size == found["rows"] * found["columns"]


def test_a_part_is_explained_at_its_place_in_the_recording(server, sound):
    found = server.post("/v1/explain", sound, params={"start": 7, "stop": 8}).json()
    assert (found["label"], found["start_s"], found["stop_s"]) == ("high", 7.0, 8.0)
    assert all(7.0 <= region["start_s"] < region["stop_s"] <= 8.01 for region in found["regions"])


def test_a_part_outside_of_the_recording_cannot_be_explained(server, sound):
    assert "expected 0 ≤ start < stop" in problem(
        server.post("/v1/explain", sound, params={"start": 8, "stop": 7}), 400
    )
    assert '"upload"' in problem(server.post("/v1/explain", sound, params={"start": 50, "stop": 51}), 422)


EVENT = {"start_s": 0.0, "stop_s": 1.0, "label": "dog", "confidence": 0.5, "peak": 0.5}
RESULT = {"file": "a.wav", "duration_s": 4.0, "classes": [{"label": "dog", "score": 0.5}], "events": [EVENT]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b"[" * 100_000,
        b'[{"file": "a"}]',
        b'[{"file": "a", "duration_s": NaN, "classes": [], "events": []}]',
        *(
            json.dumps([RESULT | changes]).encode()
            for changes in (
                {"began": "0001-01-01"},
                {"began": 5},
                {"duration_s": 1e300},
                {"duration_s": 10**400},
                {"duration_s": True},
                {"classes": [{"label": "dog", "score": 2}]},
                {"events": [EVENT | {"start_s": -1}]},
                {"events": [EVENT | {"stop_s": 1e18}], "began": "2024-06-12T04:30:00Z"},
                {"events": [EVENT | {"level_dbfs": None}]},
                {"events": [EVENT | {"label": 3}]},
            )
        ),
    ],
)
def test_only_results_can_be_converted(server, body):
    assert "not a list of results" in problem(server.post("/v1/convert", body), 400)


def test_results_are_converted_unchanged(server):
    body = json.dumps([RESULT | {"began": "2024-06-12T04:30:00.000Z", "note": "cut", "file": "süß \ud83d\ude00.wav"}])
    (found,) = server.post("/v1/convert", body, params={"format": "json"}).json()
    assert found == json.loads(body)[0] | {"events": [EVENT | {"start_utc": "2024-06-12T04:30:00.000Z"}]}


def test_no_upload_is_kept(server, sound):
    folder = server.app.state.context.folder
    server.classify(sound)
    server.classify(b"no sound")
    server.post("/v1/classify", files={"file": ("a.wav", sound)})
    assert {path.name for path in folder.iterdir()} == {"lock", "model-1.onnx"}


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("MP3", None), ("AIFF", None)])
def test_other_formats_are_decoded(server, samples, container, subtype):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format=container, subtype=subtype)
    assert {event["label"] for event in server.classify(file.getvalue()).json()[0]["events"]} == {"low", "high"}


def test_an_unexpected_error_is_logged_and_answered(detector, monkeypatch, caplog):
    """Also after the first line: the page must not take it for a lost connection."""

    def score(*_: object, **__: object) -> None:
        raise RuntimeError("out of luck")

    sound = encoded(tones(40.0, []))  # too long for the processes that analyse short sounds
    with running(detector) as server:
        monkeypatch.setattr(type(detector), "score", score)
        assert "this is a bug in soundmark" in problem(server.classify(sound), 500)
        lines = server.classify(sound, format="updates").text.splitlines()
        assert json.loads(lines[0])["kind"] == "opened"
        assert json.loads(lines[-1])["kind"] == "error"
        monkeypatch.undo()
        assert server.classify(sound).status_code == 200
        assert server.app.state.context.uploads.inside == 0
    assert "RuntimeError: out of luck" in caplog.text
