"""Windows to label next: uncertain ones, different from each other and from labelled ones."""

import numpy as np
import pytest

from soundmark.detection.archive import suggestions


def test_the_margin_to_the_next_class_or_to_none_is_the_uncertainty():
    scores = np.array([[0.9, 0.05], [0.5, 0.1], [0.45, 0.45], [0.02, 0.01]])
    np.testing.assert_allclose(suggestions.uncertainty(scores), [0.2, 1.0, 0.9, 0.04])


def test_none_of_the_classes_is_no_answer_of_a_softmax():
    scores = np.array([[0.6, 0.3, 0.1], [0.34, 0.33, 0.33], [0.5, 0.5, 0.0]])
    np.testing.assert_allclose(suggestions.uncertainty(scores), [0.7, 0.99, 1.0])


def test_the_uncertainty_of_one_class_does_not_depend_on_the_others():
    scores = np.array([[0.5, 0.9], [0.9, 0.5]])
    np.testing.assert_allclose(suggestions.uncertainty(scores, 0), [1.0, 0.2])


def test_standardised_embeddings_do_not_depend_on_offset_and_scale_of_a_feature():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 4))
    scaled = points * [1, 10, 100, 1000] + [5, -3, 2, 0]
    expected = suggestions.standardised(points, points)
    np.testing.assert_allclose(suggestions.standardised(scaled, scaled), expected, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)


def test_rounding_to_half_precision_does_not_become_a_difference():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(50, 4)), np.full((50, 4), -80.03)], axis=1)
    stored = points.astype(np.float16)
    same = (suggestions.standardised(points, stored) * suggestions.standardised(stored, stored)).sum(1)
    np.testing.assert_allclose(same, 1, atol=0.01)


def directions(n: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("n_labelled", [0, 1, 1200])
def test_each_choice_has_the_largest_product_of_uncertainty_and_distance(n_labelled: int):
    points, labelled = directions(40), directions(n_labelled, seed=1)
    uncertain = np.random.default_rng(2).uniform(size=40)
    chosen = suggestions.choose(points, uncertain, 12, labelled=labelled)
    known = list(labelled)
    for choice in chosen:
        distance = [min([2.0, *(1 - float(point @ other) for other in known)]) for point in points]
        product = np.array(distance) * uncertain
        product[[i for i in chosen if any(np.array_equal(points[i], other) for other in known)]] = -1
        assert product[choice] == pytest.approx(product.max(), abs=1e-6)
        known.append(points[choice])


def test_of_equal_sounds_one_is_chosen():
    points = np.repeat(directions(3), 10, axis=0)
    chosen = suggestions.choose(points, np.full(30, 0.5), 3)
    assert sorted(index // 10 for index in chosen) == [0, 1, 2]


def test_no_window_is_chosen_twice_and_no_more_than_there_are():
    chosen = suggestions.choose(np.ones((4, 1), np.float32), np.zeros(4), 10)
    assert sorted(chosen) == [0, 1, 2, 3]
