"""Dask clusters: the results are those of one machine, whatever ends in the middle, and messages are one sentence."""

import gc
import os
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.datasets import Dataset
from soundmark.detection.analysis import analyze
from soundmark.errors import SettingsError, SoundmarkError
from soundmark.evaluation.comparison import compare
from soundmark.evaluation.curve_run import learning_curve
from soundmark.evaluation.model_evaluation import evaluate
from soundmark.models.classifier import load
from soundmark.runtime import parallel
from soundmark.runtime.parallel import cluster as dask
from support.dask_processes import Cluster, dask_cluster
from support.sounds import RATE_HZ, wave

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, which no test kills."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture
def own_cluster(tmp_path):
    """A scheduler and two workers for one test."""
    with dask_cluster(tmp_path / "dask") as running:
        yield running


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Short clips, an unreadable file, a truncated one, and a recording of ten minutes."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(60):
        audio.write(folder / f"{number:02}.wav", wave(0.6, number), RATE_HZ)
    (folder / "07.wav").write_text("no sound")
    (folder / "08.wav").write_bytes((folder / "08.wav").read_bytes()[:9000])
    audio.write(folder / "long.wav", np.tile(wave(60.0, 3), 11), RATE_HZ)
    return folder


@pytest.fixture(scope="module")
def single(sounds, random_model, tmp_path_factory) -> Path:
    """The results of one machine."""
    folder = tmp_path_factory.mktemp("single") / "results"
    analyze(sounds, random_model, folder, quiet=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a results folder; the journal's lines are in the order in which results arrived."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    found["journal.jsonl"] = b"".join(sorted(found["journal.jsonl"].splitlines(keepends=True)))
    return found


def test_classify_on_two_workers_is_identical_to_one_machine(cluster, sounds, single, random_model, tmp_path):
    found = analyze(sounds, random_model, tmp_path / "results", cluster=cluster.address, quiet=True)
    assert contents(tmp_path / "results") == contents(single)
    assert [failure.file for failure in found.failures] == [str(sounds / "07.wav")]
    assert len(found.notes) == 1


def test_relative_paths_are_those_of_the_calling_process(cluster, sounds, random_model, monkeypatch, tmp_path):
    shutil.copytree(sounds, tmp_path / "sounds")
    monkeypatch.chdir(tmp_path)
    names = ["sounds/07.wav", "sounds/08.wav", "./sounds/09.wav", "sounds/none.wav"]
    here = analyze(names, random_model, "here", quiet=True)
    there = analyze(names, random_model, "there", cluster=cluster.address, quiet=True)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert list(there.failures) == list(here.failures)


def kill_after(cluster: Cluster, process: subprocess.Popen, journal: Path, lines: int) -> threading.Thread:
    """Kill a process as soon as the journal has this many lines."""

    def wait_and_kill() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.002)
        cluster.kill(process)

    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    return thread


def test_a_worker_that_is_killed_half_way_changes_nothing(own_cluster, sounds, single, random_model, tmp_path):
    killer = kill_after(own_cluster, own_cluster.workers[0], tmp_path / "results" / "journal.jsonl", 10)
    analyze(sounds, random_model, tmp_path / "results", cluster=own_cluster.address, quiet=True)
    killer.join()
    assert own_cluster.workers[0].returncode == -signal.SIGKILL
    assert contents(tmp_path / "results") == contents(single)


def test_a_scheduler_that_is_killed_is_one_sentence_and_the_same_call_resumes(
    own_cluster, sounds, single, random_model, tmp_path
):
    killer = kill_after(own_cluster, own_cluster.scheduler, tmp_path / "results" / "journal.jsonl", 10)
    with pytest.raises(SoundmarkError, match=r"the connection to the scheduler at tcp://.* was lost. Finished"):
        analyze(sounds, random_model, tmp_path / "results", cluster=own_cluster.address, quiet=True)
    killer.join()
    assert (tmp_path / "results" / "journal.jsonl").read_bytes().count(b"\n") >= 10
    analyze(sounds, random_model, tmp_path / "results", quiet=True)
    assert contents(tmp_path / "results") == contents(single)


def test_a_cluster_without_workers_is_refused(tmp_path, monkeypatch, sounds, random_model):
    monkeypatch.setattr(dask, "WORKERS_S", 1.0)
    with (
        dask_cluster(tmp_path / "dask", workers=0) as empty,
        pytest.raises(
            SettingsError, match='the cluster at tcp://.* has no workers: start some with "dask worker tcp://'
        ),
    ):
        analyze(sounds, random_model, tmp_path / "results", cluster=empty.address, quiet=True)


