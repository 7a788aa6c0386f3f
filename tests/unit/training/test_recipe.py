"""A recipe comes back from TOML as it was, and what cannot be meant is refused in a sentence."""

import re

import pytest

from soundmark.errors import SettingsError
from soundmark.spectrograms import Mel
from soundmark.training.named_recipes import RECIPES, recipe_named
from soundmark.training.recipe import Augmentation, Recipe


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_comes_back_from_toml(name):
    assert Recipe.from_toml(RECIPES[name].to_toml()) == RECIPES[name]


def test_a_representation_may_be_its_name_alone():
    assert Recipe.from_toml('name = "mine"\nrepresentation = "mel"').representation == Mel()


@pytest.mark.parametrize("name", ["a", "7", "notebook-mel", "v1.2_b", "report.html2"])
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
        ('representation = "mel"\nnetwork = ["notebook_cnn"]', "no network"),
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
        recipe_named(str(path))
    assert str(path) in str(caught.value)


LOGMEL = 'representation = "logmel"\n'


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('trainable = "heads"', 'no trainable "heads". Did you mean "head"'),
        ('trainable = ["head"]', "no trainable"),
        ("trainable = {head = true}", "no trainable"),
        (
            'trainable = "head"',
            'trains the head alone of the network "notebook_cnn", which was trained on nothing before',
        ),
        ('schedule = "one cycle"', 'no schedule "one cycle". Did you mean "one-cycle"'),
        ("schedule = 1", "no schedule"),
        ("min_batches = -1", "min_batches is -1: give a whole number from 0 to 1000000"),
        ("min_batches = 2.0", "min_batches is 2.0"),
        ("weight_decay = -0.1", "weight_decay is -0.1: give a number of at least 0"),
        ("weight_decay = nan", "weight_decay is nan"),
        ('weight_decay = "much"', "weight_decay is 'much'"),
        ("layer_decay = 1.1", "layer_decay is 1.1: give a number from 0 to 1"),
        ("label_smoothing = -0.1", "label_smoothing is -0.1: give a number from 0 to 1"),
        ("ema_decay = 2", "ema_decay is 2: give a number from 0 to 1"),
        ("refit_head = 1", "refit_head is 1: give true or false"),
        ("refit_head = true", 'not with trainable = "all" and the network "notebook_cnn"'),
        ('network = "mn04"\ntrains = "head"\nhead_anew = true', 'not with trainable = "head" and the network "mn04"'),
        ("weight_interpolation = nan", "weight_interpolation is nan: give a number from 0 to 1"),
        ("validation_fraction = true", "validation_fraction is True: give a number from 0 to 1"),
        ("known_quantile = 95", "known_quantile is 95: give a number from 0 to 1"),
        ("augmentation = 3", "the augmentation is 3: give a table of its parameters"),
        ("[augmentation]\nrolls = true", 'no parameter of augmentation "rolls". Did you mean "roll"'),
        ("[augmentation]\nroll = 1", "roll is 1: give true or false"),
        ("[augmentation]\nstretch = -0.1", "stretch is -0.1: give a number of at least 0"),
        ("[augmentation]\nshift_bands = inf", "shift_bands is inf"),
        ("[augmentation]\nmixup = [1.0]", "mixup is"),
        ("[augmentation]\ngain_db = true", "gain_db is True"),
        ("[augmentation]\nmixup_share = 1.5", "mixup_probability is 1.5: give a number from 0 to 1"),
        ("[augmentation]\nmixstyle_share = 2", "mixstyle_probability is 2: give a number from 0 to 1"),
        ("[augmentation]\nmixstyle = -1", "mixstyle is -1: give a number of at least 0"),
    ],
)
def test_a_value_of_the_training_that_cannot_be_meant_is_refused(line, match):
    with pytest.raises(SettingsError, match=match):
        Recipe.from_toml(f'name = "mine"\n{LOGMEL}{line}\n')


@pytest.mark.parametrize(
    ("line", "asked"), [('network = "mn04"', 'the network "mn04"'), ("[augmentation]\nroll = true", "the augmentation")]
)
def test_what_is_made_for_logmel_is_refused_for_others(line, asked):
    with pytest.raises(SettingsError, match=f'{asked} of the recipe mine needs the representation "logmel", not "mel"'):
        Recipe.from_toml(f'name = "mine"\nrepresentation = "mel"\n{line}\n')


@pytest.mark.parametrize("name", ["notebook-image", "notebook-mel", "notebook-image-22k"])
def test_the_notebooks_recipes_are_what_they_were(name):
    recipe = RECIPES[name]
    assert not recipe.decides
    assert not recipe.is_pretrained
    assert recipe.epochs_for(1) == recipe.epochs_for(8732) == 20
    assert (recipe.schedule, recipe.weight_decay, recipe.label_smoothing) == ("constant", 0.0, 0.0)
    assert (recipe.ema_decay, recipe.validation_fraction, recipe.augmentation) == (0.0, 0.0, Augmentation())


def test_a_small_data_set_is_gone_through_more_often():
    scratch = RECIPES["scratch"]  # 30 epochs of batch 32, at least 1 500 batches
    assert [scratch.epochs_for(n) for n in (1, 32, 33, 320, 1280, 1700)] == [1500, 1500, 750, 150, 38, 30]
