"""report: the page is whole, safe, self-contained, the same twice, and works in a real browser."""

import base64
import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from soundmark import audio
from soundmark.datasets import Clip, Dataset, Skipped
from soundmark.datasets.leakage import Leakage
from soundmark.evaluation import report
from soundmark.evaluation.report import clips, figures, markup, words
from soundmark.evaluation.report.view import LONGEST_S, View
from soundmark.evaluation.results import Comparison, Evaluation, FoldResult, Result
from soundmark.metrics import calibration_error, single_label
from soundmark.metrics.intervals import Interval
from soundmark.metrics.significance import PairedDifference
from soundmark.models.training_record import Epoch
from soundmark.training.named_recipes import recipe_named
from support import browser

HEADINGS = [
    "The answer", "Scores", "Training, epoch by epoch", "What the recording gives away", "Class by class", "Confusions",
    "Can its probabilities be believed?", "What the networks see", "The most confident mistakes", "Paired differences",
    "Left out", "How this was made",
]  # fmt: skip
HOSTILE = ("<script>alert(1)</script>", "\"double\" & 'single'", "犬の声 été $x_1^2$", "</td></table>" + "long" * 30)
VOID = {"meta", "link", "img", "br"}


def history(epochs=5, validated=True):
    return tuple(
        Epoch(
            epoch=i,
            train_loss=2 / i,
            train_accuracy=1 - 1 / (i + 1),
            validation_loss=2 / i + 0.3 if validated else None,
            validation_accuracy=0.9 - 0.9 / (i + 1) if validated else None,
            seconds=1.0,
        )
        for i in range(1, epochs + 1)
    )


def result_of(data, recipe, protocol, *, seed):
    """Answers drawn at random, better than chance, for every clip of the data set."""
    rng = np.random.default_rng(seed)
    labels = np.array([data.classes.index(clip.label) for clip in data.clips])
    logits = rng.normal(size=(len(labels), len(data.classes))) + 1.5 * np.eye(len(data.classes))[labels]
    p = np.exp(2 * logits)
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    sources = [clip.source or str(clip.path) for clip in data.clips]
    summary = single_label.summarize(
        labels, p, classes=data.classes, sources=sources, salience=[clip.salience for clip in data.clips]
    )
    folds = [None] if protocol == "random" else sorted({clip.fold for clip in data.clips})
    return Result(
        recipe=recipe,
        protocol=protocol,
        seeds=(0,),
        folds=tuple(
            FoldResult(
                fold=fold,
                seed=0,
                n_train=100,
                n_test=50,
                accuracy=0.6,
                history=history(),
                model=Path("model.onnx"),
                threads=2,
                precision="float32",
            )
            for fold in folds
        ),
        test=np.arange(len(labels)),
        labels=labels,
        probabilities=p,
        summary=summary,
        fold_mean=0.6,
        fold_sd=0.02 if len(folds) > 1 else math.nan,
        leak=Leakage(0.9, 0.8, 0.7),
        seconds={"features": 1.0, "training": 61.0, "testing": 0.5},
    )


def evaluation_of(data, names=("notebook-image", "notebook-mel"), protocols=("random", "folds"), skipped=()):
    results = [
        result_of(data, recipe_named(name), protocol, seed=i)
        for i, (protocol, name) in enumerate((protocol, name) for protocol in protocols for name in names)
    ]
    sources = [clip.source or str(clip.path) for clip in data.clips]
    comparisons = []
    for protocol in protocols:
        same = [one for one in results if one.protocol == protocol]
        for a, b in pairwise(same):
            paired = single_label.paired_difference(a.labels, a.probabilities, b.probabilities, sources=sources)
            comparisons.append(Comparison(protocol=protocol, recipes=(a.recipe.name, b.recipe.name), difference=paired))
    return Evaluation(
        dataset=data,
        seed=0,
        results=tuple(results),
        comparisons=tuple(comparisons),
        skipped=tuple(skipped),
        versions={"soundmark": "0.1.0", "numpy": "2"},
        machine={"system": "a <machine>"},
        command="soundmark compare 'A & B' -o RUN",
    )


