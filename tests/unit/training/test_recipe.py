"""Recipes: reading and writing TOML, and messages for invalid values."""

import re

import pytest

from soundmark.errors import SettingsError
from soundmark.spectrograms import LogMel, Mel, Waveform
from soundmark.training.named_recipes import RECIPES, recipe_named
from soundmark.training.recipe import Augmentation, Recipe


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_is_read_back_from_toml_unchanged(name):
    assert Recipe.from_toml(RECIPES[name].to_toml()) == RECIPES[name]


def test_a_representation_may_be_given_by_name():
    assert Recipe.from_toml('name = "mine"\nrepresentation = "mel"').representation == Mel()


@pytest.mark.parametrize("name", ["a", "7", "notebook-mel", "v1.2_b", "report.html2"])
def test_valid_names(name):
    assert Recipe(name=name, representation=Mel()).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".lock",
        "-x",
        "a/b",
        "a\\b",
        "a b",
        "ä",
        "a\n",
        "report.html",
        "metrics.json",
        "Report.HTML",
        5,
        101 * "a",
    ],
)
def test_invalid_names_are_rejected(name):
    shown = str(name).replace("\n", "\\n")
    with pytest.raises(SettingsError, match=re.escape(f'the name of a recipe is "{shown}"')):
        Recipe(name=name, representation=Mel())


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("representation = 3", "the representation is 3: expected a name"),
        ('representation = ["mel"]', r"the representation is \('mel',\)"),
        ('representation = "mell"', 'no representation "mell". Did you mean "mel"'),
        ('representation = "mel"\nadam_betas = [0.9]', r"adam_betas is \(0.9,\): expected two numbers"),
        ('representation = "mel"\nadam_betas = 0.9', "adam_betas is 0.9"),
        ('representation = "mel"\nadam_betas = [0.9, 1.0]', "each at least 0 and below 1"),
        ('representation = "mel"\nadam_betas = [0.9, nan]', "adam_betas is"),
        ('representation = "mel"\nadam_betas = ["a", "b"]', "adam_betas is"),
        ('representation = "mel"\nnetwork = ["notebook_cnn"]', "no network"),
        ('representation = "mel"\nlearning_rate = true', "learning_rate is True"),
        ('representation = "mel"\nlearning_rate = inf', "learning_rate is inf"),
        ('representation = "mel"\nepochs = 1.5', "epochs is 1.5"),
        ('representation = "mel"\nepoch = 1', 'no recipe field "epoch". Did you mean "epochs"'),
        ("representation =", "is not TOML"),
        ("", "has no representation"),
    ],
)
def test_the_message_for_an_invalid_file_names_it(tmp_path, line, match):
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\n{line}\n')
    with pytest.raises(SettingsError, match=match) as caught:
        recipe_named(str(path))
    assert str(path) in str(caught.value)


LOGMEL = 'representation = "logmel"\n'


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('backbone = "mn05"', 'no backbone "mn05". Did you mean "mn'),
        ('backbone = ["mn04"]', "no backbone"),
        (
            'network = "mn04"',
            'trains all layers of the pretrained network "mn04".* replace network by backbone = "mn04"',
        ),
        ('trains = "all"\nlayer_decay = 0.9', "layer_decay = 0.9, .* use soundmark 0.1.0"),
        ('trainable = "head"', "trainable = 'head', but this field was removed: use soundmark 0.1.0"),
        ('schedule = "one cycle"', 'no schedule "one cycle". Did you mean "one-cycle"'),
        ("schedule = 1", "no schedule"),
        ("min_batches = -1", "min_batches is -1: expected a whole number from 0 to 1000000"),
        ("min_batches = 2.0", "min_batches is 2.0"),
        ("weight_decay = -0.1", "weight_decay is -0.1: expected a number of at least 0"),
        ("weight_decay = nan", "weight_decay is nan"),
        ('weight_decay = "much"', "weight_decay is 'much'"),
        ("label_smoothing = -0.1", "label_smoothing is -0.1: expected a number from 0 to 1"),
        ("ema_decay = 2", "ema_decay is 2: expected a number from 0 to 1"),
        ("validation_fraction = true", "validation_fraction is True: expected a number from 0 to 1"),
        ("known_quantile = 95", "known_quantile is 95: expected a number from 0 to 1"),
        ("augmentation = 3", "the augmentation is 3: expected a table of parameters"),
        ("[augmentation]\nrolls = true", 'no augmentation parameter "rolls". Did you mean "roll"'),
        ("[augmentation]\nroll = 1", "roll is 1: expected true or false"),
        ("[augmentation]\nstretch = -0.1", "stretch is -0.1: expected a number of at least 0"),
        ("[augmentation]\nshift_bands = inf", "shift_bands is inf"),
        ("[augmentation]\nmixup = [1.0]", "mixup is"),
        ("[augmentation]\ngain_db = true", "gain_db is True"),
        ("[augmentation]\nmixup_share = 1.5", "mixup_probability is 1.5: expected a number from 0 to 1"),
        ("[augmentation]\nmixstyle_share = 2", "mixstyle_probability is 2: expected a number from 0 to 1"),
        ("[augmentation]\nmixstyle = -1", "mixstyle is -1: expected a number of at least 0"),
    ],
)
def test_invalid_training_values_are_rejected(line, match):
    with pytest.raises(SettingsError, match=match):
        Recipe.from_toml(f'name = "mine"\n{LOGMEL}{line}\n')


