import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from triptych.music.files.roll import COLOURS, draw_roll, draw_row, pitch_range
from triptych.music.files.save import save_music
from triptych.music.piece.metre import COMMON, Metre
from triptych.music.piece.piece import Note, Piece
from triptych.picture import MAX_PIXELS

CHORALE = ("soprano", "alto", "tenor", "bass")


def chorale(bars: int = 2, pickup: int = 0) -> Piece:
    written = [
        Note(start, start + 4, pitch + start // 4 % 3, voice=voice)
        for start in range(0, pickup + 16 * bars, 4)
        for voice, pitch in enumerate((72, 67, 60, 48))
    ]
    return Piece(tuple(written), 4, 80, CHORALE, pickup + 16 * bars, pickup)


def boxes(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Left, right, bottom and top of what is drawn for the notes."""
    (found,) = [one for one in axes.collections if isinstance(one, PolyCollection)]
    corners = [path.vertices for path in found.get_paths()]
    return [(x.min(), x.max(), y.min(), y.max()) for x, y in (np.asarray(box).T for box in corners)]


def fills(axes: Axes) -> list[tuple[str, float]]:
    (found,) = [one for one in axes.collections if isinstance(one, PolyCollection)]
    return [(to_hex(colour), float(colour[3])) for colour in np.asarray(found.get_facecolor())]


def ticks(axes: Axes) -> dict[int, str]:
    return {
        int(place): label.get_text() for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    }


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


@st.composite
def notes(draw: st.DrawFn) -> Note:
    start = draw(st.integers(0, 200))
    return Note(start, start + draw(st.integers(1, 90)), draw(st.integers(0, 127)), draw(st.integers(1, 127)))


@settings(max_examples=15, deadline=None)
@given(st.lists(notes(), max_size=8), st.integers(1, 5), st.integers(0, 30))
def test_rows_show_every_tick_and_every_note(some: list[Note], resolution: int, pickup: int) -> None:
    piece = Piece(tuple(some), resolution, pickup=pickup)
    rows = draw_roll(piece).axes
    limits = [tuple(map(int, axes.get_xlim())) for axes in rows]
    assert limits[0][0] == 0 and limits[-1][1] == (piece.length or pickup % (4 * resolution) + 4 * resolution)
    assert [stop for _, stop in limits[:-1]] == [start for start, _ in limits[1:]]
    assert all((start - pickup) % (4 * resolution) == 0 for start, _ in limits[1:]), "a row begins with a bar"
    for axes, (start, stop) in zip(rows, limits, strict=True):
        shown = sorted((left, right, (bottom + top) / 2 - 0.5) for left, right, bottom, top in boxes(axes))
        assert shown == sorted((n.start, n.end, n.pitch) for n in some if n.start < stop and n.end > start)
        low, high = axes.get_ylim()
        assert all(low <= note.pitch and note.pitch + 1 <= high for note in some)


def test_a_colour_a_voice_and_a_legend() -> None:
    figure = draw_roll(chorale(bars=1))
    assert legend(figure) == list(CHORALE)
    colours = {colour for colour, opacity in fills(figure.axes[0]) if opacity == 1}
    assert colours == set(COLOURS[:4])
    by_pitch = dict(zip([box[2] for box in boxes(figure.axes[0])], fills(figure.axes[0]), strict=True))
    assert by_pitch[72] == (COLOURS[0], 1.0) and by_pitch[48] == (COLOURS[3], 1.0)


def test_a_single_voice_shows_how_loud_it_is() -> None:
    loudness = (1, 40, 90, 127)
    figure = draw_roll(Piece(tuple(Note(i, i + 1, 60, velocity) for i, velocity in enumerate(loudness))))
    assert legend(figure) == []
    opacities = [opacity for _, opacity in fills(figure.axes[0])]
    assert opacities == sorted(set(opacities)) and opacities[0] > 0.2 and opacities[-1] == 1


def test_voices_in_unison_are_both_seen() -> None:
    piece = Piece((Note(0, 4, 60, voice=0), Note(2, 6, 60, voice=1), Note(6, 8, 60, voice=1)), voices=("high", "low"))
    (axes,) = draw_roll(piece).axes
    heights = dict(zip(((left, right) for left, right, *_ in boxes(axes)), boxes(axes), strict=True))
    upper, lower, alone = heights[0, 4], heights[2, 6], heights[6, 8]
    assert lower[3] - lower[2] == alone[3] - alone[2] == 1
    assert lower[2] < upper[2] < upper[3] < lower[3]
    assert boxes(axes).index(upper) > boxes(axes).index(lower), "the smaller one is drawn over the other"
    (axes,) = draw_roll(Piece((Note(0, 4, 60), Note(2, 6, 60)))).axes
    assert {top - bottom for *_, bottom, top in boxes(axes)} == {1}, "only voices differ"


def test_bars_and_octaves() -> None:
    figure = draw_roll(chorale(bars=11, pickup=4))
    first, second = figure.axes
    assert ticks(first) == {4 + 16 * bar: str(bar + 1) for bar in range(6)}
    assert ticks(second) == {4 + 16 * bar: str(bar + 1) for bar in range(6, 11)}
    octaves = dict(zip(first.get_yticks(), (label.get_text() for label in first.get_yticklabels()), strict=True))
    assert octaves == {48: "C3", 60: "C4", 72: "C5"}
    lines: list[Any] = [one for one in first.collections if isinstance(one, LineCollection)]
    upright = [line for one in lines for line in one.get_segments() if line[0][0] == line[1][0]]
    assert sorted(line[0][0] for line in upright) == list(ticks(first))
    assert first.get_ylim() == second.get_ylim()
    per_tick = [axes.get_position().width / (axes.get_xlim()[1] - axes.get_xlim()[0]) for axes in (first, second)]
    assert per_tick[0] == pytest.approx(per_tick[1]), "time runs equally fast in every row"


def test_bars_of_other_metres() -> None:
    piece = Piece((Note(0, 200, 60),), metres=(Metre(0, 3, 4), Metre(28, 6, 8), Metre(52, 3, 2)), pickup=4)
    first = draw_roll(piece).axes[0]
    assert list(ticks(first).items())[:6] == [
        (4, "1  3/4"),
        (16, "2"),
        (28, "3  6/8"),
        (40, "4"),
        (52, "5  3/2"),
        (76, "6"),
    ]
    assert str(COMMON) not in "".join(ticks(draw_roll(Piece((Note(0, 99, 60),))).axes[0]).values())


def test_a_performance_has_seconds_instead_of_bars() -> None:
    (axes,) = draw_roll(Piece((Note(0, 5_000, 60),), 500, 120.0, metrical=False)).axes
    assert ticks(axes) == {0: "0 s", 2_000: "2 s", 4_000: "4 s"}


def test_of_many_bars_in_a_row_some_are_numbered() -> None:
    axes = Figure().add_subplot()
    draw_row(axes, chorale(bars=20), range(320), COLOURS)
    assert axes.get_xlim() == (0, 320) and len(boxes(axes)) == 320
    assert len(ticks(axes)) <= 16 and ticks(axes)[0] == "1"


def test_a_single_colour() -> None:
    axes = Figure().add_subplot()
    draw_row(axes, Piece((Note(0, 4, 60, 20), Note(0, 4, 60, 90)), 4), range(4), ("#777777",))
    assert fills(axes) == [("#777777", 1)] * 2
    assert {top - bottom for *_, bottom, top in boxes(axes)} == {1}


@pytest.mark.parametrize("pitches", [[], [60], [0], [127], [0, 127]])
def test_the_range_has_room(pitches: list[int]) -> None:
    lowest, highest = pitch_range(Piece(tuple(Note(0, 1, pitch) for pitch in pitches)))
    assert highest - lowest >= 18
    assert all(lowest < pitch and pitch + 1 < highest for pitch in pitches)


def test_nothing_at_all_is_a_picture(tmp_path: Path) -> None:
    save_music(Piece(()), tmp_path / "empty.png")
    assert (tmp_path / "empty.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_picture_twice_and_pyplot_knows_nothing_of_it(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_music(chorale(), tmp_path / "new" / name)
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "new" / "b.png").read_bytes()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ("$x^", "日本", "_hidden", "", "long" * 1000, "f", "g", "h", "i")
    piece = Piece(tuple(Note(voice, voice + 1, 60 + voice, voice=voice) for voice in range(9)), voices=names)
    save_music(piece, tmp_path / "names.png")
    figure = draw_roll(piece)
    assert legend(figure)[-1] == "3 more" and len(legend(figure)) == len(COLOURS)
    assert max(map(len, legend(figure))) < 40
    by_pitch = dict(zip([box[2] for box in boxes(figure.axes[0])], fills(figure.axes[0]), strict=True))
    assert by_pitch[66] == by_pitch[67] == by_pitch[68] == (COLOURS[-1], 1.0)
    with Image.open(tmp_path / "names.png") as image:
        assert max(image.size) <= MAX_PIXELS * 1.1


@pytest.mark.parametrize(("length", "pitches"), [(2**31, (60,)), (50_000, (0, 127))])
def test_an_endless_piece_stays_a_picture(tmp_path: Path, length: int, pitches: tuple[int, ...]) -> None:
    piece = Piece(tuple(Note(0, length, pitch) for pitch in pitches), 4)
    save_music(piece, tmp_path / "long.png")
    with Image.open(tmp_path / "long.png") as image:
        assert max(image.size) <= MAX_PIXELS * 1.1 and min(image.size) > 1000
    assert all(len(ticks(axes)) <= 16 for axes in draw_roll(piece).axes)
