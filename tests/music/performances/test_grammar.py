from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triptych.generation.sample import generate
from triptych.music.performances.codec import END, NOTE_OFF, TIME_SHIFT, VELOCITY, PerformanceCodec, onsets
from triptych.music.performances.grammar import PerformanceGrammar
from triptych.music.piece.performance import Performance

CODEC = PerformanceCodec()
ON, OFF, SHIFT = range(88), range(NOTE_OFF, TIME_SHIFT), range(TIME_SHIFT, VELOCITY)

NOTES = st.tuples(st.integers(0, 1000), st.integers(1, 250), st.integers(21, 108), st.integers(1, 127))


def after(*ids: int, **settings: object) -> set[int]:
    """What may come after these ids."""
    return set(PerformanceGrammar(**settings)(np.array([ids], dtype=np.int64))[0].nonzero()[0].tolist())  # type: ignore[arg-type]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.lists(NOTES, min_size=1, max_size=20), min_size=1, max_size=3))
def test_what_the_codec_writes_is_allowed(rows: list[list[tuple[int, int, int, int]]]) -> None:
    encoded = []
    for notes in rows:
        start, steps, pitch, velocity = np.array(notes).T
        encoded.append([*CODEC.encode(Performance.of(start / 100, (start + steps) / 100, pitch, velocity)), END])
    length = max(map(len, encoded))
    ids = np.array([row + [END] * (length - len(row)) for row in encoded])
    grammar = PerformanceGrammar(polyphony=88)
    for place in range(length):
        allowed = grammar(ids[:, :place])
        assert allowed.shape == (len(rows), CODEC.vocabulary) and allowed.dtype == np.bool_
        for row, tokens in enumerate(encoded):
            assert place >= len(tokens) or allowed[row, tokens[place]], (row, place)


class Dice:
    """A model that knows nothing: each event is as probable as its kind is favoured."""

    def __init__(self, favour: NDArray[Any]) -> None:
        self.favour = favour

    def step(self, ids: NDArray[Any] | None, cache: "Rows") -> NDArray[Any]:
        cache.position += 1
        return np.tile(self.favour, (cache.rows, 1))


class Rows:
    def __init__(self, rows: int) -> None:
        self.rows, self.position = rows, 0


def thrown(
    steps: int, seed: int, grammar: PerformanceGrammar, rows: int = 4, prefix: NDArray[Any] | None = None
) -> NDArray[Any]:
    favour = np.zeros(CODEC.vocabulary)
    favour[:NOTE_OFF] += 2.0 * (seed % 3)
    favour[TIME_SHIFT:VELOCITY] += 1.0 * (seed % 2)
    favour[END] = 7.0 * (seed > 2)
    columns = generate(Dice(favour), Rows(rows), steps=steps, end=END, seed=seed, allow=grammar, prefix=prefix)
    return np.stack(list(columns), 1)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 6, 7])
def test_what_is_allowed_is_what_the_codec_writes(seed: int) -> None:
    polyphony, longest = (3, 0.5) if seed % 3 == 0 else (40, 4.0)
    ids = thrown(300, seed, PerformanceGrammar(polyphony=polyphony, longest=longest))
    for row in ids.tolist():
        performance = CODEC.decode(row)
        whole = row[: row.index(END)] if END in row else row
        # Up to END exactly; a piece that was cut lacks its last offs, and what it began last.
        again = CODEC.encode(performance).tolist()
        if END in row:
            assert again == whole
        else:
            last_shift = max(place for place, token in enumerate(row) if token in SHIFT)
            while row[last_shift - 1] in SHIFT:
                last_shift -= 1
            assert again[:last_shift] == row[:last_shift]
        notes = performance.notes
        assert (notes["end"] - notes["start"]).max() <= longest + 1e-9
        moments = np.unique(notes["start"])
        sounding = (notes["start"] <= moments[:, None]) & (notes["end"] > moments[:, None])
        assert sounding.sum(1).max() <= polyphony


def test_without_end() -> None:
    assert END not in thrown(60, 9, PerformanceGrammar(polyphony=1, end=False))
    assert END in thrown(60, 9, PerformanceGrammar(polyphony=1))


def test_fewer_ids_are_a_new_beginning() -> None:
    grammar = PerformanceGrammar()
    grammar(np.array([[VELOCITY, 40, TIME_SHIFT]]))
    assert np.array_equal(grammar(np.zeros((2, 0), np.int64)), PerformanceGrammar()(np.zeros((2, 0), np.int64)))


def test_rules_one_by_one() -> None:
    nothing = after()
    assert nothing == {*SHIFT, *range(VELOCITY, END)}, "a first note needs a velocity"
    loud = VELOCITY + 20
    assert after(loud) == set(ON)
    struck = after(loud, 40)
    assert struck & set(ON) == set(range(41, 88)), "by pitch"
    assert not struck & set(OFF), "a note lasts a step"
    assert loud not in struck and VELOCITY + 21 in struck
    assert END not in struck
    later = after(loud, 40, TIME_SHIFT + 20)
    assert later & set(OFF) == {NOTE_OFF + 40} and 40 not in later
    assert not later & set(SHIFT), "one shift that is shorter than a second"
    assert after(loud, 40, TIME_SHIFT + 99) >= set(SHIFT)
    released = after(loud, 40, TIME_SHIFT, NOTE_OFF + 40)
    assert END in released and 40 in released and NOTE_OFF + 40 not in released
    assert END not in after(loud, 40, TIME_SHIFT, NOTE_OFF + 40, TIME_SHIFT + 99)
    two = after(loud, 40, 41, TIME_SHIFT, NOTE_OFF + 41)
    assert not two & set(OFF), "offs by pitch"
    assert after(loud, 86, VELOCITY + 2) == {87}
    assert not after(loud, 87) & set(range(VELOCITY, END)), "no key is left to be struck in this step"