@pytest.mark.parametrize(
    ("line", "part"),
    [('backbone = "mn04"', 'the backbone "mn04"'), ("[augmentation]\nroll = true", "the augmentation")],
)
def test_backbones_and_augmentation_need_logmel(line, part):
    with pytest.raises(SettingsError, match=f'{part} of the recipe mine needs the representation "logmel", not "mel"'):
        Recipe.from_toml(f'name = "mine"\nrepresentation = "mel"\n{line}\n')


def test_a_recipe_has_a_backbone_or_a_network():
    transfer = RECIPES["transfer"].settings()
    assert (transfer["backbone"], "network" in transfer) == ("mn04", False)
    assert "backbone" not in RECIPES["scratch"].settings()
    old = {key: value for key, value in transfer.items() if key != "backbone"} | {"network": "mn04", "trains": "head"}
    assert Recipe.from_settings(old) == RECIPES["transfer"]


@pytest.mark.parametrize("name", ["notebook-image", "notebook-mel", "notebook-image-22k"])
def test_the_notebooks_recipes_have_the_notebooks_settings(name):
    recipe = RECIPES[name]
    assert not recipe.calibrates
    assert recipe.backbone is None
    assert recipe.epochs_for(1) == recipe.epochs_for(8732) == 20
    assert (recipe.schedule, recipe.weight_decay, recipe.label_smoothing) == ("constant", 0.0, 0.0)
    assert (recipe.ema_decay, recipe.validation_fraction, recipe.augmentation) == (0.0, 0.0, Augmentation())


def test_a_small_data_set_is_trained_on_for_more_epochs():
    scratch = RECIPES["scratch"]  # 30 epochs of batch 32, at least 1 500 batches
    assert [scratch.epochs_for(n) for n in (1, 32, 33, 320, 1280, 1700)] == [1500, 1500, 750, 150, 38, 30]


@pytest.mark.parametrize(
    ("representation", "match"),
    [
        ("size = [64, 4097]", r"mine is too large: its size is \[64, 4097\]; the largest value allowed is 4096"),
        ("rate_hz = 2000000", "its rate_hz is 2000000; the largest value allowed is 1000000"),
        ("hop_samples = 1\nn_mels = 60000", "88201 frames × 60000 bands is 5.29e[+]09 numbers"),
    ],
)
def test_spectrograms_that_a_model_file_may_not_have_are_refused_before_the_training(representation, match):
    with pytest.raises(SettingsError, match=match):
        Recipe.from_toml(f'name = "mine"\n[representation]\nname = "mel"\n{representation}\n')


def test_the_size_of_spectrograms_is_checked_for_the_window_of_the_data_set():
    recipe = recipe_named("transfer").with_changes(representation={"name": "logmel", "hop_samples": 40})
    assert recipe.for_window(4.0).representation.size == (128, 3200)
    with pytest.raises(SettingsError, match=r"transfer cannot have windows of 10 s: its size is \[128, 8000\]"):
        recipe.for_window(10.0)


FIVE_S = Waveform(rate_hz=16000, window_samples=80_000)


def test_a_recipe_with_a_backbone_from_a_file_is_read_back_from_toml():
    recipe = Recipe(
        name="perch",
        backbone="perch_v2.onnx",
        representation=FIVE_S,
        backbone_output="embedding",
        backbone_sha256="ab" * 32,
        backbone_fixed_window=True,
    )
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "network" not in recipe.settings()
    assert recipe.describe() == "perch: waveform 80000 → perch_v2.onnx (frozen), linear head"


def test_a_recipe_file_may_have_a_backbone_only():
    recipe = Recipe.from_toml('backbone = "files/my net.onnx"')
    assert (recipe.name, recipe.representation) == ("my-net", LogMel())


def test_recipes_without_a_file_do_not_mention_its_fields():
    for recipe in RECIPES.values():
        assert not [key for key in recipe.settings() if key.startswith("backbone_")]


def test_a_fixed_window_is_kept():
    recipe = Recipe(backbone="perch.onnx", representation=FIVE_S, backbone_fixed_window=True)
    assert recipe.fixed_window_s == 5.0
    assert recipe.for_window(5.0) == recipe
    with pytest.raises(SettingsError, match="cannot have windows of 4 s: its backbone takes windows of 5 s"):
        recipe.for_window(4.0)
    any_window = Recipe(backbone="ced.onnx", representation=FIVE_S)
    assert any_window.fixed_window_s is None
    assert any_window.for_window(4.0).representation.window_samples == 64_000


def test_a_fixed_spectrogram_has_the_window_of_its_frames():
    recipe = Recipe(backbone="model.onnx", representation=LogMel(size=(128, 500)), backbone_fixed_window=True)
    assert recipe.fixed_window_s == 5.0
    assert Recipe(backbone="model.onnx", representation=Mel(), backbone_fixed_window=True).fixed_window_s is None


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"representation": FIVE_S}, 'the representation "waveform" of the recipe mine needs a backbone from an .onnx'),
        ({"representation": FIVE_S, "backbone": "mn04"}, 'needs the representation "logmel", not "waveform"'),
        ({"backbone_output": "embedding"}, "backbone_output is 'embedding': expected a text, and a backbone from an"),
        ({"backbone": "a.onnx", "backbone_sha256": 5}, "backbone_sha256 is 5: expected a text"),
        ({"backbone": "a.onnx", "backbone_fixed_window": 1}, "backbone_fixed_window is 1: expected true or false"),
        (
            {"backbone": "a.onnx", "representation": Waveform(window_samples=1 << 23)},
            "the largest value allowed is 4194304",
        ),
        ({"backbone": "perch.onx"}, 'there is no backbone "perch.onx"'),
    ],
)
def test_fields_that_do_not_fit_the_backbone_are_rejected(fields, match):
    with pytest.raises(SettingsError, match=match):
        Recipe(name="mine", **fields)
