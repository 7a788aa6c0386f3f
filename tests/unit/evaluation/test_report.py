"""report: valid, safe, self-contained and deterministic HTML, and the text of its sections."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from soundmark.datasets import Skipped
from soundmark.datasets.leakage import Leakage
from soundmark.evaluation import report
from soundmark.evaluation.report import figures, markup, words
from soundmark.evaluation.report.view import View
from soundmark.metrics import single_label
from soundmark.metrics.intervals import Interval
from support.reports import (
    HOSTILE,
    ParsedPage,
    make_dataset,
    make_evaluation,
    make_history,
    section_html,
    section_text,
    with_difference,
    without_data,
)

pytestmark = pytest.mark.slow

HEADINGS = [
    "Summary", "Scores", "Data leakage", "Differences between recipes", "Per-class scores", "Confusion matrices",
    "Calibration", "Training curves", "Learning curve", "Misclassified clips", "Input spectrograms", "Skipped clips",
    "Provenance",
]  # fmt: skip


# --- HTML -----------------------------------------------------------------------------------------------------------


def test_all_elements_are_closed_and_the_sections_are_in_order(hostile_page):
    parsed = ParsedPage(hostile_page)
    assert re.findall(r"<h2>(.*?)</h2>", hostile_page) == HEADINGS
    assert {"main", "nav", "header", "footer", "table", "svg", "figure", "audio", "img"} <= set(parsed.tags)


def test_ids_are_unique_and_internal_links_have_targets(hostile_page):
    parsed = ParsedPage(hostile_page)
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    targets = [value[1:] for value in parsed.values("href") if value.startswith("#")]
    targets += re.findall(r"url\(#([^)]+)\)", hostile_page)
    assert targets
    assert set(targets) <= set(ids)


def test_no_external_files_are_loaded_and_no_scripts_run(hostile_page):
    parsed = ParsedPage(hostile_page)
    for name in ("src", "href", "srcset", "poster", "action", "data", "xlink:href", "background", "formaction"):
        for value in parsed.values(name):
            assert value.startswith(("data:", "#")), f"{name}={value[:80]}"
    assert "script" not in parsed.tags
    assert not {"iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    assert [name for _, name, _ in parsed.attributes if name.startswith("on")] == []
    css = " ".join([*parsed.styles, *parsed.values("style"), *parsed.values("clip-path")])
    assert "@import" not in css
    assert [target for target in re.findall(r"url\((.*?)\)", css) if not target.startswith("#")] == []
    assert "default-src 'none'" in hostile_page


def test_data_is_escaped(hostile_page):
    text = "".join(ParsedPage(hostile_page).texts)
    for label in HOSTILE:
        assert label in text
    assert 'Sounds & "noises" <of> a city' in text
    assert "0-0 <b>&\"'é.wav" in text
    assert "fold1/<img src=x onerror=alert(2)>.wav" in text
    assert "a\ufffd.wav" in text  # a file name that cannot be decoded
    assert "soundmark compare 'A & B' -o RUN" in text
    assert "a <machine>" in text
    assert "<script" not in hostile_page
    assert "<b>" not in hostile_page


def test_control_characters_and_undecodable_names_become_the_replacement_character():
    assert markup.text("a\x00b\udc80c") == "a\ufffdb\ufffdc"
    markup.text("\ud800").encode("utf-8")


def test_the_same_evaluation_gives_the_same_bytes(hostile, hostile_page):
    assert report.render(hostile).encode() == hostile_page.encode()


def test_figures_use_the_colours_of_the_page_and_keep_text_as_text(hostile_page):
    drawings = re.findall(r"<svg.*?</svg>", hostile_page, flags=re.DOTALL)
    assert len(drawings) == 8  # per protocol: leakage, reliability, loss, accuracy
    for svg in drawings:
        assert re.findall(r"#0[0-9]0[0-9a-f]{3}\b", svg) == []
        assert set(re.findall(r"var\((--[\w-]+)\)", svg)) <= set(figures.VARIABLES.values())
        assert "<text" in svg
        assert "font-family" not in svg
        assert "xmlns" not in svg
        assert 'aria-label="' in svg


@pytest.mark.parametrize(
    ("section", "labels"),
    [
        ("leakage", ["accuracy (%)"]),
        ("calibration", ["confidence (%)", "accuracy (%)"]),
        ("training", ["epoch", "cross-entropy loss (nats)", "accuracy (%)"]),
        ("inputs", ["frequency (kHz)", "time (s)"]),
        ("misclassified", ["frequency (kHz)", "time (s)"]),
        ("confusion", ["true class", "predicted class"]),
    ],
)
def test_the_axes_of_all_figures_have_titles_with_units(hostile_page, section, labels):
    text = section_text(hostile_page, section)
    n_figures = 2 if section in ("leakage", "calibration", "training") else 4
    for label in labels:
        assert text.count(label) >= n_figures


def test_all_images_have_a_description(hostile_page):
    alts = ParsedPage(hostile_page).values("alt")
    assert len(alts) > 10
    assert all(alts)


# --- Data sets, recipes and protocols -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "names", "protocols"),
    [
        (["dog", "siren"], ["notebook-mel"], ["random"]),
        (["dog", "siren"], ["notebook-image", "notebook-mel"], ["folds"]),
        (["dog", "siren", "drill"], ["notebook-image", "notebook-mel", "notebook-image-22k"], ["random", "folds"]),
        (["dog", "siren"], ["notebook-mel"], ["by-city"]),
    ],
)
def test_any_number_of_recipes_and_protocols_can_be_rendered(tmp_path, classes, names, protocols):
    page = report.render(make_evaluation(make_dataset(tmp_path, classes), names, protocols))
    ParsedPage(page)
    assert re.findall(r"<h2>(.*?)</h2>", page) == HEADINGS
    assert ("Only one recipe was evaluated" in page) == (len(names) == 1)
    assert ("The original notebook claims" in page) == ("notebook-image" in names)


def test_a_report_without_results_can_be_rendered(tmp_path):
    evaluation = make_evaluation(make_dataset(tmp_path, ["dog", "siren"]))
    empty = replace(evaluation, results=(), comparisons=())
    assert section_text(report.render(empty), "summary") == "SummaryNo results: nothing was tested."
    assert report.sentence(empty) == ""


def test_a_report_with_fifty_classes_is_smaller_than_six_megabytes(tmp_path):
    names = [f"a class with a rather long name, number {i}" for i in range(50)]
    page = report.render(make_evaluation(make_dataset(tmp_path, names, per_class=2, seconds=4)))
    ParsedPage(page)
    assert len(page.encode()) < 6_000_000
    assert all(name in page for name in names)


def test_without_validation_only_the_training_curve_is_drawn(tmp_path):
    evaluation = make_evaluation(make_dataset(tmp_path, ["dog", "siren"]), ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    folds = tuple(replace(fold, history=make_history(validated=False)) for fold in one.folds)
    page = report.render(replace(evaluation, results=(replace(one, folds=folds),)))
    ParsedPage(page)
    assert not re.search(r"\bnan\b", without_data(page), re.IGNORECASE)


@pytest.mark.parametrize("losses", [[0.0] * 5, [2.0, 1.0, math.inf, math.inf, math.nan], [math.inf] * 5])
def test_a_diverged_training_can_be_drawn(tmp_path, losses):
    evaluation = make_evaluation(make_dataset(tmp_path, ["dog", "siren"]), ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    pairs = zip(one.folds[0].history, losses, strict=True)
    epochs = tuple(replace(epoch, train_loss=loss, validation_loss=loss) for epoch, loss in pairs)
    diverged = replace(one, folds=(replace(one.folds[0], history=epochs),))
    ParsedPage(report.render(replace(evaluation, results=(diverged,))))


def test_an_unreadable_clip_is_listed_and_the_next_clip_shown(tmp_path):
    data = make_dataset(tmp_path, ["dog", "siren"])
    data.clips[0].path.write_bytes(b"this is not a sound")
    for clip in data.clips:
        if clip.label == "siren":
            clip.path.unlink()
    page = report.render(make_evaluation(data))
    ParsedPage(page)
    assert "could not be read again for this report" in page
    assert "cannot be decoded" in page
    assert "No clip of siren could be read." in page
    assert page.count('alt="dog, spectrogram"') >= 2


def test_clips_whose_spectrogram_cannot_be_computed_are_listed(tmp_path):
    data = make_dataset(tmp_path, ["dog", "siren"])
    for clip in data.clips:  # can be decoded, but not converted to a spectrogram
        soundfile.write(clip.path, np.array([0.0, 1e13, 0.1], np.float32), 16000, subtype="FLOAT")
    evaluation = make_evaluation(data)
    wrong = tuple(replace(one, probabilities=one.probabilities[:, ::-1]) for one in evaluation.results)
    page = report.render(replace(evaluation, results=wrong))
    ParsedPage(page)
    assert "No clip of dog and siren could be read." in page
    assert "This clip could not be read again." in page
    assert "±1e+13" in page


def test_a_skipped_clip_is_not_the_example_of_its_class(tmp_path):
    data = make_dataset(tmp_path, ["dog", "siren"])
    first = data.relative_path(data.clips[0])
    page = report.render(make_evaluation(data, skipped=[Skipped(first, "broken")]))
    assert markup.text(first) not in section_html(page, "inputs")


def test_skipped_clips_are_listed_with_their_reasons(hostile, hostile_page):
    assert "it is &quot;broken&quot; &amp; &lt;odd&gt;" in hostile_page
    assert "None: all clips were read and evaluated." in report.render(replace(hostile, skipped=()))


# --- Summary --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dog_and_siren(tmp_path_factory):
    """Two recipes under two protocols; image − mel is +2 to +6 points."""
    evaluation = make_evaluation(make_dataset(tmp_path_factory.mktemp("two"), ["dog", "siren"]))
    pairs = tuple(with_difference(one, 0.02, 0.06) for one in evaluation.comparisons)
    return replace(evaluation, comparisons=pairs)


def with_scores(evaluation, *values):
    """Replace the accuracy of each result."""
    results = [
        replace(one, summary=replace(one.summary, accuracy=value))
        for one, value in zip(evaluation.results, values, strict=True)
    ]
    return replace(evaluation, results=tuple(results))


def test_the_summary_names_data_protocol_best_recipe_interval_and_verdict(dog_and_siren):
    better = with_scores(dog_and_siren, 0.5, 0.9, 0.8, 0.7)  # the folds decide, not the random split
    text = section_text(report.render(better), "summary")
    interval = words.interval(better.results[2].summary.headline.interval)
    assert (
        'On Sounds & "noises" <of> a city (6 clips from 2 recordings, 2 classes), notebook-image reached the highest '
        f"accuracy on the official folds: 80.0 % (95 % interval {interval}, 6 test clips). The difference from "
        "notebook-mel, +4.0 points (95 % interval [+2.0, +6.0], p = 0.010): notebook-image is better: interval and "
        "permutation test agree."
    ) in text
    reverse = section_text(report.render(with_scores(dog_and_siren, 0.5, 0.9, 0.7, 0.8)), "summary")
    assert "notebook-mel reached the highest accuracy on the official folds: 80.0 %" in reverse
    assert "The difference from notebook-image, −4.0 points (95 % interval [−6.0, −2.0], p = 0.010)" in reverse


def test_the_summary_says_when_the_data_do_not_decide(dog_and_siren):
    pairs = tuple(with_difference(one, -0.02, 0.06) for one in dog_and_siren.comparisons)
    text = section_text(report.render(replace(dog_and_siren, comparisons=pairs)), "summary")
    reason = "the data do not decide: the 95 % interval of the difference includes zero."
    assert f"(95 % interval [−2.0, +6.0], p = 0.010): {reason}" in text
    assert "The data do not decideimage − mel = +2.0 points" in text


def test_the_summary_says_when_the_best_recipe_does_not_exceed_chance(dog_and_siren):
    results = [
        replace(one, summary=replace(one.summary, accuracy_interval=Interval(0.4, 0.9)))
        for one in dog_and_siren.results
    ]
    text = section_text(report.render(replace(dog_and_siren, results=tuple(results))), "summary")
    assert "is not significantly above the chance level of 50.0 %." in text


def test_the_summary_warns_of_data_leakage(dog_and_siren):
    text = section_text(report.render(dog_and_siren), "summary")
    leak = dog_and_siren.results[0].leak.in_words()
    assert f"Warning: Random split: {leak}. These scores reflect data leakage" in text
    assert f"Warning: Official folds: the folds split recordings; {leak}." in text
    clean = [
        replace(one, leak=Leakage(0.9, 0.9, 0.9) if one.protocol == "random" else Leakage(0.02, 0.0, 0.1))
        for one in dog_and_siren.results
    ]
    text = section_text(report.render(replace(dog_and_siren, results=tuple(clean))), "summary")
    assert text.count("Warning:") == 1
    assert "Warning: Random split: 90.0 %" in text


def test_the_summary_judges_the_claim_of_the_notebook(dog_and_siren):
    page = report.render(dog_and_siren)
    text = section_text(page, "summary")
    result = "under a random split and on the official folds, images score higher, but by less than claimed."
    assert f"“images do 10 % better” than mel spectrogram arrays. Result: {result}" in text
    assert text.count("image − mel = +4.0 points95 % interval [+2.0, +6.0], p = 0.010") == 2
    assert text.count("Smaller than claimed") == 2
    assert "test files: 16\u202f000 Hz" in text
    assert "notebook-image: that of each file" in text
    assert "notebook-mel: 22\u202f050 Hz" in text


def test_the_sentence_has_the_claim_the_numbers_and_the_sample_rates(dog_and_siren):
    sentence = report.sentence(dog_and_siren)
    assert "“images do 10 % better”" in sentence
    assert "under a random split and on the official folds, images score higher, but by less than claimed" in sentence
    assert "image − mel = +4.0 points (95 % interval [+2.0, +6.0], p = 0.010" in sentence
    assert "on 100 test clips from 10 recordings" in sentence
    assert "test files: 16\u202f000 Hz" in sentence
    single = report.sentence(make_evaluation(dog_and_siren.dataset, ["notebook-mel"], ["random"]))
    assert re.search(
        r"Accuracy on 6 clips of .* in 2 classes, .*: notebook-mel \d.* on 6 test clips under a random split\. ", single
    )


# --- Sections -------------------------------------------------------------------------------------------------------


def test_without_recordings_nothing_claims_to_count_them(tmp_path):
    known = make_dataset(tmp_path, ["dog", "siren"])
    unknown = replace(known, clips=tuple(replace(clip, source=None) for clip in known.clips))
    evaluation = make_evaluation(unknown)
    page = report.render(replace(evaluation, results=tuple(replace(one, leak=None) for one in evaluation.results)))
    ParsedPage(page)
    warning = "Warning: the data set does not say which clips come from the same recording, so "
    assert f"{warning}data leakage cannot be measured." in section_text(page, "summary")
    random = report.render(make_evaluation(unknown, protocols=["random"]))
    assert f"{warning}the scores may reflect data leakage." in section_text(random, "summary")
    assert "so data leakage cannot be measured, and intervals are computed over clips" in page
    assert "Interval and sign-flip test are computed over clips" in page
    known_page = report.render(make_evaluation(known))
    for claim in ("is also in the training set", "over recordings", "variation between recordings", "Recordings<"):
        assert claim not in page
        assert claim in known_page


def test_clips_of_the_same_file_are_counted_as_one_file(tmp_path):
    data = make_dataset(tmp_path, ["dog"])
    clip = replace(data.clips[0], source=None)
    sliced = replace(data, clips=(replace(clip, stop_s=0.1), replace(clip, start_s=0.1)))
    assert View(replace(make_evaluation(data), dataset=sliced)).unit == "files"


def test_the_confusion_matrix_contains_the_counts(tmp_path):
    evaluation = make_evaluation(make_dataset(tmp_path, ["dog", "siren"]), ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    summary = replace(one.summary, confusion=np.array([[7, 3], [0, 11]]))
    page = report.render(replace(evaluation, results=(replace(one, summary=summary),)))
    matrix = re.search(r'class="matrix">.*?</table>', page, flags=re.DOTALL).group()
    assert re.findall(r"<td[^>]*>(\d*)</td>", matrix) == ["", "7", "3", "", "11"]  # the first is the corner
    assert re.findall(r"--share:([\d.]+)", matrix) == ["0.70", "0.30", "1.00"]
    assert "dog → siren: 3 (30 %)" in page


def test_a_perfect_classifier_has_no_misclassified_clips(tmp_path):
    data = make_dataset(tmp_path, ["dog", "siren"])
    evaluation = make_evaluation(data, ["notebook-mel"], ["random"])
    (one,) = evaluation.results
    p = np.eye(2, dtype=np.float32)[one.labels]
    sources = [clip.source for clip in data.clips]
    summary = single_label.summarize(one.labels, p, classes=data.classes, sources=sources)
    page = report.render(replace(evaluation, results=(replace(one, probabilities=p, summary=summary),)))
    assert "No misclassified clips." in page
    assert "No confusions." in page


# --- Many recipes ---------------------------------------------------------------------------------------------------


def test_a_recipe_without_epochs_has_no_training_curve(five_recipes):
    text = section_text(report.render(five_recipes), "training")
    assert "transfer has no training curve" in text
    assert "Test curves of notebook-image and notebook-mel: computed on the test clips" in text
    assert "Validation curves of scratch and scratch-long: computed on validation clips" in text
    only = tuple(one for one in five_recipes.results if one.recipe.name == "transfer")
    page = report.render(replace(five_recipes, results=only, comparisons=()))
    assert "transfer has no training curve" in section_text(page, "training")
    assert "<svg" not in section_html(page, "training")


def test_the_calibration_error_is_shown_with_its_expected_value(five_recipes):
    text = section_text(report.render(five_recipes), "calibration")
    expected = "about 0.017 expected if perfectly calibrated"
    assert text.count(f"transfer ECE 0.014 (0.041 before temperature scaling; {expected})") == 2
    assert text.count(f"notebook-mel ECE 0.014 ({expected})") == 2
    assert "it is a lower bound" in text


def test_all_pairs_of_recipes_are_compared_in_a_table(five_recipes):
    page = report.render(five_recipes)
    ParsedPage(page)
    text = section_text(page, "differences")
    # Each comparison is the earlier recipe minus the later one, −4 points; in the table, the row is the later one.
    assert text.count("+4.0[+2.0, +6.0]p = 0.010") == 2 * 10
    assert text.count("−4.0") == 2 * 10  # in the list
    assert "for 10 pairs, Bonferroni correction requires p < 0.005" in text


def test_the_summary_contains_all_recipes_and_corrects_for_their_number(five_recipes):
    page = report.render(five_recipes)
    assert "<h1>Evaluation of Sounds" in page
    text = section_text(page, "summary")
    assert all(recipe in text for recipe in five_recipes.recipes)
    assert "Claim of the notebook, official folds" in text
    assert "p is not below 0.005 (0.05, with Bonferroni correction for 10 pairs)" in text  # p = 0.01
    assert all(f"{recipe} " in report.sentence(five_recipes) for recipe in five_recipes.recipes)
    scores = section_text(page, "scores")
    assert "Tested: 24 clips from 9 recordings, folds 1 and 2, each once, by models trained on 100 other" in scores
