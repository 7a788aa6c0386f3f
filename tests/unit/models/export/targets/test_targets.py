"""Every program that models are exported for computes soundmark's probabilities; nothing else is written."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from soundmark.cli import choices
from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.models.classifier import Model, load
from soundmark.models.export.targets import TARGETS, export_for, page_target, target_path
from soundmark.models.export.targets.target import write
from soundmark.spectrograms import Mel
from support.commands import run_soundmark
from support.exports import MEL_ENLARGED, REPRESENTATIONS, small_model

pytestmark = pytest.mark.slow

NAMES = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module", params=["mel", "logmel", "logmel-scratch"])
def model(request) -> Model:
    return small_model(REPRESENTATIONS[request.param])


def test_the_command_lists_the_programs():
    assert list(choices.EXPORT_TARGETS) == list(TARGETS)


@pytest.fixture(scope="module")
def mel() -> Model:
    return small_model(Mel())


@NAMES
@pytest.mark.parametrize("window_s", [4.0, 1.3])
def test_the_program_computes_the_probabilities_of_the_model(model, name, window_s):
    target, model = TARGETS[name], Model(replace(model.bundle, card=replace(model.card, window_s=window_s)))
    files = target.build(model)
    assert target.check(model, files)[1] < 1e-4
    for name, content in files.items():
        if name.endswith(".onnx") or not name:
            onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


@NAMES
def test_it_differs_between_sounds(mel, name):
    target = TARGETS[name]
    files, audio = target.build(mel), target.audio(mel)
    noise = np.random.default_rng(0).normal(0, 0.1, audio.lengths[0]).astype(np.float32)
    assert np.abs(target.run(files, noise) - target.run(files, 0 * noise)).max() > 0.01


@NAMES
def test_an_export_that_differs_is_not_written(mel, name, tmp_path):
    target = TARGETS[name]
    other = Model(replace(mel.bundle, card=replace(mel.card, temperature=2.0)))
    wrong = replace(target, build=lambda _: target.build(other))
    with pytest.raises(BundleError, match=f"the export for {target.program} differs from the model by .* not written"):
        export_for(mel, wrong, tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


@NAMES
def test_the_command_writes_beside_the_model(name, tmp_path):
    small_model(Mel()).save(tmp_path / "model.onnx")
    done = run_soundmark("export", tmp_path / "model.onnx", "--for", name)
    target = TARGETS[name]
    path = target_path(target, tmp_path / "model.onnx", None, overwrite=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path}: for {target.program}, ")
    files = target.build(load(tmp_path / "model.onnx"))
    for file, content in files.items():
        assert (path / file if file else path).read_bytes() == content


@NAMES
def test_soundmark_does_not_load_an_export(mel, name, tmp_path):
    export_for(mel, TARGETS[name], path := tmp_path / "export.onnx" if TARGETS[name].file else tmp_path / "export")
    (file,) = [path] if path.is_file() else path.rglob("*.onnx")
    with pytest.raises(BundleError, match="is an export for other programs"):
        load(file)


@NAMES
def test_foreign_files_are_kept(mel, name, tmp_path):
    target = TARGETS[name]
    mine = tmp_path / "x.onnx" if target.file else tmp_path / "x" / next(iter(target.build(mel)))
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export_for(
            mel, target, target_path(target, tmp_path / "model.onnx", tmp_path / mine.relative_to(tmp_path).parts[0])
        )
    assert mine.read_text() == "mine"


def test_a_folder_is_not_written_over_a_file(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(OutputError, match="notes. is a file, but the export for BirdNET-Go is a folder"):
        target_path(TARGETS["birdnet-go"], tmp_path / "model.onnx", tmp_path / "notes")


def test_messages_name_the_option_of_the_folder(mel, tmp_path):
    (tmp_path / "notes").write_text("mine")
    page = page_target(tmp_path / "none")
    with pytest.raises(OutputError, match="the export for a web page is a folder: choose another with --page.$"):
        target_path(page, tmp_path / "model.onnx", tmp_path / "notes")
    (tmp_path / "site" / "model.onnx").mkdir(parents=True)
    for folder in ("site", "notes/site"):
        with pytest.raises(OutputError, match="Choose another folder with --page.$"):
            write(tmp_path / folder, {"model.onnx": b""}, option=page.option)


def test_a_model_for_any_length_is_needed_by_transformers_js():
    with pytest.raises(SettingsError, match="cannot be exported for any length"):
        TARGETS["transformers.js"].build(small_model(MEL_ENLARGED))
    assert TARGETS["opensoundscape"].build(small_model(MEL_ENLARGED))


def test_unknown_programs_are_refused_with_the_nearest_name(tmp_path):
    done = run_soundmark("export", tmp_path / "model.onnx", "--for", "birdnetgo")
    assert done.returncode == 2
    assert 'there is no program "birdnetgo". Did you mean "birdnet-go"?' in done.stderr


def test_metadata_name_the_classes(mel):
    for target in TARGETS.values():
        file = next(content for name, content in target.build(mel).items() if not name or name.endswith(".onnx"))
        metadata = {entry.key: entry.value for entry in onnx.load_from_string(file).metadata_props}
        assert json.loads(metadata["soundmark_export"])["classes"] == ["dog", "siren", "ärger"]


def test_a_network_that_takes_one_window_at_a_time():
    graph = onnx.load_from_string(small_model(Mel()).bundle.graph)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    one = small_model(Mel(), window_s=1.0)
    one = Model(replace(one.bundle, graph=graph.SerializeToString()))
    assert TARGETS["opensoundscape"].check(one, TARGETS["opensoundscape"].build(one))[1] < 1e-4
    for name in ("birdnet-go", "transformers.js"):
        with pytest.raises(SettingsError, match="takes one window at a time, but the program .*: train a model on a"):
            TARGETS[name].build(one)
    whole = Model(replace(one.bundle, card=replace(one.card, window_s=4.0)))
    assert TARGETS["birdnet-go"].check(whole, TARGETS["birdnet-go"].build(whole))[1] < 1e-4
