"""A recipe comes back from TOML as it was, and what cannot be meant is refused in a sentence."""

import re

import pytest

from soundmark import recipes
from soundmark.errors import SettingsError
from soundmark.recipes import RECIPES, Recipe
from soundmark.spectrograms import Mel


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_comes_back_from_toml(name):
    assert Recipe.from_toml(RECIPES[name].to_toml()) == RECIPES[name]


def test_a_representation_may_be_its_name_alone():
    assert Recipe.from_toml('name = "mine"\nrepresentation = "mel"').representation == Mel()


@pytest.mark.parametrize("name", ["a", "7", "seed-mel", "v1.2_b", "report.html2"])
def test_names_that_name_a_folder(name):
    assert Recipe(name=name, representation=Mel()).name == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".lock", "-x", "a/b", "a\\b", "a b", "ä", "a\n", "report.html", "metrics.json", "Report.HTML", 5],
)
def test_names_that_would_lead_elsewhere_are_refused(name):
    with pytest.raises(SettingsError, match=re.escape(f'a recipe is called "{name}"')):
        Recipe(name=name, representation=Mel())


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("representation = 3", "the representation is 3: give its name"),
        ('representation = ["mel"]', r"the representation is \('mel',\)"),
        ('representation = "mell"', 'no representation "mell". Did you mean "mel"'),
        ('representation = "mel"\nadam_betas = [0.9]', r"adam_betas is \(0.9,\): give two numbers"),
        ('representation = "mel"\nadam_betas = 0.9', "adam_betas is 0.9"),
        ('representation = "mel"\nadam_betas = [0.9, 1.0]', "each at least 0 and below 1"),
        ('representation = "mel"\nadam_betas = [0.9, nan]', "adam_betas is"),
        ('representation = "mel"\nadam_betas = ["a", "b"]', "adam_betas is"),
        ('representation = "mel"\nnetwork = ["seed_cnn"]', "no network"),
        ('representation = "mel"\nlearning_rate = true', "learning_rate is True"),
        ('representation = "mel"\nlearning_rate = inf', "learning_rate is inf"),
        ('representation = "mel"\nepochs = 1.5', "epochs is 1.5"),
        ('representation = "mel"\nepoch = 1', 'no field of a recipe "epoch". Did you mean "epochs"'),
        ("representation =", "is not TOML"),
        ("", "says no representation"),
    ],
)
def test_a_file_that_cannot_be_meant_is_named(tmp_path, line, match):
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\n{line}\n')
    with pytest.raises(SettingsError, match=match) as caught:
        recipes.named(str(path))
    assert str(path) in str(caught.value)
