"""The grammar of chorales, against the definition of its rules, for any wishes of a model and any order of voices."""

from collections.abc import Callable
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.music.chorales.codec import END, HOLE, RANGES, REST, SILENT, UNKNOWN, VOICES, ChoraleCodec, Grid
from triptych.music.chorales.grammar import ALONE, BACH, ChoraleGrammar, Rules
from triptych.music.piece.key import Key

ORDERS = st.permutations(VOICES)


def draw(
    grammar: ChoraleGrammar, steps: int, expected: Callable[[int], list[int]], known: Grid | None = None, rows: int = 1
) -> list[Grid]:
    """Grids by the first allowed of the tokens expected at a position, else a random one; up to END."""
    codec, random = grammar.codec, np.random.default_rng(0)
    forced = np.full(4 * steps, HOLE) if known is None else codec.encode(known, holes=True)
    ids = np.zeros((rows, 0), np.int64)
    for position in range(4 * steps):
        if forced[position] != HOLE:
            column = np.full(rows, forced[position])
        else:
            allowed = grammar(ids)
            assert allowed.shape == (rows, codec.vocabulary) and allowed.any(1).all()
            wish = expected(position)
            column = np.array(
                [
                    next((token for token in wish if row[token]), random.choice(np.flatnonzero(row[:REST])))
                    for row in allowed
                ]
            )
        ids = np.append(ids, column[:, None], 1)
        if (column == END).all():
            break
    return [codec.decode(row.tolist()) for row in ids]


def longest(mask: np.ndarray) -> int:
    return max((len(list(group)) for value, group in groupby(mask.tolist()) if value), default=0)


@settings(deadline=None, max_examples=40)
@given(ORDERS, st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 9))
def test_no_written_voice_rests_while_the_melody_sings(order: list[str], sung: list[bool], rest: int) -> None:
    known = np.full((len(sung), 4), UNKNOWN)
    known[:, 0] = np.where(sung, 71, SILENT)
    grammar = ChoraleGrammar(ChoraleCodec(order), known=known, rules=Rules(rest=rest))
    (found,) = draw(grammar, len(sung), lambda _: [REST], known)
    np.testing.assert_array_equal(found[:, 0], known[:, 0])
    singing = np.array(sung)
    for voice in range(1, 4):
        silent = found[:, voice] == SILENT
        assert longest(silent[singing]) <= rest
        assert silent[~singing].all(), "where the melody rests a voice may"
        if singing.any():
            assert not silent[singing][0], "it enters with the melody"


@settings(deadline=None, max_examples=20)
@given(ORDERS, st.integers(1, 40), st.integers(1, 3))
def test_no_voice_of_a_composed_piece_is_silent_for_long(order: list[str], steps: int, rows: int) -> None:
    for found in draw(ChoraleGrammar(ChoraleCodec(order)), steps, lambda _: [REST], rows=rows):
        assert all(longest(found[:, voice] == SILENT) <= BACH.rest for voice in range(4))  # type: ignore[operator]
        assert (found[0] != SILENT).all()
    (alone,) = draw(ChoraleGrammar(ChoraleCodec(order), rules=ALONE), steps, lambda _: [REST])
    assert (alone == SILENT).all(), "which a model by itself may be"


@settings(deadline=None, max_examples=20)
@given(ORDERS, st.integers(1, 80))
def test_no_chord_stands_for_ever(order: list[str], steps: int) -> None:
    (found,) = draw(ChoraleGrammar(ChoraleCodec(order)), steps, lambda _: [26])
    changes = np.flatnonzero(np.append(True, (found[1:] != found[:-1]).any(1)))
    assert np.diff(np.append(changes, steps)).max() <= BACH.chord  # type: ignore[operator]
    for voice, (low, high) in enumerate(RANGES):
        assert ((found[:, voice] >= low) & (found[:, voice] <= high)).all()
    (alone,) = draw(ChoraleGrammar(ChoraleCodec(order), rules=ALONE), steps, lambda _: [26])
    assert (alone == 62).all()


