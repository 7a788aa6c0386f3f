"""Scores as text and as a table in Jupyter."""

import numpy as np

from soundmark.models.scores import Scores


def scores(n: int, classes: int = 527, name: str = "street.wav") -> Scores:
    p = np.zeros((n, classes), np.float32)
    p[:, 7] = 0.75
    return Scores((name,) * n, np.arange(n) * 4.0, np.arange(n) * 4.0 + 4, tuple(f"<c{i}>" for i in range(classes)), p)


def test_repr_is_short():
    shown = repr(scores(900))
    assert shown.startswith('Scores(900 windows of "street.wav", 527 classes; highest means: <c7> 0.75, <c0> 0.00')
    assert len(shown) < 200
    assert len(repr(scores(3, name="é\n" * 9000)).encode()) < 2000
    assert repr(scores(0)) == "Scores(0 windows of 0 files, 527 classes; highest means: none)"
    assert "1 window of" in repr(scores(1))


def test_table_has_at_most_20_windows_and_the_top_classes():
    html = scores(900)._repr_html_()
    assert html.count("<tr>") == 1 + 20
    assert "20 of 900 windows, 5 of 527 classes" in html
    assert "<c7>" not in html
    assert html.index("&lt;c7&gt;") < html.index("&lt;c0&gt;")
    assert scores(2)._repr_html_().count("<tr>") == 3
    assert "<table>" in scores(0)._repr_html_()