def test_a_cluster_that_loses_all_workers_is_given_up(own_cluster, monkeypatch, sounds, random_model, tmp_path, caplog):
    monkeypatch.setattr(dask, "CHECK_INTERVAL_S", 0.2)
    monkeypatch.setattr(dask, "NO_WORKERS_S", 1.0)
    journal = tmp_path / "results" / "journal.jsonl"
    killers = [kill_after(own_cluster, worker, journal, 5) for worker in own_cluster.workers]
    with pytest.raises(SoundmarkError, match=r"has no workers left. Finished work is kept: run the same command again"):
        analyze(sounds, random_model, tmp_path / "results", cluster=own_cluster.address, quiet=True)
    for killer in killers:
        killer.join()
    assert "has no workers left: waiting for new ones" in caplog.text


@pytest.mark.parametrize("version", ["0.0.9", None])
def test_a_worker_of_another_version_is_refused(tmp_path, sounds, random_model, version, monkeypatch):
    """None: a worker on which soundmark is not installed."""
    with dask_cluster(tmp_path / "dask", workers=0) as other:
        monkeypatch.setenv("PYTHONPATH", "")
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        if version:
            (hidden / f"soundmark-{version}.dist-info").mkdir()
            text = f"Metadata-Version: 2.1\nName: soundmark\nVersion: {version}\n"
            (hidden / f"soundmark-{version}.dist-info" / "METADATA").write_text(text)
        else:
            (hidden / "sitecustomize.py").write_text(
                "import importlib.metadata as m\nfind = m.version\n"
                "def version(name):\n"
                "    if name == 'soundmark':\n        raise m.PackageNotFoundError(name)\n    return find(name)\n"
                "m.version = version\n"
            )
        other.start_workers(PYTHONPATH=str(hidden))
        has = "soundmark 0.0.9" if version else "no soundmark"
        with pytest.raises(SettingsError, match=rf"1 worker of 1 \(tcp://.*\) has {has}, but this machine"):
            analyze(sounds, random_model, tmp_path / "results", cluster=other.address, quiet=True)
        assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:8786", "somewhere"])
def test_an_address_without_a_scheduler_is_refused(sounds, random_model, tmp_path, address, monkeypatch):
    monkeypatch.setattr(dask, "CONNECT_S", 1.0)
    expected = (
        "no Dask scheduler answers at" if address.startswith("tcp") else "expected the address of a Dask scheduler"
    )
    with pytest.raises(SettingsError, match=expected):
        analyze(sounds, random_model, tmp_path / "results", cluster=address, quiet=True)