def synthetic(folder, classes, per_class=3, seconds=0.3):
    """A data set of short tones at 16 kHz, in files whose names are as hostile as a file system allows."""
    made = []
    for i, label in enumerate(classes):
        for k in range(per_class):
            path = folder / f"{i}-{k} <b>&\"'é.wav"
            time_s = np.arange(int(seconds * 16000)) / 16000
            audio.write(path, (0.3 * np.sin(2 * np.pi * (200 + 30 * i) * (k + 1) * time_s)).astype(np.float32), 16000)
            salience = ("foreground", "background")[k % 2]
            made.append(Clip(path=path, label=label, fold=1 + k % 2, source=f"rec {i} {k // 3}", salience=salience))
    return Dataset(name='Sounds & "noises" <of> a city', root=folder, classes=tuple(classes), clips=tuple(made))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    data = synthetic(tmp_path_factory.mktemp("hostile"), HOSTILE, per_class=6)
    skipped = [
        Skipped("fold1/<img src=x onerror=alert(2)>.wav", 'it is "broken" & <odd>'),
        Skipped("a\udcff.wav", "odd"),
    ]
    return evaluation_of(data, skipped=skipped)


@pytest.fixture(scope="module")
def page(hostile):
    return report.render(hostile)


class Page(HTMLParser):
    """Checks that what is opened is closed, and keeps what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.texts, self.tags, self.styles = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # within SVG
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        (self.styles if "style" in self.open else self.texts).append(data)

    def values(self, name):
        return [value for _, key, value in self.attributes if key == name]


# --- the page as a document -------------------------------------------------------------------------------------


def test_every_element_is_closed_and_every_section_is_there_in_order(page):
    parsed = Page(page)
    assert re.findall(r"<h2>(.*?)</h2>", page) == HEADINGS
    assert {"main", "nav", "header", "footer", "table", "svg", "figure", "audio", "img"} <= set(parsed.tags)


def test_ids_are_unique_and_every_link_within_the_page_leads_somewhere(page):
    parsed = Page(page)
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    inner = [value[1:] for value in parsed.values("href") if value.startswith("#")]
    inner += re.findall(r"url\(#([^)]+)\)", page)
    assert inner
    assert set(inner) <= set(ids)


def test_nothing_is_loaded_from_outside_and_nothing_can_run(page):
    parsed = Page(page)
    for name in ("src", "href", "srcset", "poster", "action", "data", "xlink:href", "background", "formaction"):
        for value in parsed.values(name):
            assert value.startswith(("data:", "#")), f"{name}={value[:80]}"
    assert "script" not in parsed.tags
    assert not {"iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    assert [name for _, name, _ in parsed.attributes if name.startswith("on")] == []
    css = " ".join([*parsed.styles, *parsed.values("style"), *parsed.values("clip-path")])
    assert "@import" not in css
    assert [target for target in re.findall(r"url\((.*?)\)", css) if not target.startswith("#")] == []
    assert "default-src 'none'" in page


def test_what_comes_from_data_is_shown_as_it_is_and_never_becomes_markup(page):
    shown = "".join(Page(page).texts)
    for label in HOSTILE:
        assert label in shown
    assert 'Sounds & "noises" <of> a city' in shown
    assert "0-0 <b>&\"'é.wav" in shown
    assert "fold1/<img src=x onerror=alert(2)>.wav" in shown
    assert "a\ufffd.wav" in shown  # a file name that is no text
    assert "soundmark compare 'A & B' -o RUN" in shown
    assert "a <machine>" in shown
    assert "<script" not in page
    assert "<b>" not in page


def test_the_same_evaluation_gives_the_same_bytes(hostile, page):
    assert report.render(hostile).encode() == page.encode()


def test_drawings_take_their_colours_from_the_page_and_keep_text_as_text(page):
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 8  # per protocol: loss, accuracy, leak, reliability
    for svg in drawings:
        assert re.findall(r"#0[0-9]0[0-9a-f]{3}\b", svg) == []
        assert set(re.findall(r"var\((--[\w-]+)\)", svg)) <= set(figures.VARIABLES.values())
        assert "<text" in svg
        assert "font-family" not in svg
        assert "xmlns" not in svg
        assert 'aria-label="' in svg


def test_every_picture_has_a_description(page):
    alts = Page(page).values("alt")
    assert len(alts) > 10
    assert all(alts)


# --- every shape of evaluation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "names", "protocols"),
    [
        (["dog", "siren"], ["notebook-mel"], ["random"]),
        (["dog", "siren"], ["notebook-image", "notebook-mel"], ["folds"]),
        (["dog", "siren", "drill"], ["notebook-image", "notebook-mel", "notebook-image-22k"], ["random", "folds"]),
        (["dog", "siren"], ["notebook-mel"], ["by-city"]),
    ],
)
def test_any_number_of_recipes_and_protocols_makes_a_whole_page(tmp_path, classes, names, protocols):
    data = synthetic(tmp_path, classes)
    text = report.render(evaluation_of(data, names, protocols))
    Page(text)
    assert re.findall(r"<h2>(.*?)</h2>", text) == HEADINGS
    assert ("Only one recipe was run" in text) == (len(names) == 1)
    assert ("<h1>Images or numbers?" in text) == ("notebook-image" in names)


def test_fifty_classes_stay_below_six_megabytes(tmp_path):
    names = [f"a class with a rather long name, number {i}" for i in range(50)]
    text = report.render(evaluation_of(synthetic(tmp_path, names, per_class=2, seconds=4)))
    Page(text)
    assert len(text.encode()) < 6_000_000
    assert all(name in text for name in names)


def test_without_validation_only_training_is_drawn(tmp_path):
    evaluation = evaluation_of(synthetic(tmp_path, ["dog", "siren"]), ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    folds = tuple(replace(fold, history=history(validated=False)) for fold in one.folds)
    text = report.render(replace(evaluation, results=(replace(one, folds=folds),)))
    Page(text)
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().replace("nant", "")


def test_a_clip_that_cannot_be_read_is_named_and_the_next_one_shown(tmp_path):
    data = synthetic(tmp_path, ["dog", "siren"])
    data.clips[0].path.write_bytes(b"this is no sound")
    for clip in data.clips:
        if clip.label == "siren":
            clip.path.unlink()
    text = report.render(evaluation_of(data))
    Page(text)
    assert "could not be read again to be drawn or played" in text
    assert "cannot be read as sound" in text
    assert "No clip of siren could be read to be shown here." in text
    assert text.count('alt="dog, spectrogram"') >= 2


def spoil(clip):
    """A file that can be decoded, and that no spectrogram can be made of."""
    soundfile.write(clip.path, np.array([0.0, 1e13, 0.1], np.float32), 16000, subtype="FLOAT")


def test_an_absurd_sample_costs_a_picture_and_not_the_report(tmp_path):
    data = synthetic(tmp_path, ["dog", "siren"])
    for clip in data.clips:
        spoil(clip)
    evaluation = evaluation_of(data)
    mistaken = tuple(replace(one, probabilities=one.probabilities[:, ::-1]) for one in evaluation.results)
    text = report.render(replace(evaluation, results=mistaken))
    Page(text)
    assert "No clip of dog and siren could be read to be shown here." in text
    assert "This clip could not be read again to be shown." in text
    assert "a sample is ±1e+13" in text


def test_a_clip_that_was_left_out_stands_for_no_class(tmp_path):
    data = synthetic(tmp_path, ["dog", "siren"])
    first = data.relative_path(data.clips[0])
    text = report.render(evaluation_of(data, skipped=[Skipped(first, "broken")]))
    assert markup.text(first) not in text[text.index('id="examples"') : text.index('id="mistakes"')]


@pytest.mark.parametrize("losses", [[0.0] * 5, [2.0, 1.0, math.inf, math.inf, math.nan], [math.inf] * 5])
def test_a_training_that_diverged_is_drawn(tmp_path, losses):
    evaluation = evaluation_of(synthetic(tmp_path, ["dog", "siren"]), ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    told = zip(one.folds[0].history, losses, strict=True)
    epochs = tuple(replace(epoch, train_loss=loss, validation_loss=loss) for epoch, loss in told)
    spoiled = replace(one, folds=(replace(one.folds[0], history=epochs),))
    Page(report.render(replace(evaluation, results=(spoiled,))))


def test_files_that_were_left_out_are_named_with_their_reasons(hostile, page):
    assert "it is &quot;broken&quot; &amp; &lt;odd&gt;" in page
    assert "Nothing: every clip was read and counted." in report.render(replace(hostile, skipped=()))


# --- what it says -----------------------------------------------------------------------------------------------


def paired(low, high):
    return PairedDifference((low + high) / 2, Interval(low, high), 0.01, 0.01, 100, 10)


@pytest.mark.parametrize(
    ("low", "high", "word", "sentence"),
    [
        (0.101, 0.2, "holds", "more than ten points"),
        (0.1, 0.2, "holds", "within the interval"),
        (0.001, 0.1, "holds", "within the interval"),
        (0.001, 0.099, "smaller", "less than ten points"),
        (0.0, 0.099, "smaller", "whether there is any difference cannot be told"),
        (-0.05, 0.0, "smaller", "whether there is any difference cannot be told"),
        (-0.05, -0.001, "reversed", "numbers do better"),
        (0.0, 0.1, "cannot be told", "Both no difference"),
        (-0.2, 0.2, "cannot be told", "Both no difference"),
        (math.nan, math.nan, "cannot be told", "Too little was tested"),
    ],
)
def test_the_verdict_follows_from_where_the_interval_lies(low, high, word, sentence):
    verdict = words.verdict(paired(low, high))
    assert verdict.word == word
    assert sentence in verdict.sentence


def test_the_answer_comes_first_with_its_numbers(tmp_path):
    evaluation = evaluation_of(synthetic(tmp_path, ["dog", "siren"]))
    found = [replace(one, difference=paired(0.02, 0.06)) for one in evaluation.comparisons]
    text = "".join(Page(report.render(replace(evaluation, comparisons=tuple(found)))).texts)
    assert "images do better by less under a random split and on the official folds" in text
    assert "image − mel = +4.0 points" in text
    assert "95 % interval [+2.0, +6.0], p = 0.010" in text
    assert text.index("image − mel") < text.index("Macro F1")
    assert "recorded at 16\u202f000 Hz" in text
    assert "notebook-image at the rate of each file and notebook-mel at 22\u202f050 Hz" in text


def test_the_answer_is_one_plain_sentence_too(tmp_path):
    evaluation = evaluation_of(synthetic(tmp_path, ["dog", "siren"]))
    found = [replace(one, difference=paired(0.02, 0.06)) for one in evaluation.comparisons]
    told = report.sentence(replace(evaluation, comparisons=tuple(found)))
    assert "“images do 10 % better”" in told
    assert "images do better by less under a random split and on the official folds" in told
    assert "image − mel = +4.0 points (95 % interval [+2.0, +6.0], p = 0.010" in told
    assert "of 100 test clips from 10 recordings" in told
    assert "recorded at 16\u202f000 Hz" in told
    alone = report.sentence(evaluation_of(evaluation.dataset, ["notebook-mel"], ["random"]))
    assert re.search(
        r"Right answers on 6 clips of .* in 2 classes, .*: notebook-mel \d.* under a random split\. The", alone
    )


def test_where_recordings_are_not_known_nothing_claims_to_count_them(tmp_path):
    known = synthetic(tmp_path, ["dog", "siren"])
    data = replace(known, clips=tuple(replace(clip, source=None) for clip in known.clips))
    evaluation = evaluation_of(data)
    text = report.render(replace(evaluation, results=tuple(replace(one, leak=None) for one in evaluation.results)))
    Page(text)
    assert "so the leak cannot be measured and the intervals count clips" in text
    assert "Interval and sign-flip test count clips" in text
    for claim in ("is also trained on", "count recordings", "resamples of recordings", "by recording", "Recordings<"):
        assert claim not in text
        assert claim in report.render(evaluation_of(known))


def test_slices_of_files_count_as_their_files(tmp_path):
    data = synthetic(tmp_path, ["dog"])
    clip = replace(data.clips[0], source=None)
    sliced = replace(data, clips=(replace(clip, stop_s=0.1), replace(clip, start_s=0.1)))
    assert View(replace(evaluation_of(data), dataset=sliced)).unit == "files"


def test_the_confusion_matrix_holds_the_counts(tmp_path):
    evaluation = evaluation_of(synthetic(tmp_path, ["dog", "siren"]), ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    summary = replace(one.summary, confusion=np.array([[7, 3], [0, 11]]))
    text = report.render(replace(evaluation, results=(replace(one, summary=summary),)))
    matrix = re.search(r'class="matrix">.*?</table>', text, flags=re.DOTALL).group()
    assert re.findall(r"<td[^>]*>(\d*)</td>", matrix) == ["", "7", "3", "", "11"]  # first the empty corner
    assert re.findall(r"--share:([\d.]+)", matrix) == ["0.70", "0.30", "1.00"]
    assert "dog called siren: 3 (30 %)" in text


def test_mistakes_are_wrong_sure_and_of_different_recordings(hostile):
    view, result = View(hostile), hostile.results[0]
    found = clips.most_confident_mistakes(view, result, limit=99)
    sure = [one.probability for one in found]
    assert sure == sorted(sure, reverse=True)
    assert all(hostile.dataset.classes[one.predicted] != hostile.dataset.clips[one.clip].label for one in found)
    sources = [hostile.dataset.clips[one.clip].source for one in found]
    assert len(set(sources)) == len(sources)
    wrong = result.probabilities.argmax(axis=1) != result.labels
    assert sure[0] == result.probabilities[wrong].max()
    of_wrong = [hostile.dataset.clips[i].source for i in np.flatnonzero(wrong)]
    assert set(sources) == set(of_wrong)
    assert len(sources) < len(of_wrong)  # some recording was mistaken twice
    assert clips.most_confident_mistakes(view, result, limit=2) == found[:2]


def test_a_perfect_classifier_has_no_mistakes_to_show(tmp_path):
    data = synthetic(tmp_path, ["dog", "siren"])
    evaluation = evaluation_of(data, ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    p = np.eye(2, dtype=np.float32)[one.labels]
    sources = [clip.source for clip in data.clips]
    summary = single_label.summarize(one.labels, p, classes=data.classes, sources=sources)
    text = report.render(replace(evaluation, results=(replace(one, probabilities=p, summary=summary),)))
    assert "It made no mistake." in text
    assert "No clip was mistaken." in text


# --- sounds and pictures ----------------------------------------------------------------------------------------


def embedded(html):
    return base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])


def test_a_player_holds_the_sound_itself(urbansound8k):
    path = next((urbansound8k / "audio" / "fold1").glob("*-8-*.wav"))  # a siren
    sound = audio.read(path)
    heard, rate_hz = soundfile.read(io.BytesIO(embedded(clips.player(sound, "siren"))))
    assert rate_hz == 22050
    assert heard.ndim == 1
    assert len(heard) / rate_hz == pytest.approx(sound.duration_s, abs=0.06)  # MP3 frames are 26 ms
    ours = np.abs(np.fft.rfft(sound.samples[:22050]))[:3000]
    theirs = np.abs(np.fft.rfft(heard[:22050]))[:3000]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.98


def test_of_a_long_file_only_the_beginning_is_shown(tmp_path):
    path = tmp_path / "long.wav"
    audio.write(path, np.zeros(16000 * 12, np.float32), 16000)
    data = Dataset(name="long", root=tmp_path, classes=("quiet",), clips=())
    view = View(
        Evaluation(dataset=data, seed=0, results=(), comparisons=(), skipped=(), versions={}, machine={}, command="")
    )
    whole = Clip(path=path, label="quiet")
    assert view.read(whole).duration_s == LONGEST_S
    assert view.read(replace(whole, start_s=11)).duration_s == 1
    assert view.read(replace(whole, start_s=1, stop_s=3)).duration_s == 2
    assert view.read(replace(whole, start_s=1, stop_s=11.5)).duration_s == LONGEST_S


def test_ticks_stand_where_their_frequencies_are():
    picture = recipe_named("notebook-image").representation.picture(np.zeros(44100, np.float32), 20480)
    ticks = dict(clips._frequency_ticks(picture))
    assert list(ticks) == [10000, 5000, 2000, 0]
    assert ticks[5000] == pytest.approx(1 - 5000 / 10240, abs=0.005)


def test_low_frequencies_are_drawn_at_the_bottom_and_loud_is_dark_for_people(tmp_path):
    data = synthetic(tmp_path, ["hum"], per_class=1)  # 200 Hz
    text = report.render(evaluation_of(data, protocols=["random"]))
    drawn = {alt: pixels(image) for image, alt in re.findall(r'<img src="([^"]*)" alt="([^"]*)"', text)}
    loudest_row = {
        "hum, spectrogram": np.argmin,
        "hum, picture file": np.argmin,
        "hum, as notebook-image gets it": np.argmin,
        "hum, as notebook-mel gets it": np.argmax,
    }
    assert set(drawn) == set(loudest_row)
    for alt, loudest in loudest_row.items():
        rows = drawn[alt].mean(axis=1)
        assert loudest(rows) / len(rows) > 0.88, alt
        assert np.ptp(rows) > 40, alt


def pixels(address):
    return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(address.split(",")[1]))), np.float64)


@pytest.mark.parametrize("value", [0.0, 1.0, -80.0])
def test_an_array_without_contrast_is_drawn_black(value):
    assert clips._as_grey(np.full((4, 4), value, np.float32)).max() == 0


def test_control_characters_and_undecodable_names_become_the_replacement_character():
    assert markup.text("a\x00b\udc80c") == "a\ufffdb\ufffdc"
    markup.text("\ud800").encode("utf-8")


# --- in a browser -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_real_browser_all_is_shown_and_nothing_asked_for(hostile, page, width):
    found = browser.examine(page, width=width)
    assert found["errors"] == []
    assert found["violations"] == []
    assert found["served"] == ["/"]
    assert [name for name in found["requests"] if not name.startswith("data:")] == []
    assert len(found["images"]) > 10
    assert [alt for alt, pixels in found["images"] if not pixels] == []
    assert len(found["sounds"]) > 4
    assert [one for one in found["sounds"] if one["error"] or not one["seconds"]] == []
    assert found["width"] == width
    assert found["scroll_width"] <= width  # wide tables scroll in their own frames
    assert HOSTILE[0] in found["text"]


def test_the_browser_test_would_notice(page):
    spoiled = page.replace(
        "</main>", '<img src="/missing.png" alt="x"><audio src="data:audio/mpeg;base64,AAAA"></audio></main>'
    )
    found = browser.examine(spoiled)
    assert found["errors"] or found["violations"]
    assert found["sounds"][-1]["error"]
    assert found["images"][-1] == ["x", 0]


def test_real_clips_make_a_page_of_moderate_size(urbansound8k):
    data = Dataset.open(urbansound8k)
    kept = [clip for label in data.classes for clip in [c for c in data.clips if c.label == label][:12]]
    text = report.render(evaluation_of(replace(data, clips=tuple(kept))))
    Page(text)
    assert 300_000 < len(text.encode()) < 6_000_000
    found = browser.examine(text)
    assert found["errors"] == []
    assert found["served"] == ["/"]
    assert [one for one in found["sounds"] if one["error"] or not one["seconds"]] == []


# --- many recipes side by side ----------------------------------------------------------------------------------

FIVE = ("notebook-image", "notebook-mel", "scratch", "transfer", "transfer-finetune")


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Five recipes of which one has no epochs, three were calibrated, on two protocols; every pair compared."""
    data = synthetic(tmp_path_factory.mktemp("five"), ["air_conditioner", "children_playing", "siren"], per_class=8)
    found = evaluation_of(data, FIVE)
    calibrated = FIVE[2:]
    results = [
        replace(
            one,
            folds=tuple(replace(f, history=() if one.recipe.name == "transfer" else f.history) for f in one.folds),
            ece_uncalibrated=0.0414 if one.recipe.name in calibrated else math.nan,
            ece_if_calibrated=calibration_error.ExpectedEce(0.0172, 0.03),
            summary=replace(one.summary, ece=0.0139),
        )
        for one in found.results
    ]
    pairs = [
        Comparison(protocol=a.protocol, recipes=(a.recipe.name, b.recipe.name), difference=paired(-0.06, -0.02))
        for a, b in combinations(results, 2)
        if a.protocol == b.protocol
    ]
    return replace(found, results=tuple(results), comparisons=tuple(pairs))


