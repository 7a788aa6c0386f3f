"""Shared code of figures: axes, file formats, colours."""

import sys
import warnings

import pytest

from soundmark.errors import OutputError, SettingsError
from soundmark.runtime.plotting import axes_or_new, new_axes, ordered_colours, save_figure


def test_new_axes_belong_to_a_pyplot_figure_and_given_axes_are_reused():
    from matplotlib import pyplot

    axes = axes_or_new(figsize=(4, 3))
    assert pyplot.gcf() is axes.figure
    assert axes_or_new(axes) is axes
    assert len(pyplot.get_fignums()) == 1


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".PDF", b"%PDF"), (".svg", b"<?xml")])
def test_figure_is_saved_in_the_format_of_its_suffix(tmp_path, suffix, begins):
    path = tmp_path / "new folder" / f"a{suffix}"
    save_figure(axes_or_new().figure, str(path))
    assert path.read_bytes().startswith(begins)
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no temporary file remains


def test_invalid_figure_path_is_rejected(tmp_path):
    (tmp_path / "file").touch()
    figure = axes_or_new().figure
    with pytest.raises(SettingsError, match='there is no image format "pngg". Did you mean "png"'):
        save_figure(figure, tmp_path / "a.pngg")
    with pytest.raises(OutputError):
        save_figure(figure, tmp_path / "file" / "a.png")


def test_missing_glyph_gives_no_warning(tmp_path):
    axes = axes_or_new()
    axes.set_title("犬")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(axes.figure, tmp_path / "a.png")


def test_error_without_matplotlib_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingsError, match="plotting needs Matplotlib: pip install"):
        new_axes(figsize=(1, 1))


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_ordered_colours_get_lighter(n):
    """They are distinct by lightness with any colour vision."""
    lightness = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b, _ in ordered_colours(n)]
    assert lightness == sorted(lightness)
    assert len({round(value, 2) for value in lightness}) == n