def test_another_service_at_the_address_is_refused(sounds, random_model, tmp_path, monkeypatch):
    monkeypatch.setattr(dask, "CONNECT_S", 1.0)

    class Banner(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n" * 20)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Banner) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"tcp://127.0.0.1:{server.server_address[1]}"
            with pytest.raises(SettingsError, match="no Dask scheduler answers at"):
                analyze(sounds, random_model, tmp_path / "results", cluster=address, quiet=True)
        finally:
            server.shutdown()
    assert no_client_is_open()


def test_tls_without_certificates_is_refused(sounds, random_model, tmp_path):
    with pytest.raises(SettingsError, match="tls://127.0.0.1:9 needs certificates: set distributed.comm.tls"):
        analyze(sounds, random_model, tmp_path / "results", cluster="tls://127.0.0.1:9", quiet=True)
    assert no_client_is_open()


def no_client_is_open() -> bool:
    """Whether no client is left that the garbage collector would close, in whatever thread it runs."""
    from distributed import Client

    return all(one.status == "closed" for one in gc.get_objects() if issubclass(type(one), Client))


def test_a_file_that_kills_every_worker_is_named(own_cluster, tmp_path):
    own_cluster.start_workers(3)
    with (
        parallel.workers(own_cluster.address) as workers,
        pytest.raises(SoundmarkError, match="several workers ended while they worked on .*: killed .out of memory"),
    ):
        list(parallel.map_unordered(os._exit, [1], jobs=workers))


def test_any_executor_can_be_the_cluster(sounds, single, random_model, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        analyze(sounds, random_model, tmp_path / "results", cluster=pool, quiet=True)
    assert contents(tmp_path / "results") == contents(single)


def test_another_object_is_no_cluster(sounds, random_model, tmp_path):
    with pytest.raises(SettingsError, match="cluster is 7: expected the address of a Dask scheduler, a distr"):
        analyze(sounds, random_model, tmp_path / "results", cluster=7, quiet=True)


def test_a_client_stays_open(cluster, sounds, random_model, tmp_path):
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        analyze(sounds / "00.wav", random_model, cluster=client, quiet=True)
        assert client.submit(abs, -1).result() == 1


# ── data sets ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def damaged_city(city_folder, tmp_path, monkeypatch) -> Dataset:
    """The synthetic city with an unreadable clip, opened by a relative path."""
    shutil.copytree(city_folder, tmp_path / "city")
    monkeypatch.chdir(tmp_path)
    sorted(Path("city").rglob("*.wav"))[3].write_text("no sound")
    return Dataset.open("city")


def test_features_and_images_are_identical(cluster, damaged_city, tmp_path, monkeypatch, caplog):
    found = []
    for name, address in (("here", None), ("there", cluster.address)):
        monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / f"cache-{name}"))
        caplog.clear()
        x, y = damaged_city.features("mel", cluster=address, quiet=True)
        written = damaged_city.save_spectrograms(tmp_path / name, cluster=address, quiet=True)
        images = {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.png")}
        found.append((x.tobytes(), y.tobytes(), written, written.skipped, images, caplog.text))
    assert found[0] == found[1]
    assert len(found[0][4]) == 59


def figures(folder: Path) -> dict[str, str]:
    """What a comparison found: predictions and histories, without the times; models and metrics.json have times too."""
    files = [*folder.rglob("predictions.csv"), *folder.rglob("history.csv"), *folder.rglob("recipe.toml")]
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in files}
    return {
        name: re.sub(r",[^,]*$", "", text, flags=re.MULTILINE) if name.endswith("history.csv") else text
        for name, text in found.items()
    }


@pytest.mark.long(300)
def test_twelve_units_on_two_workers_equal_one_process(cluster, city, small_recipes, tmp_path, monkeypatch):
    arguments = {"protocols": "folds", "seeds": 2, "quiet": True}
    here = compare(city, small_recipes, tmp_path / "here", **arguments)
    there = compare(city, small_recipes, tmp_path / "there", cluster=cluster.address, **arguments)
    assert sum(len(result.folds) for result in there.results) == 12
    assert figures(tmp_path / "there") == figures(tmp_path / "here")
    assert len(figures(tmp_path / "there")) == 12 * 3 + 4
    for a, b in zip(here.results, there.results, strict=True):
        assert np.array_equal(a.probabilities, b.probabilities)
        assert repr(a.summary) == repr(b.summary)
        for fold, other in zip(a.folds, b.folds, strict=True):
            assert load(fold.model).bundle.graph == load(other.model).bundle.graph
    assert repr(here.comparisons) == repr(there.comparisons)


@pytest.fixture(scope="module")
def small_recipes():
    """Two networks that train in about a second."""
    from dataclasses import replace

    from soundmark.spectrograms import Mel
    from soundmark.training.named_recipes import recipe_named

    base = replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=1, batch_size=30)
    return [base, replace(base, name="other", learning_rate=0.01)]


def test_a_comparison_resumes_on_a_cluster(cluster, city, small_recipes, tmp_path):
    here = compare(city, small_recipes[:1], tmp_path / "run", protocols="folds", quiet=True)
    shutil.rmtree(tmp_path / "run" / "notebook-mel" / "folds" / "fold-2")
    before = figures(tmp_path / "run")
    again = compare(city, small_recipes[:1], tmp_path / "run", protocols="folds", cluster=cluster.address, quiet=True)
    assert {name: text for name, text in figures(tmp_path / "run").items() if "fold-2" not in name} == before
    assert np.array_equal(here.results[0].probabilities, again.results[0].probabilities)


def test_workers_with_another_cache_are_refused(cluster, city, small_recipes, tmp_path, monkeypatch):
    from soundmark.training import unit_on_cluster

    original = unit_on_cluster.RemoteFeatures.of

    def elsewhere(store):
        from dataclasses import replace

        return replace(original(store), path=tmp_path / "nowhere.npy")

    monkeypatch.setattr(unit_on_cluster.RemoteFeatures, "of", elsewhere)
    with pytest.raises(SettingsError, match='does not find the features in ".*nowhere.npy": set SOUNDMARK_CACHE'):
        compare(city, small_recipes[:1], tmp_path / "run", protocols="random", cluster=cluster.address, quiet=True)


