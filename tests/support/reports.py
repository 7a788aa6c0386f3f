"""Evaluations with random scores, to render as reports, and a parser that checks the HTML."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np

from soundmark import audio
from soundmark.datasets import Clip, Dataset
from soundmark.datasets.leakage import Leakage
from soundmark.evaluation.results import Comparison, Evaluation, FoldResult, Result
from soundmark.metrics import single_label, verdicts
from soundmark.metrics.intervals import Interval
from soundmark.metrics.significance import PairedDifference
from soundmark.models.training_record import Epoch
from soundmark.training.named_recipes import recipe

# Class names with markup, quotes, other scripts, and a word that is longer than any line.
HOSTILE = ("<script>alert(1)</script>", "\"double\" & 'single'", "犬の声 été $x_1^2$", "</td></table>" + "long" * 30)
VOID = {"meta", "link", "img", "br"}


def make_history(epochs=5, validated=True):
    """Return a training history; without validation values if not ``validated``."""
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


def make_result(data, recipe, protocol, *, seed):
    """Return a result with random predictions, better than chance, for every clip of the data set."""
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
                history=make_history(),
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


def make_evaluation(data, names=("notebook-image", "notebook-mel"), protocols=("random", "folds"), skipped=()):
    """Return an evaluation of recipes under protocols, with the difference of each two consecutive recipes."""
    results = [
        make_result(data, recipe(name), protocol, seed=i)
        for i, (protocol, name) in enumerate((protocol, name) for protocol in protocols for name in names)
    ]
    sources = [clip.source or str(clip.path) for clip in data.clips]
    comparisons = []
    for protocol in protocols:
        same = [one for one in results if one.protocol == protocol]
        for a, b in pairwise(same):
            difference = single_label.paired_difference(a.labels, a.probabilities, b.probabilities, sources=sources)
            comparisons.append(
                Comparison(
                    protocol=protocol,
                    recipes=(a.recipe.name, b.recipe.name),
                    difference=difference,
                    verdict=verdicts.judge(difference, a.summary.headline.interval, b.summary.headline.interval),
                )
            )
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


def make_difference(low, high):
    """Return a paired difference in the middle of its interval, on 100 clips from 10 recordings, with p = 0.01."""
    return PairedDifference((low + high) / 2, Interval(low, high), 0.01, 0.01, 100, 10, 9)


def with_difference(comparison, low, high, p=0.01):
    """Return a comparison with another difference, and the verdict that follows from it."""
    difference = replace(make_difference(low, high), p=p)
    verdict = verdicts.judge(difference, Interval(0.8, 0.9), Interval(0.8, 0.9))
    return replace(comparison, difference=difference, verdict=verdict)


def make_dataset(folder, classes, per_class=3, seconds=0.3):
    """Write a data set of short tones at 16 kHz; the file names contain markup, quotes and spaces."""
    clips = []
    for i, label in enumerate(classes):
        for k in range(per_class):
            path = folder / f"{i}-{k} <b>&\"'é.wav"
            time_s = np.arange(int(seconds * 16000)) / 16000
            audio.write(path, (0.3 * np.sin(2 * np.pi * (200 + 30 * i) * (k + 1) * time_s)).astype(np.float32), 16000)
            salience = ("foreground", "background")[k % 2]
            clips.append(Clip(path=path, label=label, fold=1 + k % 2, source=f"rec {i} {k // 3}", salience=salience))
    return Dataset(name='Sounds & "noises" <of> a city', root=folder, classes=tuple(classes), clips=tuple(clips))


class ParsedPage(HTMLParser):
    """Parse HTML and check that every element is closed; collect tags, attributes and texts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.texts, self.tags, self.styles = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

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
        """The values of an attribute."""
        return [value for _, key, value in self.attributes if key == name]


def section_text(page, name):
    """Return the text of a section of the report."""
    return "".join(ParsedPage(section_html(page, name)).texts)


def section_html(page, name):
    """Return a section of the report as HTML."""
    return page[page.index(f'<section id="{name}"') :].split("</section>")[0] + "</section>"


def without_data(page):
    """Return the page without embedded images and sounds."""
    return re.sub(r"base64,[^\"]*", "", page)
