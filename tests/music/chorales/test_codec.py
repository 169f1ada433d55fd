import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from triptych.errors import UserError
from triptych.music.chorales.codec import (
    END,
    HIGHEST,
    HOLE,
    LOWEST,
    REST,
    SILENT,
    UNKNOWN,
    VOICES,
    ChoraleCodec,
    Grid,
    check_grid,
    from_piece,
    onsets,
    to_piece,
)
from triptych.music.files.midi import midi_bytes
from triptych.music.files.reading import MusicReader
from triptych.music.piece.piece import KeySignature, Note, Piece

CODEC = ChoraleCodec()


def grids(*more: int, steps: int = 24) -> st.SearchStrategy[Grid]:
    """Grids of any pitches, of which few are different, so that notes are held."""
    pitches = st.sampled_from([SILENT, LOWEST, 48, 49, 60, 70, HIGHEST, *more])
    return arrays.arrays(np.int64, st.tuples(st.integers(1, steps), st.just(4)), elements=pitches)


@settings(deadline=None, max_examples=60)
@given(grids(UNKNOWN))
def test_ids_and_back(grid: Grid) -> None:
    ids = CODEC.encode(grid, holes=True)
    assert ids.shape == (4 * len(grid),)
    for step, voice in np.ndindex(grid.shape):
        pitch, token = grid[step, voice], ids[4 * step + voice]
        assert token == {SILENT: REST, UNKNOWN: HOLE}.get(int(pitch), pitch - 36)
    sounding = np.where(grid == UNKNOWN, SILENT, grid)
    np.testing.assert_array_equal(CODEC.decode(CODEC.encode(sounding)), sounding)
    assert CODEC.encode(sounding).max() < END < CODEC.vocabulary <= HOLE < CODEC.source_vocabulary


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.integers(-3, HOLE + 2), st.integers(-(2**70), 2**70)), max_size=30))
def test_any_ids_are_a_grid(ids: list[int]) -> None:
    grid = CODEC.decode(iter(ids))
    before_end = ids[: ids.index(END)] if END in ids else ids
    assert grid.dtype == np.int64 and grid.shape == (-(-len(before_end) // 4), 4)
    for place, pitch in enumerate(grid.reshape(-1).tolist()):
        token = before_end[place] if place < len(before_end) else REST
        assert pitch == (token + LOWEST if 0 <= token < REST else SILENT)


@pytest.mark.parametrize(
    ("grid", "got"),
    [
        ([60, 60, 60, 60], r"int64 \[4\]"),
        ([[60, 60, 60]], r"int64 \[1, 3\]"),
        (np.empty((0, 4), np.int64), r"\[0, 4\]"),
        ([[60.0, 60, 60, 60]], "float64"),
        ([[True, True, False, False]], "bool"),
        ([["60"] * 4], "<U2"),
        ([[60, 60, 60, None]], "object"),
        ([[60, 60, 60, LOWEST - 1]], r"got B1 \(35\)"),
        ([[60, 60, 60, HIGHEST + 1]], r"got A#5 \(82\)"),
        ([[60, 60, 60, 0]], r"got C-1 \(0\)"),
        ([[60, 60, 60, -2]], "got -2"),
        ([[60, 60, 60, -5]], "got -5"),
        (np.array([[60, 60, 60, 2**64 - 1]], np.uint64), r"\(18446744073709551615\)"),
    ],
)
def test_what_is_no_grid(grid: object, got: str) -> None:
    with pytest.raises(UserError, match=got) as caught:
        CODEC.encode(grid)  # type: ignore[arg-type]  # as a file may hold it
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


@settings(deadline=None, max_examples=40)
@given(grids(UNKNOWN), st.permutations(VOICES))
def test_voices_in_any_order(grid: Grid, order: list[str]) -> None:
    codec = ChoraleCodec(order)
    ids = codec.encode(grid, holes=True).reshape(-1, 4)
    plain = CODEC.encode(grid, holes=True).reshape(-1, 4)
    for place, name in enumerate(order):
        np.testing.assert_array_equal(ids[:, place], plain[:, VOICES.index(name)])
    sounding = np.where(grid == UNKNOWN, SILENT, grid)
    np.testing.assert_array_equal(codec.decode(codec.encode(sounding).tolist()), sounding)
    np.testing.assert_array_equal(codec.ordered(grid == UNKNOWN), codec.encode(grid, holes=True) == HOLE)
    assert ChoraleCodec.from_bytes(codec.to_bytes()).order == tuple(order)


@pytest.mark.parametrize(
    "order", [(), VOICES[:3], (*VOICES, "alto"), ("alto",) * 4, (1, 2, 3, 4), ("a", "b", "c", "d")]
)
def test_what_is_no_order_of_four_voices(order: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="expected each of soprano, alto, tenor, bass once"):
        ChoraleCodec(order)


def test_a_hole_is_known_where_it_is_meant_alone() -> None:
    grid = check_grid(np.array([[60, UNKNOWN, SILENT, 48]], np.int8), holes=True)
    assert grid.dtype == np.int64
    with pytest.raises(UserError, match="got -3"):
        check_grid(grid - 1, holes=True)


def test_what_a_folder_keeps() -> None:
    assert isinstance(ChoraleCodec.from_bytes(CODEC.to_bytes()), ChoraleCodec)
    for other in (b"", b"{}", b"\xff", b"[" * 100_000, CODEC.to_bytes().replace(b"36", b"35")):
        with pytest.raises(UserError, match=r"expected a codec of chorales in chorale\.json"):
            ChoraleCodec.from_bytes(other)


# -- pieces -----------------------------------------------------------------------------------------------------------


def test_held_pitches_are_one_note() -> None:
    grid = np.array([[60, -1, 50, 40], [60, 55, 50, 41], [62, 55, -1, 41]])
    piece = to_piece(grid, 90.0)
    assert piece.notes == tuple(
        sorted(
            [
                Note(0, 2, 60, voice=0),
                Note(2, 3, 62, voice=0),
                Note(1, 3, 55, voice=1),
                Note(0, 2, 50, voice=2),
                Note(0, 1, 40, voice=3),
                Note(1, 3, 41, voice=3),
            ]
        )
    )
    assert (piece.resolution, piece.tempo, piece.voices, piece.length) == (4, 90.0, VOICES, 3)
    struck = np.zeros((3, 4), bool)
    struck[1, 0] = True
    assert [note for note in to_piece(grid, struck=struck).notes if note.voice == 0] == [
        Note(0, 1, 60),
        Note(1, 2, 60),
        Note(2, 3, 62),
    ]


@pytest.mark.parametrize(("steps", "pickup"), [(1, 0), (4, 0), (16, 0), (20, 4), (24, 0), (32, 0), (36, 4), (260, 4)])
def test_a_quarter_note_over_whole_bars_is_an_upbeat(steps: int, pickup: int) -> None:
    grid = np.full((steps, 4), 60)
    assert to_piece(grid).pickup == pickup
    assert to_piece(grid, pickup=2).pickup == 2


def test_no_steps_are_an_empty_piece() -> None:
    empty = Piece((), tempo=84.0, voices=VOICES, pickup=0, keys=(KeySignature(0, 0, minor=False),))
    assert to_piece(CODEC.decode([])) == empty


@settings(deadline=None, max_examples=60)
@given(grids(), st.integers(0, 2**31))
def test_to_a_piece_and_back(grid: Grid, seed: int) -> None:
    grid[0, 0] = 60
    piece = to_piece(grid)
    back, words = from_piece(piece)
    np.testing.assert_array_equal(back, grid)
    assert words == []
    # Notes that are struck again are one with the one before in the grid, and differ by their onsets.
    again = to_piece(grid, struck=np.random.default_rng(seed).random(grid.shape) < 0.3)
    np.testing.assert_array_equal(from_piece(again)[0], grid)
    assert to_piece(grid, struck=onsets(again, grid)) == again


@settings(deadline=None, max_examples=30)
@given(grids(steps=10), st.permutations(range(4)), st.sampled_from([4, 12, 96, 480, 1024]))
def test_four_voices_without_names_are_ordered_by_pitch(grid: Grid, order: list[int], resolution: int) -> None:
    low = np.array([72, 60, 50, 37])
    grid = np.where(grid >= 0, low + grid % 8, SILENT)
    grid[0] = low
    factor = resolution // 4
    notes = [
        Note(note.start * factor, note.end * factor, note.pitch, voice=order[note.voice])
        for note in to_piece(grid).notes
    ]
    back, words = from_piece(Piece(tuple(notes), resolution, voices=("a", "b", "c", "d"), length=len(grid) * factor))
    np.testing.assert_array_equal(back, grid)
    assert words == [], "a note on the grid was moved by nothing"


def test_through_midi() -> None:
    with MusicReader() as reader:

        @settings(deadline=None, max_examples=20)
        @given(grids())
        def check(grid: Grid) -> None:
            grid[-1, 2] = 60  # a file does not tell of the silence after its last note
            back, words = from_piece(reader.read_piece(midi_bytes(to_piece(grid)))[0])
            np.testing.assert_array_equal(back, grid)
            assert words == []

        check()


NOTES = st.builds(
    lambda start, length, pitch, voice: Note(start, start + length, pitch, voice=voice),
    st.integers(0, 20),
    st.integers(1, 9),
    st.integers(50, 60),
    st.integers(0, 1),
)


def sounding(piece: Piece) -> list[list[int]]:
    """The pitches of each step from the highest down, by definition."""
    return [
        sorted({note.pitch for note in piece.notes if note.start <= step < note.end}, reverse=True)
        for step in range(piece.length)
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(NOTES, min_size=1, max_size=12))
def test_chords_are_handed_out(notes: list[Note]) -> None:
    chord = [Note(start, start + 4, pitch, voice=2) for start in range(0, 24, 4) for pitch in (62, 65, 69)]
    piece = Piece((*notes, *chord), voices=("left hand", "right hand", "chords"))
    grid, words = from_piece(piece)
    slow = sounding(piece)
    kept = [pitches if len(pitches) <= 4 else [*pitches[:3], pitches[-1]] for pitches in slow]
    assert [[pitch for pitch in step if pitch >= 0] for step in grid.tolist()] == kept
    for step, pitches in zip(grid.tolist(), slow, strict=True):
        assert step[0] == (pitches[0] if pitches and (len(pitches) > 1 or pitches[0] >= 52) else SILENT)
    assert len(words) == 1
    assert words[0].startswith(f"{len({note.voice for note in piece.notes})} voices: notes handed out, the highest to")
    dropped = sum(len(pitches) > 4 for pitches in slow)
    assert words[0].endswith(f"left out, in {dropped} sixteenths" if dropped else "the lowest to the bass")


@pytest.mark.parametrize(
    ("pitches", "voices"),
    [
        ((67,), "soprano"),
        ((40,), "bass"),
        ((62,), "soprano"),
        ((69, 45), "soprano bass"),
        ((69, 64), "soprano alto"),
        ((72, 65, 48), "soprano alto bass"),
        ((72, 55, 48), "soprano tenor bass"),
        ((64, 57, 50), "soprano tenor bass"),
        ((50, 45), "tenor bass"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_less_than_four_voices_are_those_that_can_sing_them(
    pitches: tuple[int, ...], voices: str, turned: bool
) -> None:
    lines = [[pitch + step % 3 for step in range(8)] for pitch in pitches][:: -1 if turned else 1]
    notes = [Note(at, at + 1, pitch, voice=voice) for voice, line in enumerate(lines) for at, pitch in enumerate(line)]
    grid, words = from_piece(Piece(tuple(notes), voices=("a", "b", "c")[: len(lines)]))
    assert [VOICES[column] for column in range(4) if (grid[:, column] >= 0).all()] == voices.split()
    assert (grid >= 0).sum() == len(notes) and words == []


def test_names_count_more_than_pitch() -> None:
    piece = Piece((Note(0, 2, 48, voice=0), Note(0, 1, 60, voice=1)), voices=("Soprano ", "BASS", "tenor"))
    grid, words = from_piece(piece)
    assert grid.tolist() == [[48, -1, -1, 60], [48, -1, -1, -1]]
    assert words == []


def test_onsets_stay_in_their_voice() -> None:
    piece = Piece((Note(0, 4, 60, voice=0), Note(0, 2, 60, voice=1), Note(2, 4, 60, voice=1)), voices=VOICES)
    grid, _ = from_piece(piece)
    assert onsets(piece, grid)[2].tolist() == [False, True, False, False]


def test_of_two_notes_in_a_voice_the_later_one_counts() -> None:
    piece = Piece((Note(0, 6, 60), Note(2, 4, 64), Note(6, 7, 65)), voices=("tenor",))
    grid, words = from_piece(piece)
    assert grid[:, 2].tolist() == [60, 60, 64, 64, 60, 60, 65]
    assert words == ["1 of 3 notes begin while another of their voice sounds, and replace it"]


def test_notes_beside_the_grid_are_moved() -> None:
    notes = (Note(0, 10, 60), Note(130, 250, 62), Note(360, 361, 64))
    grid, words = from_piece(Piece(notes, resolution=480, voices=("soprano",)))
    assert grid[:, 0].tolist() == [60, 62, -1, 64]
    assert words == ["1 of 3 notes moved to the nearest sixteenth"]


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (Piece(()), "expected a piece with notes, got none"),
        (Piece((), length=8), "expected a piece with notes, got none"),
        (Piece((Note(0, 1, 100),)), r"got E7 \(100\); transpose it"),
        (Piece((Note(0, 1, 60),), length=100_001), "at most 100,000 sixteenths, got 100,001"),
        (Piece((Note(2**40, 2**40 + 1, 60),), resolution=480), "at most 100,000 sixteenths"),
    ],
)
def test_pieces_without_a_grid(piece: Piece, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_piece(piece)


def test_many_long_notes_are_handed_out_at_once() -> None:
    count = 20_000  # by the definition above: 20,000 times 100,000 steps
    piece = Piece(tuple(Note(start, 100_000, 40 + start % 40) for start in range(count)))
    grid, _ = from_piece(piece)
    assert grid[-1].tolist() == [79, 78, 77, 40] and len(grid) == 100_000
