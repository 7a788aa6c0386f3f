"""Models on a local stand-in of the Hugging Face Hub: pushed, loaded, and refused."""

import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from soundmark.errors import SettingsError
from soundmark.models.bundle import read_bundle
from soundmark.models.pretrained import hub, named_models
from soundmark.spectrograms import Mel
from support.commands import run_soundmark
from support.exports import small_model
from support.hub import TOKEN, Hub, running_hub

pytestmark = pytest.mark.slow

SCORES = {"protocol": "folds", "n_test": 837, "accuracy": 0.7945, "accuracy_interval": [0.699, 0.874], "macro_f1": 0.8}


@pytest.fixture
def server():
    with running_hub() as running:
        yield running


@pytest.fixture
def model_file(tmp_path) -> Path:
    from soundmark.models.training_record import TrainingRecord

    record = TrainingRecord(name="UrbanSound8K", licence="CC BY-NC 3.0")
    small_model(Mel(), scores=SCORES, training=record, recipe={"name": "transfer"}).save(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def soundmark(server: Hub, tmp_path: Path, *arguments: object, token: str = TOKEN, **env: str):
    settings = {"HF_ENDPOINT": server.url, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "hf"), "COLUMNS": "200"}
    return run_soundmark(
        *arguments, env={**settings, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **env}
    )