def test_polyphony_is_bounded() -> None:
    full = after(VELOCITY, 1, 2, TIME_SHIFT, polyphony=2)
    assert full == {NOTE_OFF + 1, NOTE_OFF + 2}
    assert after(VELOCITY, 1, 2, TIME_SHIFT, NOTE_OFF + 1, polyphony=2) >= {1, 3, NOTE_OFF + 2}


def test_a_key_goes_up_in_time() -> None:
    first = (VELOCITY, 5, 70, TIME_SHIFT + 19)
    assert after(*first, 7, longest=1) & set(SHIFT) == set(range(TIME_SHIFT, TIME_SHIFT + 80))
    due = (*first, 7, TIME_SHIFT + 79)
    assert after(*due, longest=1) == {NOTE_OFF + 5}
    assert after(*due, NOTE_OFF + 5, longest=1) == {NOTE_OFF + 70}
    assert after(*due, NOTE_OFF + 5, NOTE_OFF + 70, longest=1) >= {5, 20, *range(TIME_SHIFT, TIME_SHIFT + 20)}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(st.sampled_from([0, 87, NOTE_OFF, TIME_SHIFT, TIME_SHIFT + 99, VELOCITY]), st.integers(0, END - 1)),
        max_size=40,
    )
)
def test_something_may_always_follow(ids: list[int]) -> None:
    assert after(*ids) and after(*ids, polyphony=1, longest=1)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, END - 1), min_size=1, max_size=40), st.integers(0, 100))
def test_after_any_prefix_no_note_is_stuck(prefix: list[int], seed: int) -> None:
    ids = thrown(200, seed, PerformanceGrammar(longest=1.0), rows=1, prefix=np.array([prefix]))
    notes = CODEC.decode(ids[0].tolist()).notes
    known = CODEC.decode(prefix).seconds
    later = notes[notes["start"] > known]
    assert not len(later) or (later["end"] - later["start"]).max() <= 1 + 1e-9


MELODY = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 60), st.integers(21, 108)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=15)
@given(MELODY, st.integers(0, 5), st.sampled_from([1, 3, 64]))
def test_a_melody_is_struck_at_its_time(notes: list[tuple[int, int, int]], seed: int, polyphony: int) -> None:
    start, steps, pitch = np.array(notes).T
    melody = Performance.of(start / 100, (start + steps) / 100, pitch, np.full(len(notes), 80))
    ids = thrown(900, seed, PerformanceGrammar(polyphony=polyphony, melody=melody), rows=2)
    for row in ids.tolist():
        played = CODEC.decode(row)
        assert END in row or played.seconds > melody.seconds
        assert set(onsets(melody)) <= set(onsets(played))
        assert END not in row or CODEC.encode(played).tolist() == row[: row.index(END)]


def test_what_a_melody_asks_for() -> None:
    loud = VELOCITY + 20
    tune = Performance.of([0.5, 0.5, 2], [1, 1, 3], [61, 65, 61], [80] * 3)
    assert after(melody=tune) & set(SHIFT) == set(range(TIME_SHIFT, TIME_SHIFT + 50)), "no shift passes it"
    held = (loud, 10, 40, TIME_SHIFT + 49)
    assert after(*held, melody=tune) == {NOTE_OFF + 40}, "a key goes up to be struck again"
    free = (*held, NOTE_OFF + 40)
    assert after(*free, melody=tune) & set(ON) == {*range(10), *range(11, 41)}, "none above it before it"
    assert not after(*free, melody=tune) & set(SHIFT)
    assert 40 in after(*held[:2], TIME_SHIFT + 49, melody=tune, polyphony=1), "whatever the polyphony"
    one = (*free, 40)
    assert after(*one, melody=tune) & set(ON) == set(range(41, 45))
    both = (*one, 44)
    assert after(*both, melody=tune) & set(SHIFT) == set(SHIFT)
    over = (*both, TIME_SHIFT, NOTE_OFF + 10, NOTE_OFF + 40, NOTE_OFF + 44)
    assert END not in after(*over, melody=tune) and END in after(*over)
    # A forced prefix may have missed it.
    assert after(*held[:2], TIME_SHIFT + 99, TIME_SHIFT + 99, TIME_SHIFT + 9, melody=tune) >= {NOTE_OFF + 10}
    assert after(loud, 45, melody=Performance.of([0], [1], [61], [80])) >= set(SHIFT)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, END - 1), max_size=40), st.integers(0, 40))
def test_ids_that_were_asked_before(ids: list[int], cut: int) -> None:
    whole = PerformanceGrammar()(np.array([ids], dtype=np.int64))
    grammar = PerformanceGrammar(before=np.array(ids[:cut], np.int64))
    assert np.array_equal(grammar(np.array([ids[cut:]], dtype=np.int64)), whole)


def test_many_ids_at_once_are_as_one_by_one() -> None:
    ids = thrown(100, 5, PerformanceGrammar(end=False))
    slow = PerformanceGrammar()
    for place in range(101):
        expected = slow(ids[:, :place])
    assert np.array_equal(PerformanceGrammar()(ids), expected)
