"""Progress bars, and the cutting of work between their moves."""

import numpy as np
import pytest
from bars import record_advances, shown

from castile.progress import cut, step, track


def weighted(n):
    return ((weight, f"item {weight}") for weight in range(1, n + 1))


@pytest.mark.parametrize("show", [False, True])
def test_track_yields_every_item_in_order(show):
    assert list(track(weighted(4), 10, "work", show)) == ["item 1", "item 2", "item 3", "item 4"]


def test_track_advances_by_the_weight_of_what_is_done(monkeypatch, capsys):
    weights = record_advances(monkeypatch)
    done = []
    for item in track(weighted(4), 10, "work", True):
        assert weights == done
        done.append(int(item[-1]))
    assert weights == [1, 2, 3, 4]
    assert "work" in (text := shown(capsys.readouterr()))
    assert "10/10" in text


def test_nothing_is_drawn_unless_asked_for(capsys):
    list(track(weighted(4), 10, "work", False))
    with step("work", False):
        pass
    assert capsys.readouterr() == ("", "")


def test_work_may_be_nothing(capsys):
    assert list(track([], 0, "work", True)) == []
    assert "0/0" in shown(capsys.readouterr())


def test_a_step_ends_with_the_work_inside_of_it(capsys):
    with step("one call", True):
        pass
    text = shown(capsys.readouterr())
    assert "onecall" in text
    assert "1/1" in text


def test_errors_of_the_work_pass_through_the_bar():
    with pytest.raises(RuntimeError, match="inside"), step("work", True):
        raise RuntimeError("inside")


def test_errors_of_the_items_pass_through_the_bar(capsys):
    def items():
        yield 3, "item"
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        list(track(items(), 10, "work", True))
    assert "3/10" in shown(capsys.readouterr())


@pytest.mark.parametrize("length", [0, 1, 3, 10, 100])
def test_cuts_hold_all_groups_whole_and_no_more_than_asked_for(length):
    sizes = np.array([2, 0, 5, 1, 1, 0, 0, 4, 3])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    runs = list(cut(offsets, length))
    assert [group for first, last in runs for group in range(first, last)] == list(range(len(sizes)))
    for first, last in runs:
        assert last == first + 1 or sizes[first:last].sum() <= length
    if length == 100:
        assert runs == [(0, 9)]
    assert list(cut(np.zeros(1, dtype=int), length)) == []
