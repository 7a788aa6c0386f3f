"""``soundmark.recipe``: recipes by name, from a file or an object, with changes."""

from pathlib import Path

import pytest

from soundmark import spectrograms
from soundmark.errors import SettingsError
from soundmark.spectrograms import LogMel, Waveform
from soundmark.training.named_recipes import RECIPES, changed_recipes, check_used, recipe, recipe_named
from soundmark.training.recipe import Augmentation, Recipe
from support.backbones import write_small


def test_a_name_a_file_and_an_object_give_the_same_recipe(tmp_path):
    scratch = recipe_named("scratch")
    path = tmp_path / "mine.toml"
    path.write_text(scratch.to_toml())
    for given in ("scratch", scratch, path, str(path)):
        assert recipe(given) == scratch
        assert recipe(given, epochs=5).epochs == 5
    assert recipe("seed-mel") == recipe_named("notebook-mel")


def test_a_field_given_as_none_is_not_changed():
    assert recipe("scratch", epochs=None, seed=3) == recipe("scratch", seed=3)


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [({"epoch": 3}, "epochs"), ({"batch": 3}, "batch_size"), ({"learning_rates": 1}, "learning_rate")],
)
def test_an_unknown_field_is_rejected_with_the_nearest_name(changes, nearest):
    with pytest.raises(SettingsError, match=f'no recipe field.* Did you mean "{nearest}"'):
        recipe("scratch", **changes)


def test_invalid_values_are_rejected():
    with pytest.raises(SettingsError, match="epochs is '5': expected a whole number"):
        recipe("scratch", epochs="5")
    with pytest.raises(SettingsError, match='no recipe "notebook-mell". Did you mean "notebook-mel"'):
        recipe("notebook-mell")
    with pytest.raises(SettingsError, match="the recipe is 3: expected the name of a recipe"):
        recipe(3)
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        recipe(Path("nothing.toml"))


def test_representation_and_augmentation_may_be_names_dicts_or_objects():
    for given in ("logmel", {"name": "logmel"}, LogMel()):
        assert recipe("notebook-mel", representation=given).representation == LogMel()
    for given in ({"gain_db": 3.0}, Augmentation(gain_db=3.0)):
        assert recipe("scratch", augmentation=given).augmentation == Augmentation(gain_db=3.0)


def test_old_names_of_fields_are_accepted():
    assert recipe("scratch", averaging=0.5, network="seed_cnn").ema_decay == 0.5


@pytest.mark.parametrize("name", RECIPES)
def test_the_repr_is_short_and_evaluates_to_the_recipe(name):
    shown = repr(recipe_named(name))
    assert len(shown) < 2000
    names = {"Recipe": Recipe, "Augmentation": Augmentation, **vars(spectrograms)}
    assert eval(shown, names) == recipe_named(name)  # noqa: S307 (a trusted text)


def test_the_table_has_only_the_fields_that_differ_from_the_defaults():
    shown = recipe("notebook-mel", epochs=5)._repr_html_()
    assert "Recipe notebook-mel" in shown
    assert ">epochs</th>" in shown
    assert ">network</th>" in shown
    assert "notebook_cnn" in shown
    assert "learning_rate" not in shown


def test_a_backbone_changes_the_recipes_that_have_one():
    assert recipe("transfer", backbone="mn10").backbone == "mn10"
    assert recipe("scratch", backbone="mn10") == recipe_named("scratch")
    check_used([recipe_named("scratch"), recipe_named("transfer")], backbone="mn10")
    with pytest.raises(SettingsError, match="scratch does not use --backbone: it trains a network from random weights"):
        check_used([recipe_named("scratch")], backbone="mn10")


def test_another_backbone_replaces_what_belongs_to_a_file(tmp_path):
    path = write_small(tmp_path / "small.onnx")
    waveform = recipe("transfer", backbone=str(path))
    assert waveform.representation == Waveform(rate_hz=16000, window_samples=16_000)
    assert (waveform.partial_views, waveform.backgrounds) == (1, 100)
    assert recipe(waveform, backbone="mn04") == recipe_named("transfer")
    again = recipe(waveform, backbone=str(write_small(tmp_path / "other.onnx", rate_hz=8000)))
    assert again.representation.rate_hz == 8000


def test_the_file_of_a_recipe_is_read_again(tmp_path):
    waveform = recipe("transfer", backbone=str(write_small(tmp_path / "small.onnx")), seed=3)
    assert recipe(waveform) == waveform


@pytest.mark.parametrize("option", ["backbone_output", "backbone_rate_hz"])
def test_options_of_files_need_a_file(option):
    with pytest.raises(SettingsError, match=r"does not use --backbone-.* Omit it, or give a file with --backbone"):
        check_used([recipe_named("transfer")], **{option: 1})


def test_a_change_is_refused_only_if_no_recipe_uses_it():
    changed = changed_recipes(["notebook-mel", "scratch"], epochs=2, batch_size=8, seed=7, window_s=1.5)
    assert [(one.name, one.epochs, one.batch_size, one.seed) for one in changed] == [
        ("notebook-mel", 2, 8, 7),
        ("scratch", 2, 8, 7),
    ]
    with pytest.raises(SettingsError, match="notebook-mel does not use --window"):
        changed_recipes(["notebook-mel"], epochs=2, window_s=1.5)
    with pytest.raises(SettingsError, match="transfer does not use --epochs"):
        changed_recipes(["transfer"], epochs=2)
