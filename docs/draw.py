"""Draw the figures of the docs: live view, labels, detections by hour, web page, report, inputs of the recipes.

python docs/draw.py scope MODEL SOUND      docs/listening.svg
python docs/draw.py labels MODEL SOUND     docs/labels.png
python docs/draw.py when MODEL DATASET     docs/when.png: a synthetic week of clips, named like a recorder's files
python docs/draw.py page DEMO              docs/serve-*.png: the page, from the folder of `soundmark demo`
python docs/draw.py review                 docs/serve-review.png: the tab Review, on synthetic recordings
python docs/draw.py teach                  docs/serve-teach.png: the tab Teach, on synthetic recordings
python docs/draw.py report DEMO            docs/report.png: the report, from the same folder
python docs/draw.py inputs                 docs/inputs.png: what the recipes' networks see of three synthetic sounds
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import soundmark
from soundmark import audio
from soundmark.audio.capture.pcm import open_pcm
from soundmark.cli import live_view
from soundmark.datasets import Dataset, synthetic
from soundmark.detection import output_formats
from soundmark.detection.file_analysis import analyze_file
from soundmark.detection.inputs import Input
from soundmark.detection.live import monitor
from soundmark.detection.live.monitor import StreamCallbacks, StreamState
from soundmark.detection.settings import DetectionSettings
from soundmark.training.named_recipes import recipe_named

HERE = Path(__file__).parent
SHOWN_S = 18.0
SHOWN_CLASSES = ("siren", "jackhammer", "dog_bark")
SCENE = ("air_conditioner", "siren", "dog_bark", "car_horn", "street_music", "jackhammer", "engine_idling", "siren")


def draw_scope(model_path: str, sound_path: str) -> None:
    """Draw the live view after the first ``SHOWN_S`` seconds of a sound file."""
    model, sound = soundmark.load(model_path), audio.read(sound_path)
    pcm = np.round(sound.samples[: round(SHOWN_S * sound.rate_hz)] * 32767).astype("<i2").tobytes()
    states: list[StreamState] = []
    source = open_pcm(io.BytesIO(pcm), rate_hz=sound.rate_hz)
    monitor.monitor(model, source, DetectionSettings(), StreamCallbacks(state=states.append), hop_s=1.0)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(live_view.state_panel(states[-1]))
    console.save_svg(str(HERE / "listening.svg"), title="soundmark listen")


def draw_labels(model_path: str, sound_path: str) -> None:
    """Draw a spectrogram and, under it, the label track that ``--format audacity`` writes."""
    model, sound = soundmark.load(model_path), audio.read(sound_path)
    result = analyze_file(model, Input(sound_path, "sound"), DetectionSettings(overlap=0.75))
    track = b"".join(output_formats.FORMATS["audacity"].write([result])).decode()
    labels = [line.split("\t") for line in track.splitlines()]
    picture = model.card.representation.render(sound.samples, sound.rate_hz)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    extent = (0.0, picture.duration_s, 0.0, float(len(picture.pixels)))
    upper.imshow(picture.pixels, aspect="auto", extent=extent, cmap="magma")
    ticks = [100, 300, 1000, 3000, 10000]
    upper.set_yticks([len(picture.pixels) - picture.row_of(hz) for hz in ticks], [f"{hz:,}" for hz in ticks])
    upper.set_ylabel("frequency in Hz")
    rows = {label: row for row, label in enumerate(dict.fromkeys(label for *_, label in labels))}
    for start, stop, label in labels:
        lower.barh(rows[label], float(stop) - float(start), left=float(start), height=0.8, color="#56B4E9")
        lower.text(float(start) + 0.05, rows[label], label, va="center", fontsize=8)
    lower.set_yticks([])
    lower.set_xlabel("time in s")
    lower.set_ylabel("labels")
    figure.savefig(HERE / "labels.png", dpi=110)


DAY, NIGHT = ("children_playing", "dog_bark", "street_music"), ("siren", "air_conditioner")


def draw_when(model_path: str, dataset: str) -> None:
    """Draw a summary of a synthetic week: 48 s of clips in a file for each hour.

    By day children, dogs and music, on workdays also drills; by night sirens and air conditioners. One night has no
    recordings, as if the recorder's batteries were empty.
    """
    data, rng = Dataset.open(Path(dataset)), np.random.default_rng(0)
    by_label = {label: [clip for clip in data.clips if clip.label == label] for label in data.classes}
    with tempfile.TemporaryDirectory() as folder:
        for moment in (datetime(2024, 6, 12) + timedelta(hours=hour) for hour in range(7 * 24)):
            if moment.day == 15 and moment.hour < 6:
                continue
            workday = 7 <= moment.hour < 17 and moment.weekday() < 5
            plan = (*DAY, *(["drilling", "jackhammer"] if workday else [])) if 7 <= moment.hour < 20 else NIGHT
            chosen = [by_label[plan[int(rng.integers(len(plan)))]] for _ in range(12)]
            parts = [audio.read(clips[int(rng.integers(len(clips)))].path, rate_hz=22_050).samples for clips in chosen]
            audio.write(Path(folder) / "recordings" / f"{moment:%Y%m%d_%H%M%S}.wav", np.concatenate(parts), 22_050)
        soundmark_command = [sys.executable, "-m", "soundmark.cli"]
        results = str(Path(folder) / "results")
        classify = ["classify", f"{folder}/recordings", "-m", model_path, "-o", results]
        subprocess.run([*soundmark_command, *classify], check=True)
        subprocess.run(
            [*soundmark_command, "summary", results, "-o", str(HERE / "when.png"), "--overwrite"], check=True
        )


def draw_page(demo: str) -> None:
    """Draw the tabs of the page in Chromium: a minute of synthetic sounds, as a file and as the microphone."""
    from playwright.sync_api import expect, sync_playwright

    scene = [synthetic.synthesise(label, seed=7) for label in SCENE]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        sound = Path(folder) / "street.wav"
        audio.write(sound, np.concatenate(scene), synthetic.RATE_HZ)
        flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--mute-audio"]
        flags.append(f"--use-file-for-fake-audio-capture={sound}%noloop")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        model = Path(demo) / "notebook-mel" / "random" / "model.onnx"
        with _serving("serve", "-m", model) as address:
            page = browser.new_page(viewport={"width": 1280, "height": 800}, permissions=["microphone"])
            page.goto(address)
            expect(page.locator("html")).to_have_attribute("data-ready", "true", timeout=60_000)
            page.set_input_files("#files", sound)
            expect(page.locator("#result-state")).to_contain_text(" event", timeout=60_000)
            page.wait_for_timeout(500)
            page.screenshot(path=HERE / "serve-classify.png", full_page=True)
            page.get_by_role("tab", name="Live").click()
            page.locator("#show-rejected").check()
            page.locator("#listen").click()
            page.wait_for_timeout(24_000)
            page.screenshot(path=HERE / "serve-live.png", full_page=True)
            page.locator("#listen").click()
            page.get_by_role("tab", name="Model").click()
            page.screenshot(path=HERE / "serve-model.png")
        browser.close()


@contextmanager
def _serving(command: str, *options: object) -> Iterator[str]:
    """Run a server; give the address of its page, and end it, also after an error."""
    words = [sys.executable, "-m", "soundmark.cli", command, *map(str, options), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().removeprefix("Page: ").strip()
        finally:
            server.terminate()


N_REVIEWED = 35


def draw_review() -> None:
    """Draw the tab Review after ``N_REVIEWED`` windows of street sounds, in a half of which is a siren, near or far."""
    from playwright.sync_api import expect, sync_playwright

    rng, near = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data, archive = Path(folder) / "data", Path(folder) / "recordings"
        synthetic.write(data)
        soundmark.train(data, "transfer", Path(folder) / "model", quiet=True)
        for number in range(60):
            parts = []
            for window in range(5):
                gain_db = rng.uniform(-45, 5)
                near[f"street-{number:02}.wav", 4.0 * window] = gain_db > -32
                background = synthetic.synthesise(
                    SCENE[int(rng.integers(len(SCENE)))].replace("siren", "drilling"), seed=window
                )
                siren = synthetic.synthesise("siren", seed=int(rng.integers(1000)))
                parts.append(0.5 * (_four_seconds(background) + 10 ** (gain_db / 20) * _four_seconds(siren)))
            audio.write(archive / f"street-{number:02}.wav", np.concatenate(parts), synthetic.RATE_HZ)
        index = soundmark.Index.build(
            archive, Path(folder) / "model" / "model.onnx", Path(folder) / "index", quiet=True
        )
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--mute-audio"])
        options = ("--no-browser", "--corrections", f"{folder}/corrections")
        with _serving("review", index.folder, *options) as address:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(address)
            page.locator("#review-class").select_option("siren")
            expect(page.locator("#review-question")).to_contain_text("siren", timeout=60_000)
            for done in range(N_REVIEWED + 1):
                expect(page.locator("#review-count")).to_contain_text(f"{done} window")
                expect(page.locator("[data-answer=replay]")).to_have_attribute("aria-disabled", "false")
                if done < N_REVIEWED:
                    upcoming = index.review("siren", corrections=f"{folder}/corrections").upcoming()[0]
                    window = index.windows([upcoming])[0]
                    page.keyboard.press("y" if near[Path(window.file).name, round(window.start_s, 3)] else "n")
            page.wait_for_timeout(700)
            page.screenshot(path=HERE / "serve-review.png", full_page=True)
        browser.close()


def draw_teach() -> None:
    """Draw the tab Teach after a model of street sounds was taught the siren, with windows of five recordings."""
    import requests
    from playwright.sync_api import expect, sync_playwright

    rng, labels = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        archive = Path(folder) / "recordings"
        data = Dataset.open(synthetic.write(Path(folder) / "data"))
        sounds = Path(folder) / "sounds"
        for clip in data:
            if clip.label != "siren":
                name = sounds / clip.label / clip.path.name
                name.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(clip.path, name)
        soundmark.train(sounds, "transfer", Path(folder) / "model", quiet=True)
        for number in range(40):
            names = [SCENE[int(rng.integers(len(SCENE)))] for _ in range(5)]
            parts = [_four_seconds(synthetic.synthesise(name, seed=int(rng.integers(1000)))) for name in names]
            audio.write(archive / f"street-{number:02}.wav", 0.5 * np.concatenate(parts), synthetic.RATE_HZ)
            labels |= {(f"street-{number:02}.wav", 4.0 * at): name for at, name in enumerate(names)}
        index = soundmark.Index.build(
            archive, Path(folder) / "model" / "model.onnx", Path(folder) / "index", quiet=True
        )
        found = {}
        for number, window in enumerate(index.windows(range(len(index)))):
            if labels[Path(window.file).name, round(window.start_s, 3)] == "siren":
                found.setdefault(window.file, number)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--mute-audio"])
        options = ("--corrections", f"{folder}/corrections", "--train-data", sounds)
        with _serving("serve", index.folder, *options) as address:
            for number in list(found.values())[:5]:
                body = {"archive": "index", "window": number, "decision": "label", "label": "siren", "reviewer": "ann"}
                requests.post(f"{address}v1/teach/labels", json=body, timeout=60).raise_for_status()
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"{address}#teach")
            page.get_by_role("button", name="Train on the labels").click()
            expect(page.locator("#train-state")).to_contain_text("Model 1 was trained", timeout=120_000)
            page.locator("#teach-order").select_option("top")
            page.locator("#teach-class").select_option("siren")
            expect(page.locator("#windows-title")).to_have_text("Highest scores of siren")
            page.wait_for_timeout(2000)
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=HERE / "serve-teach.png", full_page=True)
        browser.close()


def _four_seconds(samples: np.ndarray) -> np.ndarray:
    n = 4 * synthetic.RATE_HZ
    return np.pad(samples, (0, max(0, n - len(samples))))[:n]


def draw_inputs() -> None:
    """Draw the inputs of three recipes for three synthetic sounds, as the arrays that the networks get."""
    figure = Figure(figsize=(9, 7.2), layout="constrained")
    recipes = ("notebook-image", "notebook-mel", "transfer")
    axes = figure.subplots(len(SHOWN_CLASSES), len(recipes))
    for row, label in zip(axes, SHOWN_CLASSES, strict=True):
        samples = synthetic.synthesise(label, seed=1)
        row[0].set_ylabel(label)
        for ax, name in zip(row, recipes, strict=True):
            values = recipe_named(name).representation(samples, synthetic.RATE_HZ)
            is_image = name == "notebook-image"  # its first row is the highest frequency
            shown = ax.imshow(values, aspect="auto", cmap="magma", origin="upper" if is_image else "lower")
            unit = "" if name == "transfer" else "grey level, 0 to 1" if is_image else "dB"
            figure.colorbar(shown, ax=ax, label=unit)
            ax.set(title=f"{name}: {values.shape[0]} × {values.shape[1]}", xticks=[], yticks=[])
    figure.savefig(HERE / "inputs.png", dpi=100)


def draw_report(demo: str) -> None:
    """Draw the upper part of the demo's report in Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 1100, "height": 984})
        page.goto((Path(demo) / "report.html").resolve().as_uri())
        page.screenshot(path=HERE / "report.png")
        browser.close()


DRAWINGS = {
    "scope": draw_scope,
    "labels": draw_labels,
    "when": draw_when,
    "page": draw_page,
    "review": draw_review,
    "teach": draw_teach,
    "report": draw_report,
    "inputs": draw_inputs,
}


if __name__ == "__main__":
    DRAWINGS[sys.argv[1]](*sys.argv[2:])