def section(text, name):
    return "".join(Page(text[text.index(f'<section id="{name}"') :].split("</section>")[0] + "</section>").texts)


def test_a_recipe_without_epochs_says_so_and_has_no_curve(five):
    text = report.render(five)
    training = section(text, "training")
    assert "transfer has no epochs and so no curve" in training
    assert "Of notebook-image and notebook-mel the validation curve is that of the test clips" in training
    assert "Of scratch and transfer-finetune it is that of clips which were kept back inside the training" in training
    alone = replace(five, results=tuple(one for one in five.results if one.recipe.name == "transfer"), comparisons=())
    lonely = report.render(alone)
    assert "transfer has no epochs" in section(lonely, "training")
    assert "<svg" not in lonely[lonely.index('id="training"') : lonely.index('id="leak"')]


def test_the_calibration_error_stands_beside_what_it_is_to_be_held_against(five):
    told = section(report.render(five), "calibration")
    expected = "a perfectly calibrated model would show about 0.017 at this size"
    assert told.count(f"transfer ECE 0.014 (0.041 before temperature scaling; {expected})") == 2
    assert told.count(f"notebook-mel ECE 0.014 ({expected})") == 2
    assert "it is a lower bound" in told


def test_all_pairs_are_a_table_of_rows_minus_columns(five):
    text = report.render(five)
    Page(text)
    told = section(text, "differences")
    # Each comparison is the earlier recipe minus the later one, −4 points: turned round, as the row is the later one.
    assert told.count("+4.0[+2.0, +6.0]p = 0.010") == 2 * 10
    assert told.count("−4.0") == 2 * 10  # the list
    assert "with 10 pairs, Bonferroni’s correction would ask for p below 0.005" in told


def test_of_five_recipes_all_are_in_the_answer(five):
    text = report.render(five)
    assert "<h1>How well Sounds" in text
    told = section(text, "answer")
    assert all(name in told for name in FIVE)
    assert "Official folds: the notebook’s claim" in told
    assert all(f"{name} " in report.sentence(five) for name in FIVE)
    scores = section(text, "scores")
    assert "Tested: 24 clips from 9 recordings, folds 1 and 2, each once, by networks trained on 100 other" in scores


def test_five_recipes_stay_within_the_page(five):
    found = browser.examine(report.render(five), width=1100)
    assert found["errors"] == []
    assert found["scroll_width"] <= 1100
