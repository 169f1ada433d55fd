import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch

from triptych.errors import UserError
from triptych.look.arcs import COLOURS, STRONGEST, Arc, Arcs, draw
from triptych.music.piece.piece import KeySignature, Note, Piece
from triptych.picture import save

PITCHES = (72, 67, 60, 48)


def chorale(steps: int = 32, pickup: int = 0) -> Piece:
    notes = [
        Note(start, min(start + 4, steps), pitch + start // 4, voice=voice)
        for start in range(0, steps, 4)
        for voice, pitch in enumerate(PITCHES)
    ]
    return Piece(tuple(notes), 4, 80, ("soprano", "alto", "tenor", "bass"), steps, pickup)


def example(rows: Any, chosen: int | None = None, steps: int = 32, pickup: int = 0) -> Arcs:
    """Arcs of a chorale, four tokens a step; rows of weights are filled up with zeros to `chosen`."""
    ticks, pitches = np.arange(steps).repeat(4), np.array([[p + s // 4 for p in PITCHES] for s in range(steps)]).ravel()
    chosen = chosen or len(rows[0])
    weights = np.zeros((len(rows), chosen))
    for row, values in zip(weights, rows, strict=True):
        row[: len(values)] = values
    names = tuple(f"head {number}" for number in range(1, len(rows) + 1))
    return Arcs(chorale(steps, pickup), ticks, pitches, chosen, weights, "layer 2", names)


def random_weights(heads: int, tokens: int) -> Any:
    return np.random.default_rng(0).dirichlet(np.full(tokens + 1, 0.1), heads)[:, :-1]


def patches(axes: Axes) -> list[Any]:
    return [patch for patch in axes.patches if isinstance(patch, PathPatch)]


def dots(axes: Axes) -> list[tuple[float, float]]:
    places: Any = [line.get_xydata() for line in axes.lines]
    return [(float(x), float(y)) for (x, y) in np.concatenate(places)]


def test_the_strongest_come_first() -> None:
    arcs = example([[0.1, 0.0, 0.4, 0.2], [0.4, 0.0, 0.0, 0.3]])
    assert arcs.strongest(3) == [Arc(0, 2, 0.4), Arc(1, 0, 0.4), Arc(1, 3, 0.3)]
    assert len(arcs.strongest()) == 5, "nothing without weight"


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 100), st.integers(1, 60))
def test_the_strongest_of_any(heads: int, tokens: int, count: int) -> None:
    weights = random_weights(heads, tokens)
    found = example(weights).strongest(count)
    expected = np.sort(weights[weights > 0])[::-1][:count]
    np.testing.assert_array_equal([arc.weight for arc in found], expected)
    assert all(weights[arc.head, arc.token] == arc.weight for arc in found)
    assert len({(arc.head, arc.token) for arc in found}) == len(found)


def test_numbers() -> None:
    arcs = example([[0.25, 0.5, 0.0], [0.0, 0.0, 0.1234567]])
    plain = arcs.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["weights"] == [[0.25, 0.5, 0.0], [0.0, 0.0, 0.123457]]
    assert plain["start"] == [0.25, 0.876543]
    assert (plain["layer"], plain["heads"], plain["chosen"]) == ("layer 2", ["head 1", "head 2"], 3)
    assert plain["ticks"][:5] == [0, 0, 0, 0, 1] and plain["pitches"][:4] == list(PITCHES)


def test_weights_of_a_model_are_float32() -> None:
    weights = random_weights(2, 50).astype(np.float32)
    weights[0] /= weights[0].sum()
    arcs = replace(example(weights), weights=weights)
    assert arcs.start()[0] == pytest.approx(0, abs=1e-5) and (arcs.start() >= 0).all()
    json.dumps(arcs.to_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": 0}, "a token from 1 to 127, got 0"),
        ({"chosen": 128}, "a token from 1 to 127, got 128"),
        ({"heads": ()}, "1 to 8 heads, got 0"),
        ({"heads": ("head",) * 9}, "1 to 8 heads, got 9; choose some"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(example([[0.1, 0.2, 0.3]] * 2), **change)


def test_arcs_lead_from_the_chosen_token_to_what_it_looks_at() -> None:
    arcs = example([[0.5, 0.0, 0.25], [0.0, 0.125]], chosen=42)
    (axes,) = draw(arcs).axes
    drawn = patches(axes)
    assert len(drawn) == 3
    (looking,) = {tuple(patch.get_path().vertices[0]) for patch in drawn}
    assert looking == (10.5, 62.5), "token 42 is the tenor of step 10"
    seen = {tuple(patch.get_path().vertices[-1]): to_hex(patch.get_edgecolor()) for patch in drawn}
    assert seen == {(0.5, 72.5): COLOURS[0], (0.5, 60.5): COLOURS[0], (0.5, 67.5): COLOURS[1]}
    assert {*seen, looking} == set(dots(axes))
    by_width = sorted(drawn, key=lambda patch: patch.get_linewidth())
    assert [tuple(patch.get_path().vertices[-1]) for patch in by_width] == [(0.5, 67.5), (0.5, 60.5), (0.5, 72.5)]
    opacities = [patch.get_alpha() for patch in by_width]
    assert opacities == sorted(set(opacities)) and opacities[0] > 0.2 and opacities[-1] <= 1
    assert drawn == by_width, "the strongest is on top"


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 8), st.integers(1, 127))
def test_every_arc_stays_in_the_picture(heads: int, chosen: int) -> None:
    (axes,) = draw(example(random_weights(heads, chosen))).axes
    assert 0 < len(patches(axes)) <= STRONGEST
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for patch in patches(axes):
        points = patch.get_path().to_polygons(closed_only=False)[0]
        assert (points[:, 1] >= low).all() and (points[:, 1] <= high).all()
        assert points[0][0] <= right and points[-1][0] >= left


def test_another_voice_of_the_same_moment_is_reached_by_a_bow() -> None:
    arcs = example([[0.0] * 8 + [0.9]], chosen=11)
    (patch,) = patches(draw(arcs).axes[0])
    points = np.asarray(patch.get_path().vertices)
    assert points[0][0] == points[3][0] == 2.5
    assert points[1][0] == points[2][0] < 2.5


def test_a_token_without_pitch_stands_at_the_foot() -> None:
    arcs = replace(example([[0.0, 0.9]]), pitches=np.where(np.arange(128) % 4 == 1, -1, 60))
    (axes,) = draw(arcs).axes
    assert dots(axes)[0] == (0.5, axes.get_ylim()[0] + 0.5)


def test_the_caption() -> None:
    weights = np.zeros((2, 5 * 4 + 1))
    weights[0, :3], weights[1, 5] = (0.5, 0.25, 0.05), 0.4
    figure = draw(example(weights, pickup=1))
    texts = [text.get_text() for text in figure.texts]
    assert texts == [
        "What G#4 in bar 1, beat 2 looks at: layer 2",
        "The 4 strongest weights: 60% of the attention (of each head: below). 40% goes to the start.",
    ]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["head 1: 80%", "head 2: 40%"]


@pytest.mark.parametrize(
    ("chosen", "name"),
    [(1, "What G4 in the pickup"), (3 * 4, "What C5 in bar 1, beat 1 "), (21 * 4 + 2, "What F4 in bar 2, beat 1.5 ")],
)
def test_the_place_of_a_token(chosen: int, name: str) -> None:
    figure = draw(example(random_weights(1, chosen), pickup=3))
    assert figure.texts[0].get_text().startswith(name)


def test_the_moment_of_a_token_of_a_performance() -> None:
    piece = Piece((Note(0, 500, 60), Note(1_250, 1_500, 62)), 500, 120.0, metrical=False)
    weights = np.full((1, 1), 0.5)
    found = Arcs(piece, np.array([0, 1_250]), np.array([60, 62]), 1, weights, "layer 1", ("head 1",))
    assert draw(found).texts[0].get_text() == "What D4 at 1.25 s looks at: layer 1"


def test_the_picture_begins_with_what_was_read() -> None:
    """Of a long piece the end: its axis has the times of the whole."""
    piece = Piece((Note(0, 500, 60), Note(3_000, 3_500, 61), Note(4_250, 4_500, 62)), 500, 120.0, metrical=False)
    weights = np.full((1, 1), 0.5)
    found = Arcs(piece, np.array([3_000, 4_250]), np.array([61, 62]), 1, weights, "layer 1", ("head 1",), begin=3_000)
    figure = draw(found)
    assert figure.axes[0].get_xlim() == (3_000, 4_500)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["4 s"]
    assert figure.texts[0].get_text() == "What D4 at 4.25 s looks at: layer 1"


def test_only_the_strongest_are_drawn_and_their_share_is_named() -> None:
    weights = np.full((1, 100), 0.005)
    figure = draw(example(weights))
    assert len(patches(figure.axes[0])) == STRONGEST == 40
    assert "The 40 strongest weights: 20% of" in figure.texts[1].get_text()


def test_the_picture_ends_a_bar_after_the_chosen_token() -> None:
    assert draw(example(random_weights(1, 9), steps=64)).axes[0].get_xlim() == (0, 32)
    assert draw(example(random_weights(1, 9), steps=64, pickup=4)).axes[0].get_xlim() == (0, 20)
    assert draw(example(random_weights(1, 250), steps=64)).axes[0].get_xlim() == (0, 64)


def test_all_attention_on_the_start(tmp_path: Path) -> None:
    figure = draw(example(np.zeros((3, 7))))
    assert not patches(figure.axes[0])
    assert "The 0 strongest weights: 0% of" in figure.texts[1].get_text()
    save(figure, tmp_path / "none.png")


def test_a_picture_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(draw(example(random_weights(8, 100))), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_title_names_a_note_in_the_key_of_the_piece() -> None:
    notes = tuple(Note(4 * place, 4 * place + 4, pitch) for place, pitch in enumerate((67, 70, 74, 70, 67)))
    piece = Piece(notes, keys=(KeySignature(0, -2, minor=True),))
    ticks, pitches = np.arange(5) * 4, np.array([67, 70, 74, 70, 67])
    arcs = Arcs(piece, ticks, pitches, 3, np.full((1, 3), 0.3), "layer 1", ("head 1",))
    assert draw(arcs).texts[0].get_text().startswith("What Bb4 in bar 1, beat 4 looks at")
    sharp = replace(arcs, piece=replace(piece, keys=(KeySignature(0, 5, minor=False),)))
    assert draw(sharp).texts[0].get_text().startswith("What A#4 in bar 1")
