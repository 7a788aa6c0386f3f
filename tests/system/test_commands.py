"""Every command on real files: standard output, standard error and exit status."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from soundmark import audio
from soundmark.datasets import Dataset, features
from soundmark.datasets.spectrogram_images import read_image
from soundmark.spectrograms import Image
from support.commands import run_soundmark
from support.models import tone_embedder

SMALL = ["--epochs", "1", "--batch-size", "16"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def soundmark(cache):
    """Return a function that runs a command and returns its output and exit status."""

    def call(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
        done = run_soundmark(*arguments, env={"SOUNDMARK_CACHE": cache, "COLUMNS": 100}, **options)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def model(soundmark, city_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    done = soundmark("train", city_folder, "-o", folder, "--recipe", "notebook-mel", "--test-fold", 3, *SMALL)
    assert done.returncode == 0, done.stderr
    return folder / "model.onnx"


def clips(city_folder: Path, n: int) -> list[Path]:
    return [clip.path for clip in Dataset.open(city_folder).clips[:n]]


def test_compare_prints_a_table_and_writes_the_report(soundmark, city_folder, tmp_path):
    run = tmp_path / "run"
    done = soundmark("compare", city_folder, "-o", run, "--preset", "notebook", "--protocol", "random", *SMALL)
    assert done.returncode == 0, done.stderr
    assert re.search(r"notebook-image .*random", done.stdout)
    assert re.search(r"notebook-mel .*random", done.stdout)
    assert "notebook-image − notebook-mel, random:" in done.stdout
    assert "image − mel = " in done.stdout.splitlines()[-1]  # the conclusion
    assert "2 trainings" in done.stderr
    assert str(run / "report.html") in done.stderr.replace("\n", "")
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    found = json.loads((run / "metrics.json").read_text())
    assert found["command"].startswith("soundmark compare")
    again = soundmark("compare", city_folder, "-o", run, "--preset", "notebook", "--protocol", "random", *SMALL)
    assert again.stdout == done.stdout
    assert "all finished" in again.stderr


def test_curve_states_its_cost_and_prints_tables_for_80_columns(city_folder, tmp_path):
    run = tmp_path / "curve"
    command = ("curve", city_folder, "-o", run, "--recipe", "notebook-mel", "--draws", 1, *SMALL)
    done = run_soundmark(*command, env={"COLUMNS": 80, "SOUNDMARK_CACHE": tmp_path / "cache"})
    assert done.returncode == 0, done.stderr
    assert "6 trainings on 1 recording per class, and on all (2.0): " in " ".join(done.stderr.split())
    lines = done.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80  # sentences are wrapped in a terminal only
    assert "accuracy % [95 %]" in lines[1]
    assert re.search(r"^ +all +20 +1 +[0-9.]+ \[", done.stdout, flags=re.MULTILINE)
    assert "The curve cannot be extrapolated: that needs at least 3 sizes" in done.stdout
    assert (run / "curve.png").stat().st_size > 10_000
    assert len(json.loads((run / "curve.json").read_text())["points"]) == 2


def test_inspect_lists_contradicted_labels_and_writes_a_table_and_a_page(
    soundmark, city_folder, mn04_weights, tmp_path
):
    done = soundmark("inspect", city_folder, "--labels", "transfer", "-o", tmp_path / "labels.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == [
        "recording",
        "label",
        "predicted",
        "log",
        "odds",
        "clips",
        "first",
        "clip",
    ]
    assert "transfer contradicts the labels of" in done.stdout
    table = list(csv.DictReader(io.StringIO((tmp_path / "labels.csv").read_text())))
    odds = [float(row["log odds"]) for row in table]
    assert len(table) == len({clip.source for clip in Dataset.open(city_folder).clips})
    assert odds == sorted(odds)
    again = soundmark("inspect", city_folder, "--labels", "transfer", "-o", tmp_path / "labels.csv")
    assert again.returncode == 2  # it exists
    page = soundmark("inspect", city_folder, "--labels", "transfer", "-o", tmp_path / "labels.html")
    assert page.stdout == done.stdout
    assert (tmp_path / "labels.html").read_text().count("<audio") == 5


def test_train_evaluate_show(soundmark, city_folder, model, tmp_path):
    shown = soundmark("show", model)
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) <= 10
    for word in ("10, single-label: air_conditioner", "mel", "95 % interval", "protocol folds", "notebook_cnn"):
        assert word in shown.stdout, word
    complete = " ".join(soundmark("show", model, "--all").stdout.split())
    for word in ("siren, street_music", "mel", "fold 3 held out", "95 % interval", "notebook_cnn"):
        assert word in complete, word
    done = soundmark("evaluate", city_folder, "-m", model, "-o", tmp_path / "out")
    assert done.returncode == 0
    assert "fold 3, which was held out" in done.stdout
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (model.parent / "predictions.csv").read_bytes()


def test_classify_prints_a_table(soundmark, city_folder, model):
    files = clips(city_folder, 2)
    done = soundmark("classify", *files, "-m", model, "--top-k", 2)
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(re.findall(r"\d\.\d{3}", done.stdout)) == 4


def test_classify_prints_json_csv_and_jsonl(soundmark, city_folder, model):
    files = clips(city_folder, 3)
    answers = json.loads(soundmark("classify", *files, "-m", model, "--format", "json", "--top-k", 10).stdout)
    assert [answer["file"] for answer in answers] == [str(path) for path in files]
    for answer in answers:
        scores = [entry["score"] for entry in answer["classes"]]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-5)
    rows = list(csv.DictReader(io.StringIO(soundmark("classify", *files, "-m", model, "--format", "csv").stdout)))
    assert [row["File"] for row in rows] == [str(path) for path in files]
    assert [row["Label"] for row in rows] == [answer["classes"][0]["label"] for answer in answers]
    lines = soundmark("classify", *files, "-m", model, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["label"] for line in lines] == [row["Label"] for row in rows]


def test_classify_searches_folders(soundmark, city_folder, model):
    answers = json.loads(soundmark("classify", city_folder / "audio" / "fold1", "-m", model, "--format", "json").stdout)
    assert len(answers) == len(list((city_folder / "audio" / "fold1").iterdir()))


def test_classify_names_unreadable_files_and_classifies_the_others(soundmark, city_folder, model, tmp_path):
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "empty folder").mkdir()
    files = [tmp_path / "none.wav", *clips(city_folder, 1), tmp_path / "text.wav", tmp_path / "empty folder"]
    done = soundmark("classify", *files, "-m", model, "--format", "json")
    assert done.returncode == 1
    answers = json.loads(done.stdout)
    failed = [answer["file"] for answer in answers if "error" in answer]
    assert sorted(failed) == sorted(str(path) for path in (files[0], *files[2:]))
    assert len([line for line in done.stderr.splitlines() if line.startswith("soundmark: ")]) == 3
    done = soundmark("classify", *files, "-m", model, "--format", "csv")
    assert [row["File"] for row in csv.DictReader(io.StringIO(done.stdout))] == [str(files[1])]
    assert soundmark("classify", tmp_path / "none.wav", "-m", model).stdout == ""


def test_explain_prints_the_class_and_writes_an_image(soundmark, city_folder, model, tmp_path):
    (sound,) = clips(city_folder, 1)
    done = soundmark("explain", sound, "-m", model, "-o", tmp_path / "why" / "why.png")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (best,) = json.loads(soundmark("classify", sound, "-m", model, "--format", "json", "--top-k", 1).stdout)
    best = best["classes"][0]
    assert done.stdout.startswith(f"{best['label']} ({best['score']:.2f}); ")
    assert done.stdout.endswith(f" Image: {tmp_path / 'why' / 'why.png'}.\n")
    with Pillow.open(tmp_path / "why" / "why.png") as image:
        assert image.size[0] > image.size[1] > 300


def test_spectrogram_images_equal_the_features(soundmark, city_folder, tmp_path, cache, monkeypatch):
    done = soundmark("spectrograms", city_folder, tmp_path / "images")
    assert done.returncode == 0, done.stderr
    data = Dataset.open(city_folder)
    assert sorted(p.name for p in (tmp_path / "images").iterdir() if p.is_dir()) == sorted(data.classes)
    monkeypatch.setenv("SOUNDMARK_CACHE", str(cache))
    store = features.build(data, Image(), jobs=1)
    for index, clip in enumerate(data.clips):
        path = tmp_path / "images" / clip.label / f"{clip.path.stem}.png"
        with Pillow.open(path) as image:
            assert (image.mode, image.size, image.format) == ("L", (224, 224), "PNG")
        np.testing.assert_array_equal(read_image(path, Image()), store.array[index])
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "images").rglob("*.png")}
    soundmark("spectrograms", city_folder, tmp_path / "images")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "images").rglob("*.png")} == stamps


def test_spectrograms_with_axes_and_colours(soundmark, city_folder, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    (few / "hum").mkdir()
    (few / "bark").mkdir()
    for folder, path in zip(("hum", "bark"), clips(city_folder, 2), strict=True):
        shutil.copy(path, few / folder)
    done = soundmark(
        "spectrograms", few, tmp_path / "out", "--axes", "--colours", "viridis", "--recipe", "notebook-mel"
    )
    assert done.returncode == 0, done.stderr
    with Pillow.open(next((tmp_path / "out").rglob("*.png"))) as opened:
        pixels = np.asarray(opened)
    assert pixels.shape[2] >= 3
    assert (pixels[..., 0] != pixels[..., 2]).any()
    wrong = soundmark("spectrograms", few, tmp_path / "out2", "--colours", "virids")
    assert wrong.returncode == 2
    assert 'no colour map "virids". Did you mean "viridis"?' in wrong.stderr


def test_labels_cannot_write_outside_the_folder(soundmark, city_folder, tmp_path):
    shutil.copy(clips(city_folder, 1)[0], tmp_path / "a.wav")
    (tmp_path / "list.csv").write_text("path,label\na.wav,../../../escaped\na.wav,/etc\n")
    done = soundmark("spectrograms", tmp_path / "list.csv", tmp_path / "deep" / "out")
    written = set(tmp_path.rglob("*.png"))
    assert written, done.stderr
    assert all((tmp_path / "deep" / "out") in p.parents for p in written)


def test_inspect_prints_tables_and_writes_a_figure(soundmark, city_folder, tmp_path):
    done = soundmark("inspect", city_folder, "-o", tmp_path / "city.png")
    assert done.returncode == 0
    assert "Clips per class and fold" in done.stdout
    with Pillow.open(tmp_path / "city.png") as image:
        assert image.size[0] > 500


def test_an_unreadable_clip_gives_exit_status_1(soundmark, city_folder, tmp_path):
    copy = shutil.copytree(city_folder, tmp_path / "city")
    broken = Dataset.open(copy).clips[4].path
    broken.write_text("no sound")
    done = soundmark(
        "compare", copy, "-o", tmp_path / "run", "--recipe", "notebook-mel", "--protocol", "random", *SMALL
    )
    assert done.returncode == 1
    assert broken.name in done.stderr
    assert (tmp_path / "run" / "metrics.json").exists()
    assert soundmark("inspect", copy).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nowhere", "-o", "run"], '"nowhere" does not exist'),
        (
            ["compare", "{city_folder}", "-o", "run", "--recipe", "notebook-mell"],
            'Did you mean "notebook-mel"? Known: notebook-image',
        ),
        (["compare", "{city_folder}", "-o", "run", "--protocol", "fold"], 'no protocol "fold". Did you mean "folds"?'),
        (["compare", "{city_folder}", "-o", "run", "--folds", "1;2"], '--folds is "1;2"'),
        (["compare", "{city_folder}", "-o", "run", "--folds", "9"], "has no fold 9. Available folds: 1, 2, 3"),
        (
            ["compare", "{city_folder}", "-o", "run", "--epochs", "0"],
            "epochs is 0: expected a whole number from 1 to 1000000",
        ),
        (
            ["compare", "{city_folder}", "-o", "run", "--learning-rate", "nan"],
            "learning_rate is nan: expected a number above 0",
        ),
        (["compare", "{city_folder}", "-o", "run", "--device", "tpu"], 'the device "tpu" is not available'),
        (
            ["compare", "{city_folder}", "-o", "{model}"],
            "is the name of a file, but the results are written to a folder",
        ),
        (["train", "{city_folder}", "-o", "run", "--test-fold", "4"], "has no fold 4"),
        (["train", "{city_folder}", "-o", "run", "--scores", "nowhere"], "is not the result of a comparison"),
        (["classify", "x.wav", "-m", "none.onnx"], 'the model "none.onnx" does not exist'),
        (["classify", "x.wav", "-m", "{city_folder}/metadata/UrbanSound8K.csv"], "is not a model"),
        (["classify", "", "-m", "{model}"], 'an input is ""'),
        (["show", "{city_folder}"], "is a folder; a model is one .onnx file"),
        (["evaluate", "{city_folder}", "-m", "{city_folder}/audio"], "is a folder"),
        (["compare", "{city_folder}", "-o", "run", "--recipe", "none.toml"], 'the recipe "none.toml" cannot be read'),
    ],
)
def test_a_usage_error_is_one_sentence(soundmark, city_folder, model, tmp_path, arguments, message):
    done = soundmark(*(argument.format(city_folder=city_folder, model=model) for argument in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " "), done.stderr
    assert done.stdout == ""
    assert len([line for line in done.stderr.splitlines() if line.startswith("soundmark: ")]) == 1


def test_a_recipe_file(soundmark, city_folder, tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\nepochs = 1\n\n[representation]\nname = "mel"\nn_mels = 40\n')
    done = soundmark(
        "train", city_folder, "-o", tmp_path / "run", "--recipe", tmp_path / "mine.toml", "--batch-size", 16
    )
    assert done.returncode == 0, done.stderr
    assert "n_mels = 40" in (tmp_path / "run" / "recipe.toml").read_text()
    (tmp_path / "mine.toml").write_text('name = "mine"\nepoch = 1\n\n[representation]\nname = "mel"\n')
    done = soundmark("train", city_folder, "-o", tmp_path / "run2", "--recipe", tmp_path / "mine.toml")
    assert done.returncode == 2
    assert 'no recipe field "epoch". Did you mean "epochs"?' in done.stderr.replace("\n", " ")


def test_verbose_logs_what_is_done_to_standard_error(soundmark, city_folder, model):
    (sound,) = clips(city_folder, 1)
    done = soundmark("classify", sound, "-m", model, "-v")
    log = done.stderr.splitlines()
    assert [line for line in log if not re.match(r"debug: \d+\.\d{3} s: ", line)] == []
    for text in ("versions: python 3.", " cores available", f'loaded "{model}": 10 classes', f'analysing "{sound}"'):
        assert any(text in line for line in log), text
    assert done.stdout == soundmark("classify", sound, "-m", model).stdout
    assert soundmark("--verbose", "classify", sound, "-m", model).stderr.count("\n") == len(log)


def test_verbose_logs_cache_hits(soundmark, city_folder, model, tmp_path):
    soundmark("evaluate", city_folder, "-m", model)
    done = soundmark("evaluate", city_folder, "-m", model, "--verbose")
    clips, cached = re.search(r"mel features: (\d+) of (\d+) clips are cached in", done.stderr).groups()
    assert clips == cached
    first = soundmark("classify", city_folder / "audio" / "fold1", "-m", model, "-o", tmp_path / "out", "-v")
    assert re.search(r"0 of \d+ files are in the journal", first.stderr)


def test_min_conf_and_threads_are_aliases(soundmark, city_folder, model):
    (sound,) = clips(city_folder, 1)
    long = soundmark("classify", sound, "-m", model, "--format", "json", "--min-confidence", 0.9, "--jobs", 1)
    short = soundmark("classify", sound, "-m", model, "--format", "json", "--min-conf", 0.9, "--threads", 1)
    assert short.returncode == 0
    assert short.stdout == long.stdout


def test_a_pipe_may_be_closed_early(model, city_folder):
    command = (
        f'"{sys.executable}" -m soundmark.cli classify "{city_folder}/audio" -m "{model}" --format csv | head -n 1'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout == "Start (s),End (s),Label,Confidence,File,Level (dBFS)\n"
    assert "Traceback" not in done.stderr


def test_standard_input_is_a_sound_or_a_list_of_files(soundmark, city_folder, model, tmp_path):
    (sound,) = clips(city_folder, 1)
    named = json.loads(soundmark("classify", sound, "-m", model, "--format", "json").stdout)
    done = soundmark("classify", "-", "-m", model, "--format", "json", input=sound.read_bytes())
    piped = json.loads(done.stdout)
    assert piped[0]["file"] == "-"
    assert piped[0]["classes"] == named[0]["classes"]
    listed = soundmark("classify", "--files-from", "-", "-m", model, "--format", "json", input=f"{sound}\n")
    assert json.loads(listed.stdout) == named
    (tmp_path / "list.txt").write_text(f"{sound}\n{sound}\n")
    twice = soundmark("classify", "--files-from", tmp_path / "list.txt", "-m", model, "--format", "json")
    assert json.loads(twice.stdout) == named
    assert "1 repeated path of the same files: counted once." in twice.stderr


def test_a_long_recording_has_a_table_of_events(soundmark, city_folder, model, tmp_path):
    parts = [audio.read(path, rate_hz=22_050).samples for path in clips(city_folder, 8)]
    audio.write(tmp_path / "long.wav", np.concatenate(parts), 22_050)
    settings = ["-m", model, "--overlap", "0.5", "--min-confidence", "0.12", "--merge-gap", "1"]
    done = soundmark("classify", tmp_path / "long.wav", *settings)
    assert done.returncode == 0, done.stderr
    assert re.search(r"from +to +class", done.stdout)
    events = [
        json.loads(line)
        for line in soundmark("classify", tmp_path / "long.wav", *settings, "--format", "jsonl").stdout.splitlines()
    ]
    assert events == sorted(events, key=lambda event: event["start_s"])
    assert all(event["peak"] >= 0.12 for event in events)


def test_a_one_sample_clip_is_classified(soundmark, model, tmp_path):
    audio.write(tmp_path / "one.wav", np.ones(1, np.float32) / 2, 192_000)
    done = soundmark("classify", tmp_path / "one.wav", "-m", model)
    assert done.returncode == 0, done.stderr


def test_an_archive_is_indexed_searched_and_suggestions_are_labelled(soundmark, city_folder, tmp_path):
    tone_embedder().save(tmp_path / "model.onnx")
    files, index = clips(city_folder, 12), tmp_path / "index"
    done = soundmark("index", *files[:11], "-m", tmp_path / "model.onnx", "-o", index)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"Indexed 11 recordings.\nThe index is in {index}." in done.stderr
    again = soundmark("index", *files, tmp_path / "none.wav", "-m", tmp_path / "model.onnx", "-o", index)
    assert again.returncode == 1
    assert "Indexed 1 recording; 11 were indexed before. 1 file failed." in again.stderr
    assert "none.wav" in again.stderr

    found = soundmark("search", index, "--like", files[0], "-n", 3)
    assert found.returncode == 0
    assert re.match(r"file +from +to +class +score +similarity\n", found.stdout)
    rows = list(csv.DictReader(io.StringIO(soundmark("search", index, "--like", files[0], "--format", "csv").stdout)))
    assert len(rows) == 10
    similarities = [float(row["similarity"]) for row in rows]
    assert similarities == sorted(similarities, reverse=True)
    assert str(files[0]) not in {row["path"] for row in rows}

    first = json.loads(soundmark("suggest", index, "-n", 4, "--format", "json").stdout)
    table = tmp_path / "labelled.csv"
    table.write_text(
        "path,label,start,end\n"
        + "".join(f"{window['file']},low,{window['start_s']},{window['stop_s']}\n" for window in first)
    )
    second = json.loads(soundmark("suggest", index, "-n", 99, "--labelled", table, "--format", "json").stdout)
    assert len(first) == 4
    assert not {(w["file"], w["start_s"]) for w in first} & {(w["file"], w["start_s"]) for w in second}


def test_the_recordings_of_a_results_folder_are_searched_and_suggested(city_folder, tmp_path):
    embedder, files = tmp_path / "embedder.onnx", clips(city_folder, 3)
    tone_embedder().save(embedder)
    settings = {"env": {"SOUNDMARK_CACHE": tmp_path / "cache", "COLUMNS": 100}}
    run_soundmark("classify", *files, "-m", embedder, "-o", tmp_path / "results", **settings)
    command = (tmp_path / "results", "-m", embedder, "--format", "json")
    first = run_soundmark("suggest", *command, **settings)
    assert (first.returncode, {found["file"] for found in json.loads(first.stdout)}) == (0, set(map(str, files)))
    assert re.search(r"^The index of .*results \(3 recordings\) is in .*cache/indexes/[0-9a-f]{16}\.$", first.stderr)
    (journal,) = (tmp_path / "cache" / "indexes").glob("*/recordings.jsonl")
    written = journal.read_bytes()
    found = run_soundmark("search", *command, "--like", files[0], "-n", 1, **settings)
    assert (found.returncode, len(json.loads(found.stdout))) == (0, 1)
    assert journal.read_bytes() == written
    other = run_soundmark("search", journal.parent, "-m", "audioset", "--like", files[0], **settings)
    assert (other.returncode, other.stdout) == (2, "")
    assert "was made with another model: leave out -m" in other.stderr


def test_compare_shows_learning_curves_in_its_report(soundmark, city_folder, mn04_weights, tmp_path):
    words = ("compare", city_folder, "-o", tmp_path / "run", "--recipe", "transfer", "--protocol", "folds", "--curve")
    done = soundmark(*words)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    section = page[page.index('id="curve"') :].split("</section>")[0]
    assert 'aria-label="transfer on' in section
    assert "labelled training recordings per class" in section
    assert "The curve cannot be extrapolated" in section
    assert (tmp_path / "run" / "transfer" / "curve.json").exists()
    again = soundmark(*words)
    assert again.returncode == 0, again.stderr
    assert "not part of this comparison" not in again.stderr
    none = soundmark("compare", city_folder, "-o", tmp_path / "run", "--recipe", "scratch", "--curve")
    assert (none.returncode, "no recipe has a backbone" in none.stderr) == (2, True)
