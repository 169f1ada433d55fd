from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.piece.metre import COMMON, Bar, Bars, Metre

METRES = st.builds(Metre, st.integers(0, 300), st.integers(1, 12), st.sampled_from([1, 2, 4, 8, 16]))


@given(
    st.lists(METRES, max_size=4, unique_by=lambda metre: metre.start),
    st.integers(0, 400),
    st.integers(0, 40),
    st.sampled_from([1, 4, 12]),
)
def test_bars_lie_one_after_another(metres: list[Metre], length: int, pickup: int, resolution: int) -> None:
    metres = sorted(metres)
    bars = Bars(metres, length=length, resolution=resolution, pickup=pickup)
    found = list(bars)
    assert len(found) == len(bars) and found[0].start == 0
    assert all(one.end == other.start for one, other in pairwise(found))
    assert [bar.number for bar in found] == list(range(bars.first, bars.last + 1))
    assert found[-1].start < max(1, length) and found[-1].end >= min(length, found[-1].end)
    assert found[0].end == pickup % found[0].metre.ticks(resolution) or not bars.pickup
    for metre in metres:
        if pickup < metre.start < found[-1].end:
            assert any((bar.start, bar.metre) == (metre.start, metre) for bar in found), "a change begins a bar"
    for bar in found[:-1]:
        assert bar.end - bar.start + bar.offset <= bar.metre.ticks(resolution)
        for tick in (bar.start, bar.end - 1):
            assert bars.at(tick) == bar == bars.number(bar.number)
        assert bars.ticks(bar.number, bar.number + 1) == range(bar.start, bars.number(bar.number + 1).end)


def test_bars_of_a_change() -> None:
    metres = [Metre(0, 3, 4), Metre(12, 6, 8), Metre(30, 2, 4)]
    bars = list(Bars(metres, length=36, resolution=2, pickup=2))
    assert bars == [
        Bar(0, 2, 4, 0, metres[0]),
        Bar(2, 8, 0, 1, metres[0]),
        Bar(8, 12, 0, 2, metres[0]),
        Bar(12, 18, 0, 3, metres[1]),
        Bar(18, 24, 0, 4, metres[1]),
        Bar(24, 30, 0, 5, metres[1]),
        Bar(30, 34, 0, 6, metres[2]),
        Bar(34, 36, 0, 7, metres[2]),
    ]


def test_bars_go_on() -> None:
    bars = Bars([], length=20, resolution=4, pickup=4)
    assert bars.at(1_000) == Bar(996, 1_012, 0, 63) and bars.number(63).metre == COMMON


@pytest.mark.parametrize(
    ("text", "beats", "unit"), [("3/4", 3, 4), (" 12 / 8", 12, 8), ("c", 4, 4), ("C|", 2, 2), ("255/64", 255, 64)]
)
def test_metres_as_people_write_them(text: str, beats: int, unit: int) -> None:
    assert Metre.parse(text) == Metre(0, beats, unit)


@pytest.mark.parametrize("text", ["", "3", "3/5", "0/4", "256/4", "3/128", "-3/4", "a/b", "3/4/4", "3.5/4"])
def test_what_is_no_metre(text: str) -> None:
    with pytest.raises(UserError, match="expected a metre") as caught:
        Metre.parse(text)
    assert "\n" not in str(caught.value)


def test_beats() -> None:
    found = [Metre.parse(text) for text in ("4/4", "6/8", "3/8", "3/2", "12/8", "5/8", "6/4", "9/16")]
    assert [metre.beat(8) for metre in found] == [8, 12, 4, 16, 12, 4, 24, 6]
    assert [metre.ticks(8) for metre in found] == [32, 24, 12, 48, 48, 20, 48, 18]