@pytest.mark.long(300)
def test_a_learning_curve_is_identical(cluster, city, small_recipes, tmp_path):
    here = learning_curve(city, small_recipes[0], tmp_path / "here", draws=1, quiet=True)
    there = learning_curve(city, small_recipes[0], tmp_path / "there", draws=1, cluster=cluster.address, quiet=True)
    assert there.points == here.points


@pytest.mark.long(300)
def test_a_curve_of_heads_is_identical(cluster, city, mn04_weights, tmp_path):
    here = learning_curve(city, "transfer", tmp_path / "here", draws=2, quiet=True)
    there = learning_curve(city, "transfer", tmp_path / "there", draws=2, cluster=cluster.address, quiet=True)
    assert there.points == here.points


def test_evaluate_is_identical(cluster, city, small_recipes, tmp_path):
    run = compare(city, small_recipes[0], tmp_path / "run", protocols="random", quiet=True)
    model = load(run.results[0].folds[0].model)
    for events in (False, True):
        here = evaluate(model, city, events=events, quiet=True)
        there = evaluate(model, city, events=events, cluster=cluster.address, quiet=True)
        assert repr(there) == repr(here)


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_line_on_a_local_cluster(sounds, single, random_model, tmp_path):
    random_model.bundle.write(tmp_path / "model.onnx")
    command = [sys.executable, "-m", "soundmark.cli", "classify", str(sounds), "-m", "model.onnx", "-o", "results"]
    done = subprocess.run([*command, "--cluster", "local", "--jobs", "2"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # one file is unreadable
    assert done.stderr.count("soundmark:") == 1
    assert "Traceback" not in done.stderr
    assert "distributed" not in done.stderr
    assert contents(tmp_path / "results") == contents(single)


def test_ctrl_c_ends_a_local_cluster_with_one_message(sounds, random_model, tmp_path):
    random_model.bundle.write(tmp_path / "model.onnx")
    for number in range(4):
        shutil.copy(sounds / "long.wav", tmp_path / f"{number}.wav")
    command = [sys.executable, "-m", "soundmark.cli", "classify", ".", "-m", "model.onnx", "-o", "results"]
    process = subprocess.Popen(
        [*command, "--overlap", "0.95", "--cluster", "local", "--jobs", "2"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "results" / "parameters.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1].startswith("soundmark: stopped.")
    assert "Traceback" not in errors, errors


def test_map_unordered_on_an_executor_cancels_what_it_leaves():
    started = []

    class Slow(ThreadPoolExecutor):
        def submit(self, *arguments, **options) -> Future:
            future = super().submit(*arguments, **options)
            started.append(future)
            return future

    with Slow(1) as pool:
        for _ in parallel.map_unordered(time.sleep, [0.01] * 50, jobs=pool):
            break
    assert sum(future.cancelled() for future in started) >= 1
    assert len(started) <= 6


# ── real clips ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long(300)
def test_real_clips_and_an_hour_with_a_worker_killed_half_way(urbansound8k, own_cluster, mn04_weights, tmp_path):
    """Every tenth clip, and an hour of others, with the pretrained model."""
    import soundfile

    from soundmark.models.pretrained import named_models

    clips = sorted((urbansound8k / "audio").rglob("*.wav"))
    with soundfile.SoundFile(tmp_path / "hour.flac", "w", 32_000, 1, subtype="PCM_16") as hour:
        written, number = 0, 0
        while written < 3600 * 32_000:
            samples = audio.read(clips[number % len(clips)], rate_hz=32_000).samples
            hour.write(samples)
            written, number = written + len(samples), number + 7
    inputs = [*clips[::10], tmp_path / "hour.flac"]
    model = named_models.load("audioset")
    analyze(inputs, model, tmp_path / "single", quiet=True)
    killer = kill_after(own_cluster, own_cluster.workers[0], tmp_path / "results" / "journal.jsonl", len(inputs) // 2)
    analyze(inputs, model, tmp_path / "results", cluster=own_cluster.address, quiet=True)
    killer.join()
    assert own_cluster.workers[0].returncode == -signal.SIGKILL
    assert contents(tmp_path / "results") == contents(tmp_path / "single")
