"""``soundmark.recipe``: by name, file or object, with changes."""

from pathlib import Path

import pytest

from soundmark import spectrograms
from soundmark.errors import SettingsError
from soundmark.spectrograms import LogMel
from soundmark.training.named_recipes import RECIPES, recipe, recipe_named
from soundmark.training.recipe import Augmentation, Recipe


def test_a_name_a_file_and_an_object_give_the_same_recipe(tmp_path):
    scratch = recipe_named("scratch")
    path = tmp_path / "mine.toml"
    path.write_text(scratch.to_toml())
    for given in ("scratch", scratch, path, str(path)):
        assert recipe(given) == scratch
        assert recipe(given, epochs=5).epochs == 5
    assert recipe("seed-mel") == recipe_named("notebook-mel")


def test_a_field_given_as_none_stays_as_it_is():
    assert recipe("scratch", epochs=None, seed=3) == recipe("scratch", seed=3)


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [({"epoch": 3}, "epochs"), ({"batch": 3}, "batch_size"), ({"learning_rates": 1}, "learning_rate")],
)
def test_an_unknown_field_is_refused_with_the_nearest(changes, nearest):
    with pytest.raises(SettingsError, match=f'no field of a recipe.* Did you mean "{nearest}"'):
        recipe("scratch", **changes)


def test_values_are_checked():
    with pytest.raises(SettingsError, match="epochs is '5': give a whole number"):
        recipe("scratch", epochs="5")
    with pytest.raises(SettingsError, match='no recipe "notebook-mell". Did you mean "notebook-mel"'):
        recipe("notebook-mell")
    with pytest.raises(SettingsError, match="the recipe is 3: give the name of one"):
        recipe(3)
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        recipe(Path("nothing.toml"))


def test_representation_and_augmentation_in_every_form():
    for given in ("logmel", {"name": "logmel"}, LogMel()):
        assert recipe("notebook-mel", representation=given).representation == LogMel()
    for given in ({"gain_db": 3.0}, Augmentation(gain_db=3.0)):
        assert recipe("scratch", augmentation=given).augmentation == Augmentation(gain_db=3.0)


def test_old_names_of_fields_are_accepted():
    assert recipe("scratch", averaging=0.5, network="seed_cnn").ema_decay == 0.5


@pytest.mark.parametrize("name", RECIPES)
def test_the_repr_is_short_and_reads_back(name):
    shown = repr(recipe_named(name))
    assert len(shown) < 2000
    names = {"Recipe": Recipe, "Augmentation": Augmentation, **vars(spectrograms)}
    assert eval(shown, names) == recipe_named(name)  # noqa: S307 (our own text)


def test_the_table_has_what_differs_and_nothing_else():
    shown = recipe("notebook-mel", epochs=5)._repr_html_()
    assert "Recipe notebook-mel" in shown
    assert ">epochs</th>" in shown
    assert ">network</th>" in shown
    assert "notebook_cnn" in shown
    assert "learning_rate" not in shown
