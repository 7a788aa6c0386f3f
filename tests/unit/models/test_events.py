"""Events from window scores: onset, offset, hysteresis, gaps, and pieces of overlapping windows."""

from itertools import pairwise

import numpy as np
import pytest

from soundmark.models.events import Event, EventTracker, Segment


def track(rows, *, window_s=4.0, hop_s=4.0, pieces=None, **options) -> list[Event]:
    """The events of a recording with the probabilities ``rows`` [windows, 2]."""
    tracker = EventTracker(("siren", "dog"), **options)
    found = []
    for i, row in enumerate(rows):
        stop_s = i * hop_s + window_s
        found += tracker.step(Segment(i * hop_s, stop_s, np.array(row)), new_pieces(i, pieces, window_s, hop_s))
    return found + tracker.end()


def new_pieces(i: int, pieces, window_s: float, hop_s: float) -> list[Segment]:
    """The new pieces of window i: one, or all pieces of the first window."""
    count = round(window_s / hop_s)
    numbers = range(0 if i == 0 else i + count - 1, i + count) if pieces else ()
    return [Segment(k * hop_s, (k + 1) * hop_s, np.array(pieces[k])) for k in numbers]


def spans(found: list[Event], label: str = "siren") -> list[tuple[float, float]]:
    return [(event.start_s, event.stop_s) for event in found if event.label == label]


def only_siren(values) -> list[list[float]]:
    return [[value, 0.0] for value in values]


def ideal_scores(hop_s: float, window_s: float, event: tuple[float, float], share: float, n: int = 40):
    """Scores of windows and pieces: 1 if the event fills at least this share of them, otherwise 0."""

    def score(start: float, stop: float) -> float:
        inside = max(0.0, min(stop, event[1]) - max(start, event[0]))
        return float(inside >= share * min(stop - start, event[1] - event[0]))

    windows = [score(i * hop_s, i * hop_s + window_s) for i in range(n)]
    count = round(window_s / hop_s)  # pieces per window
    pieces = [score(i * hop_s, (i + 1) * hop_s) for i in range(n + count - 1)]
    return only_siren(windows), only_siren(pieces)


def test_consecutive_windows_are_one_event_with_mean_and_peak():
    (event,) = track(only_siren([0.1, 0.9, 0.7, 0.2]))
    assert event == Event(label="siren", start_s=4.0, stop_s=12.0, confidence=0.8, peak=0.9)


def test_event_lasts_while_its_class_stays_above_the_release():
    assert spans(track(only_siren([0.1, 0.9, 0.41, 0.9, 0.39, 0.9]))) == [(4.0, 16.0), (20.0, 24.0)]
    assert spans(track(only_siren([0.1, 0.9, 0.41, 0.9]), release=1.0)) == [(4.0, 8.0), (12.0, 16.0)]


def test_no_event_below_the_threshold():
    assert track(only_siren([0.49, 0.45, 0.49])) == []


def test_each_class_has_its_own_events_and_threshold():
    rows = [[0.6, 0.1], [0.6, 0.2], [0.1, 0.2]]
    assert [(e.label, e.start_s, e.stop_s) for e in track(rows, threshold=[0.5, 0.2])] == [
        ("siren", 0.0, 8.0),
        ("dog", 4.0, 12.0),
    ]


@pytest.mark.parametrize(("gap_s", "expected"), [(4.0, [(4.0, 16.0)]), (3.9, [(4.0, 8.0), (12.0, 16.0)])])
def test_events_with_at_most_this_gap_are_merged(gap_s, expected):
    assert spans(track(only_siren([0.1, 0.9, 0.2, 0.9, 0.2, 0.2]), merge_gap_s=gap_s)) == expected


def test_event_is_returned_with_the_first_window_without_it():
    tracker = EventTracker(("siren",))
    returned = [tracker.step(Segment(4.0 * i, 4.0 * i + 4, np.array([p]))) for i, p in enumerate((0.9, 0.9, 0.1))]
    assert [len(events) for events in returned] == [0, 0, 1]


def test_running_events_are_listed():
    tracker = EventTracker(("siren",))
    tracker.step(Segment(0.0, 4.0, np.array([0.9])))
    assert [(event.start_s, event.stop_s) for event in tracker.running_events] == [(0.0, 4.0)]


@pytest.mark.parametrize(
    ("gap_s", "merge_gap_s", "expected"),
    [(0.1, 0.0, [(0.0, 8.1)]), (30.0, 0.0, [(0.0, 4.0), (34.0, 38.0)]), (30.0, 60.0, [(0.0, 38.0)])],
)
def test_event_continues_over_a_short_gap_in_the_stream_only(gap_s, merge_gap_s, expected):
    tracker = EventTracker(("siren",), merge_gap_s=merge_gap_s)
    p = np.array([0.9])
    found = [*tracker.step(Segment(0.0, 4.0, p)), *tracker.step(Segment(4.0 + gap_s, 8.0 + gap_s, p)), *tracker.end()]
    assert spans(found) == [(pytest.approx(start), pytest.approx(stop)) for start, stop in expected]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("event", [(10.0, 18.0), (10.3, 18.6), (10.0, 11.0), (0.0, 5.0), (30.0, 44.0)])
def test_with_pieces_onset_and_offset_are_accurate_to_a_hop(share, event):
    windows, pieces = ideal_scores(1.0, 4.0, event, share)
    found = spans(track(windows, hop_s=1.0, pieces=pieces))
    assert len(found) == 1
    stop = min(event[1], 43.0)  # where the recording ends
    assert abs(found[0][0] - event[0]) <= 1.0
    assert abs(found[0][1] - stop) <= 1.0


def test_without_pieces_an_event_is_as_long_as_its_windows():
    windows, _ = ideal_scores(1.0, 4.0, (10.0, 18.0), 0.5)
    assert spans(track(windows, hop_s=1.0)) == [(8.0, 20.0)]


def test_pieces_that_do_not_detect_the_class_change_nothing():
    windows, pieces = ideal_scores(1.0, 4.0, (10.0, 18.0), 0.5)
    assert spans(track(windows, hop_s=1.0, pieces=only_siren([0.0] * len(pieces)))) == [(8.0, 20.0)]


def test_with_pieces_an_event_is_returned_within_a_hop_after_its_end():
    windows, pieces = ideal_scores(1.0, 4.0, (10.0, 18.0), 0.5)
    tracker, returned_at = EventTracker(("siren", "dog")), None
    for i, row in enumerate(windows):
        stop_s = i + 4.0
        if tracker.step(Segment(float(i), stop_s, np.array(row)), new_pieces(i, pieces, 4.0, 1.0)):
            returned_at = stop_s
    assert returned_at == 19.0


def test_second_event_of_a_class_is_separate_even_if_its_window_contains_the_first():
    pieces = [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    windows = [float(any(pieces[i : i + 4])) for i in range(10)]
    found = spans(track(only_siren(windows), hop_s=1.0, pieces=only_siren(pieces)))
    assert found == [(6.0, 7.0), (8.0, 9.0)]


def test_events_of_a_class_never_overlap():
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = only_siren(rng.random(60))
        found = spans(track(rows, hop_s=1.0, merge_gap_s=float(rng.choice([0.0, 0.5, 3.0]))))
        assert all(start < stop for start, stop in found)
        assert all(stop <= start for (_, stop), (start, _) in pairwise(found))