def pushed(server: Hub, model_file: Path, repository: str = "user/birds", *options: str) -> None:
    done = soundmark(server, model_file.parent, "push", model_file, repository, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{server.url}/{repository}: model.onnx and README.md. Load it with -m hf://{repository}.\n"


def test_a_pushed_model_is_the_file_with_its_card(server, model_file):
    pushed(server, model_file)
    files = server.files["user/birds"]
    assert files["model.onnx"] == model_file.read_bytes()
    assert server.messages == ["soundmark: 3 classes"]
    page = files["README.md"].decode()
    assert "soundmark classify street.wav -m hf://user/birds\n" in page
    assert 'pip install "soundmark[hub]"' in page
    assert TOKEN not in page
    data = ModelCard(page).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("cc-by-nc-3.0", "soundmark", "audio-classification")
    results = {result.metric_type: (result.metric_value, result.metric_name) for result in data.eval_results}
    assert results["accuracy"] == (0.7945, "accuracy, 95 % interval 0.699 to 0.874")
    assert results["f1"] == (0.8, "macro F1")
    assert data.eval_results[0].dataset_name == "UrbanSound8K, protocol folds"


def test_a_model_is_loaded_by_address_and_found_again_without_a_connection(server, model_file, tmp_path):
    pushed(server, model_file)
    expected = run_soundmark("show", model_file, "--format", "json").stdout
    for _ in range(2):
        done = soundmark(server, tmp_path, "show", "hf://user/birds", "--format", "json")
        assert (done.returncode, done.stderr, done.stdout) == (0, "", expected)
    gets = [request for request in server.requests if request.startswith("GET") and request.endswith("model.onnx")]
    assert len(gets) == 1
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        done = soundmark(server, tmp_path, "show", "hf://user/birds", "--format", "json", **offline)
        assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_another_file_and_revision(server, model_file, tmp_path):
    pushed(server, model_file)
    server.files["user/birds"]["small/int8.onnx"] = model_file.read_bytes()
    done = soundmark(server, tmp_path, "show", f"hf://user/birds@{'c' * 40}/small/int8.onnx")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_export_of_a_model_on_the_hub_is_written_to_the_current_folder(server, model_file, tmp_path):
    pushed(server, model_file)
    assert hub.local_name("hf://user/birds@main") == Path("birds.onnx")
    done = soundmark(
        server, tmp_path, "export", "hf://user/birds", "--with-front-end", "-o", tmp_path / "x.onnx", "--quiet"
    )
    assert done.returncode == 0, done.stderr


def test_private_repositories_need_the_token_which_is_never_printed(server, model_file, tmp_path):
    pushed(server, model_file, "user/secret", "--private")
    assert server.private == {"user/secret"}
    assert soundmark(server, tmp_path, "show", "hf://user/secret").returncode == 0
    for token in ("", "hf_wrongwrongwrongwrong"):
        shutil.rmtree(tmp_path / "hf", ignore_errors=True)
        done = soundmark(server, tmp_path, "show", "hf://user/secret", "--debug", token=token)
        assert done.returncode == 2
        assert (
            "there is no such repository, or it is private. Log in with `hf auth login`, or set HF_TOKEN."
            in done.stderr
        )
        assert TOKEN not in done.stderr + done.stdout
        assert not token or token not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "hf://user/none"), 'the model "hf://user/none" cannot be loaded: there is no such repository'),
        (("show", "hf://user/birds@v9"), "the repository has no such revision. Omit it to load the newest model."),
        (("show", "hf://user/birds/no.onnx"), "the repository has no such file. Name one"),
        (
            ("show", "hf://birds"),
            'the model "hf://birds" is not an address on the Hugging Face Hub: expected hf://USER',
        ),
        (("push", "MODEL", "birds"), 'the repository is "birds": expected USER/NAME, such as user/birds.'),
        (("push", "MODEL", "other/birds"), 'the model cannot be pushed to "other/birds": the Hub answers 403'),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(arguments, message, server, model_file, tmp_path):
    server.files["user/birds"] = {"model.onnx": model_file.read_bytes()}
    done = soundmark(server, tmp_path, *(model_file if each == "MODEL" else each for each in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("soundmark: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("stated", "content", "message"),
    [
        ({"X_Linked_Size": str(2 << 30)}, None, "has 2,147,483,648 bytes; the largest model that is downloaded has"),
        ({"X_Linked_Etag": f'"{"0" * 64}"'}, None, "is damaged: its SHA-256 is not that of the Hub"),
        ({}, b"not a model", "is not a model: it is not an ONNX file"),
        ({}, "changed", "was damaged or changed after it was written"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_refused(stated, content, message, server, model_file, tmp_path):
    original = model_file.read_bytes()
    changed = original.replace(b"siren", b"sirex")
    found = original if content is None else changed if content == "changed" else content
    server.files["user/birds"], server.stated = {"model.onnx": found}, stated
    done = soundmark(server, tmp_path, "show", "hf://user/birds")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "stated",
    [
        {"ETag": '"../../../../evil"', "X_Linked_Etag": '"../../../../evil"'},
        {"ETag": f'"{"e" * 5000}"', "X_Linked_Etag": f'"{"e" * 5000}"'},
        {"X_Repo_Commit": "../../../evil"},
        {"X_Repo_Commit": "c" * 3000},
    ],
)
def test_answers_that_name_files_elsewhere_are_refused(stated, server, model_file, tmp_path):
    server.files["user/birds"], server.stated = {"model.onnx": model_file.read_bytes()}, stated
    done = soundmark(server, tmp_path, "show", "hf://user/birds")
    assert done.returncode == 2
    assert "the server does not answer as the Hugging Face Hub does. Check HF_ENDPOINT." in done.stderr
    assert not list(tmp_path.rglob("*evil*"))


def test_a_download_ends_after_the_size_that_was_stated(server, model_file, tmp_path):
    content = model_file.read_bytes()
    server.files["user/birds"], server.stated = {"model.onnx": content}, {"X_Linked_Size": "100"}
    done = soundmark(server, tmp_path, "show", "hf://user/birds")
    assert done.returncode == 2
    assert done.stderr.endswith(
        'the download of "hf://user/birds" is longer than its 100 bytes; it was stopped. Try again later.\n'
    )
    server.stated = {"X_Linked_Size": "100000"}
    done = soundmark(server, tmp_path, "show", "hf://user/birds")
    assert done.returncode == 2
    assert (
        'the model "hf://user/birds" cannot be loaded: the answer of the Hub is incomplete or contradictory. Try'
        in done.stderr
    )
    assert "unexpected error" not in done.stderr


def test_from_python(server, model_file, tmp_path):
    pushed(server, model_file)
    code = "import soundmark; print(soundmark.load('hf://user/birds').classes)"
    import subprocess
    import sys

    env = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "('dog', 'siren', 'ärger')\n", done.stderr


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match='needs the package huggingface_hub, .* pip install "soundmark.hub.".'):
        named_models.load("hf://user/birds")


def test_the_pushed_bytes_are_those_of_a_saved_model(model_file):
    assert read_bundle(model_file).to_bytes() == model_file.read_bytes()