def test_a_known_melody_may_stand_and_so_may_its_chord() -> None:
    known = np.full((40, 4), UNKNOWN)
    known[:, 0] = 62
    (found,) = draw(ChoraleGrammar(ChoraleCodec(), known=known), 40, lambda _: [26], known)
    assert (found == 62).all()


@settings(deadline=None, max_examples=40)
@given(
    ORDERS,
    st.integers(0, 11),
    st.booleans(),
    st.integers(1, 12),
    st.sampled_from([0, 3, 4, 7]),
    st.integers(0, 46),
    st.sampled_from([4, 6, 8]),
)
def test_a_harmony_ends_on_the_tonic(
    order: list[str], tonic: int, minor: bool, length: int, interval: int, wish: int, beat: int
) -> None:
    known = np.full((16, 4), UNKNOWN)
    last = 60 + (tonic + interval) % 12
    known[:, 0] = 72
    known[-length:, 0] = last
    grammar = ChoraleGrammar(ChoraleCodec(order), known=known, key=Key(tonic, minor), beat=beat)
    (found,) = draw(grammar, 16, lambda _: [wish, REST], known)
    ending = found[-min(beat, length) :]
    classes = (ending - tonic) % 12
    if interval in ((0, 3, 4, 7) if minor else (0, 4, 7)):
        assert (ending >= 0).all() and (classes[:, 3] == 0).all()
        assert set(classes.ravel().tolist()) <= {0, 3 if minor else 4, 4, 7}
        assert len(set(classes.ravel().tolist()) & {3, 4}) == 1, "of two thirds one"
        assert np.isin(classes, [3, 4]).any(1).all(), "in every moment"
    (free,) = draw(
        ChoraleGrammar(ChoraleCodec(order), known=known, key=Key(tonic, minor), rules=Rules(ending=False)),
        16,
        lambda _: [26],
        known,
    )
    assert (free[:, 1:] == 62).all()


def test_what_is_given_is_never_put_right() -> None:
    known = np.full((8, 4), UNKNOWN)
    known[:, 0], known[:, 3] = 72, 43  # a bass on G under C: no end in C
    (found,) = draw(ChoraleGrammar(ChoraleCodec(), known=known, key=Key(0, minor=False)), 8, lambda _: [26], known)
    assert (found[:, 1:3] == 62).all()
    known[:, 3] = 48
    (found,) = draw(ChoraleGrammar(ChoraleCodec(), known=known, key=Key(0, minor=False)), 8, lambda _: [26], known)
    assert (found[:4, 1:3] == 62).all() and set((found[4:, 1:3] % 12).ravel().tolist()) <= {0, 4, 7}


@pytest.mark.parametrize("order", [VOICES, VOICES[::-1]])
def test_a_composed_piece_in_a_key_ends_on_its_tonic_alone(order: tuple[str, ...]) -> None:
    codec = ChoraleCodec(order)
    chords = {"G": [71, 62, 55, 43], "C": [72, 64, 55, 48], "C over E": [72, 60, 55, 52], "C and D": [72, 62, 55, 48]}

    def may_end(name: str, key: Key | None) -> bool:
        ids = codec.encode(np.array([chords[name]] * 4))[None]
        return bool(ChoraleGrammar(codec, end=0, key=key)(ids)[0, END])

    assert [may_end(name, Key(0, minor=False)) for name in chords] == [False, True, False, False]
    assert all(may_end(name, None) for name in chords)


@settings(deadline=None, max_examples=20)
@given(ORDERS, st.integers(0, 11), st.booleans(), st.integers(0, 46))
def test_a_piece_in_a_key_that_is_cut_ends_on_its_tonic(order: list[str], tonic: int, minor: bool, wish: int) -> None:
    grammar = ChoraleGrammar(ChoraleCodec(order), end=0, stop=12, key=Key(tonic, minor))
    (found,) = draw(grammar, 12, lambda _: [wish, REST])
    classes = (found[8:] - tonic) % 12
    assert (found[8:] >= 0).all() and (classes[:, 3] == 0).all()
    assert set(classes.ravel().tolist()) <= {0, 3 if minor else 4, 4, 7} and not {3, 4} <= set(classes.ravel().tolist())
    assert np.isin(classes, [3, 4]).any(1).all()
