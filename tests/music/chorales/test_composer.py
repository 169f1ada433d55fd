from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.decode.interpreter import PlanDecoder
from triptych.errors import UserError
from triptych.generation.sampling import Sampling
from triptych.look.notes import arcs_of
from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer
from triptych.model.weights import save_transformer
from triptych.music.chorales import sampler
from triptych.music.chorales.augmentation import Augmentation
from triptych.music.chorales.codec import (
    END,
    FILE,
    RANGES,
    SILENT,
    UNKNOWN,
    VOICES,
    ChoraleCodec,
    Grid,
    from_piece,
    to_piece,
)
from triptych.music.chorales.composer import Composer
from triptych.music.chorales.sampler import MAX_STEPS, ChoraleSampler
from triptych.music.files.save import save_music
from triptych.music.piece.piece import Note, Piece
from triptych.music.piece.upbeat import in_bars
from triptych.shape.pattern import Local1D
from triptych.train.recipe import Recipe
from triptych.trained import Trained

SHAPE = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
GREEDY, WILD = Sampling(temperature=0), Sampling(temperature=9)
LIMIT = 48  # steps after which a piece is cut here
NOTES = {"input": "tokens", "head": "tied"}  # a position a note


def make(task: str = "compose", **changes: Any) -> Composer:
    return Composer.new(task=task, preset="tiny", device="cpu", **{**SHAPE, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def shorter() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "USUAL_STEPS", LIMIT)
        yield


@pytest.fixture(scope="module")
def composer() -> Composer:
    return make()


@pytest.fixture(scope="module")
def filler() -> Composer:
    return make("infill")


def grid_of(seed: int, steps: int) -> Grid:
    """Random notes in the ranges of the voices, held for a while."""
    random = np.random.default_rng(seed)
    grid = np.stack([random.integers(low, high + 1, steps) for low, high in RANGES], 1)
    grid[random.random((steps, 4)) < 0.1] = SILENT
    grid = np.repeat(grid, 2, 0)[:steps]
    grid[-1] = [72, 60, 55, 48]
    return grid


def in_ranges(piece: Piece) -> bool:
    return all(RANGES[note.voice][0] <= note.pitch <= RANGES[note.voice][1] for note in piece.notes)


# -- composing --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 2**64 - 1), st.sampled_from([None, 1, 6, 16]))
def test_a_piece(seed: int, steps: int | None) -> None:
    composer = make()
    asked: dict[str, Any] = {"steps": steps, "sampling": WILD}
    piece = composer.compose(seed=seed, tempo=100.0, **asked)
    assert piece == composer.compose(seed=seed, tempo=100.0, **asked), "one seed, one result"
    assert piece == in_bars(replace(piece, pickup=None))[0], "its bars are those that are found when it is read"
    assert piece != composer.compose(seed=seed ^ 1, tempo=100.0, **asked) or steps == 1
    assert in_ranges(piece) and piece.tempo == 100.0 and piece.voices == VOICES
    if steps is None:
        assert piece.length % 4 == 0 and 4 <= piece.length <= LIMIT
    else:
        assert piece.length == steps
    assert sorted(composer.stream(seed=seed, **asked)) == list(piece.notes)


def test_pieces_side_by_side() -> None:
    composer = make()
    composer.module().double()  # alone, a piece is composed with matrices in half precision, but not of this model
    three, five = (composer.compose_many(count, seed=5, label="minor", steps=12) for count in (3, 5))
    assert five[:3] == three
    assert len(set(five)) == 5
    assert three[0] == composer.compose(seed=5, label="minor", steps=12)
    ended = composer.compose_many(4, seed=1, sampling=WILD)
    assert len({piece.length for piece in ended}) > 1, "each ends for itself"
    assert ended[0] == composer.compose(seed=1, sampling=WILD)


def test_a_label_changes_the_piece_and_is_found_by_its_name(composer: Composer) -> None:
    names = [None, "major", "minor", "C major", "G minor"]
    assert len({composer.compose(seed=0, steps=16, label=label) for label in names}) == 5
    for name, same in (
        ("minor", " Minor"),
        ("G minor", "g MINOR "),
        ("B-flat major", "Bb"),
        ("C minor", "cm"),
        ("F-sharp major", "F#"),
    ):
        assert composer.compose(seed=0, steps=4, label=name) == composer.compose(seed=0, steps=4, label=same)
    with pytest.raises(UserError, match=r"a label of major, minor, or a key of at most 7 .*, got 'X minor'"):
        composer.compose(label="X minor")
    with pytest.raises(UserError, match="a model with labels for --label minor, got one without"):
        make(classes=0).compose(label="minor")
    assert make(classes=0).compose(steps=4).length == 4


def test_notes_are_streamed_when_they_end(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    generated = ChoraleSampler.compose

    def counted(*arguments: Any, **more: Any) -> Iterator[Tensor]:
        nonlocal made
        for column in generated(*arguments, **more):
            made += 1
            yield column

    monkeypatch.setattr(ChoraleSampler, "compose", counted)
    ends = [(note.end, made) for note in composer.stream(seed=0, steps=32)]
    assert ends == sorted(ends)
    assert all(4 * end <= tokens <= 4 * end + 4 for end, tokens in ends)


def always(composer: Composer, token: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model want one token more than all others together."""

    def step(ids: Tensor | None, cache: Any) -> Tensor:
        cache.taken += 1
        logits = torch.nn.functional.one_hot(torch.full((cache.rows,), token), composer.codec.vocabulary) * 100.0
        return logits.log_softmax(-1)

    monkeypatch.setattr(Transformer, "step", lambda _, ids, cache: step(ids, cache))


@pytest.mark.parametrize(("primer", "whole"), [(0, 4), (1, 4), (3, 4), (4, 8), (6, 8), (8, 12)])
def test_the_end_comes_after_a_quarter_and_after_something_new(
    monkeypatch: pytest.MonkeyPatch, primer: int, whole: int
) -> None:
    composer = make()
    always(composer, END, monkeypatch)
    piece = composer.continue_(to_piece(grid_of(0, primer))) if primer else composer.compose()
    assert piece.length == whole
    assert not primer or from_piece(piece)[0][:primer].tolist() == grid_of(0, primer).tolist()


def test_a_piece_that_does_not_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    composer = make()
    always(composer, 26, monkeypatch)  # D4, which every voice can sing
    assert composer.compose().length == LIMIT
    assert composer.continue_(Piece((Note(0, 80, 62),))).length == 160


@pytest.mark.parametrize("steps", [0, -4, MAX_STEPS + 1])
def test_lengths_that_cannot_be(composer: Composer, steps: int) -> None:
    with pytest.raises(UserError, match=f"expected 1 to 4,096 sixteenths, got {steps:,}; choose another length"):
        composer.compose(steps=steps)


def test_other_mistakes(composer: Composer) -> None:
    with pytest.raises(UserError, match="from 1, got 0"):
        composer.compose_many(0)
    with pytest.raises(UserError, match="expected a seed from 0"):
        composer.compose(seed=-1, steps=4)
    with pytest.raises(UserError, match="finite tempo"):
        composer.compose(steps=4, tempo=float("nan"))


# -- going on ---------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9))
def test_a_primer_comes_back(seed: int, given_steps: int, more: int) -> None:
    composer = make()
    grid = grid_of(seed, given_steps)
    struck = np.random.default_rng(seed).random(grid.shape) < 0.3
    primer = to_piece(grid, 77.0, pickup=2, struck=struck)
    whole = composer.continue_(primer, steps=given_steps + more, seed=seed)
    assert (whole.length, whole.tempo, whole.pickup) == (given_steps + more, 77.0, 2)
    np.testing.assert_array_equal(from_piece(whole)[0][:given_steps], grid)
    ended = [note for note in primer.notes if note.end < given_steps]
    assert [note for note in whole.notes if note.end < given_steps] == ended
    begun = {(note.start, note.pitch, note.voice) for note in primer.notes}
    assert {(note.start, note.pitch, note.voice) for note in whole.notes if note.start < given_steps} == begun


def test_a_primer_of_one_note_in_another_resolution(composer: Composer, tmp_path: Path) -> None:
    primer = Piece((Note(0, 480, 67),), resolution=480, tempo=100.0)
    save_music(primer, tmp_path / "primer.mid")
    whole = composer.continue_(tmp_path / "primer.mid", steps=20, label="C major", seed=3)
    assert whole.tempo == 100.0 and whole.length == 20 and whole.pickup == 0
    assert from_piece(whole)[0][:4].tolist() == [[67, -1, -1, -1]] * 4
    assert whole.notes == composer.continue_(primer, steps=20, label="C major", seed=3).notes


@pytest.mark.parametrize(
    ("primer", "steps", "message"),
    [
        (Piece((Note(0, 8, 60),)), 8, "expected 9 to 4,096 sixteenths, got 8"),
        (Piece((Note(0, 8, 60),)), 3, "expected 9 to 4,096 sixteenths, got 3"),
        (Piece((Note(0, MAX_STEPS, 60),)), None, "a primer of less than 4,096 sixteenths, got 4,096"),
        (Piece(()), None, "a piece with notes, got none"),
    ],
)
def test_primers_that_cannot_be(composer: Composer, primer: Piece, steps: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        composer.continue_(primer, steps=steps)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"relations": {"distance": {"size": 8, "far": "zero"}}},
        {"pattern": {"kind": "local_1d", "query": 16, "memory": 16}},
        {
            "input": "tokens",
            "head": "tied",
            "relations": {"distance": {"size": 8}, "pitch": {"size": 46}, "time": {"size": 3, "unit": 4}},
            "positions": {"kind": "none", "grid": [4]},
        },
        {**NOTES, "relations": {}, "positions": "concatenated"},
    ],
    ids=["preset", "zero", "local", "pitch and time", "concatenated"],
)
def test_longer_than_any_piece_of_the_training(changes: dict[str, Any], tmp_path: Path) -> None:
    for task in ("compose", "infill"):
        model = make(task, **changes)
        recipe = Recipe(epochs=1, tokens_per_batch=64, dtype="float32", warmup=1)
        model.fit([grid_of(0, 16)], held_out=[grid_of(1, 8)], recipe=recipe, out=tmp_path / task, quiet=True)
        if task == "compose":
            piece = model.compose(steps=40, sampling=GREEDY)
        else:
            piece = to_piece(model.fill(np.full((40, 4), UNKNOWN), sampling=GREEDY))
        assert piece.length == 40 and in_ranges(piece)
        assert np.isfinite(model.evaluate([grid_of(2, 40)]).nll)


ORDERS = [VOICES[::-1], ("bass", "soprano", "alto", "tenor"), ("tenor", "alto", "bass", "soprano")]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("changes", [{}, NOTES], ids=["four voices a position", "a note a position"])
def test_voices_in_another_order(order: tuple[str, ...], changes: dict[str, Any], tmp_path: Path) -> None:
    composer, filler = (make(task, order=order, **changes) for task in ("compose", "infill"))
    recipe = Recipe(epochs=1, tokens_per_batch=64, dtype="float32", warmup=1)
    for untrained in (composer, filler):
        task = untrained.task
        data: dict[str, Any] = {
            "held_out": [grid_of(1, 8)],
            "recipe": recipe,
            "out": tmp_path / task,
            "quiet": True,
        }
        untrained.fit([grid_of(0, 16)], **data)
        model = Composer.load(tmp_path / task, device="cpu")
        assert model.codec.order == order
        per_voice = model.evaluate([grid_of(2, 8)]).per_voice
        assert list(per_voice) == list(VOICES if task == "compose" else VOICES[1:])
    grid = grid_of(3, 8)
    piece = composer.compose(seed=1, steps=16, sampling=WILD)
    assert in_ranges(piece) and sorted(composer.stream(seed=1, steps=16, sampling=WILD)) == list(piece.notes)
    whole = composer.continue_(to_piece(grid), steps=12)
    np.testing.assert_array_equal(from_piece(whole)[0][:8], grid)
    holed = grid.copy()
    holed[2:6, 1:3] = UNKNOWN
    filled = filler.fill(holed)
    np.testing.assert_array_equal(filled[holed != UNKNOWN], grid[holed != UNKNOWN])
    assert (filled != UNKNOWN).all() and in_ranges(to_piece(filled[2:6]))
    tune = [Note(0, 4, 67), Note(4, 8, 72)]
    for voice in VOICES:
        arcs = arcs_of(composer, to_piece(grid), step=6, voice=voice, warn=print)
        assert arcs.pitches[arcs.chosen] == grid[5, VOICES.index(voice)]
    harmony = filler.harmonize(Piece(tuple(tune)))
    assert [note for note in harmony.notes if note.voice == 0] == tune and in_ranges(harmony)
    assert len({note.voice for note in harmony.notes}) == 4


def test_a_model_is_given_another_order(composer: Composer) -> None:
    """What it reads of past moments is what it read before: it looks at them as it did."""
    grid, order = grid_of(5, 9), ("bass", "tenor", "soprano", "alto")
    turned = composer.with_order(order)
    assert turned.codec.order == order and turned.with_order(VOICES).evaluate([grid]) == composer.evaluate([grid])
    for one, other in zip(composer.attention(grid), turned.attention(grid), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    with pytest.raises(UserError, match="expected a model with several tokens at a position"):
        make(**NOTES).with_order(order)


# -- filling in -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), st.integers(1, 16), st.floats(0, 1))
def test_what_is_known_stays_and_what_is_not_is_found(seed: int, steps: int, share: float) -> None:
    filler = make("infill")
    grid = grid_of(seed, steps)
    unknown = np.random.default_rng(seed).random(grid.shape) < share
    holed = np.where(unknown, UNKNOWN, grid)
    filled = filler.fill(holed, seed=seed)
    np.testing.assert_array_equal(filled[~unknown], grid[~unknown])
    for voice, (low, high) in enumerate(RANGES):
        found = filled[:, voice][unknown[:, voice]]
        assert ((found == SILENT) | ((found >= low) & (found <= high))).all()
    np.testing.assert_array_equal(holed == UNKNOWN, unknown, "the grid that was given is left alone")
    np.testing.assert_array_equal(filler.fill(holed, seed=seed), filled)


def test_a_melody_stays_as_it_is(filler: Composer) -> None:
    # Repeated notes, a rest, and an accompaniment that is not to be kept.
    tune = [Note(0, 2, 67), Note(2, 4, 67), Note(4, 6, 72), Note(10, 12, 71), Note(12, 13, 71)]
    piece = Piece((*tune, Note(0, 6, 40)), tempo=66.0)
    found = filler.harmonize(piece, seed=1)
    assert [note for note in found.notes if note.voice == 0] == tune
    assert {note.voice for note in found.notes} == {0, 1, 2, 3}
    assert found.tempo == 66.0 and found.length == 13 and in_ranges(found)
    assert found != filler.harmonize(piece, seed=2)


BARS = [
    # steps, pickup of the piece, first, last: the steps that are written anew
    (32, 0, None, None, (0, 32)),
    (32, 0, 1, 1, (0, 16)),
    (32, 0, 2, 2, (16, 32)),
    (32, 0, 2, None, (16, 32)),
    (30, 0, 2, 2, (16, 30)),
    (20, 4, None, None, (0, 20)),
    (20, 4, 0, 0, (0, 4)),
    (20, 4, 1, 1, (4, 20)),
    (20, 4, None, 0, (0, 4)),
    (30, 6, 1, 1, (6, 22)),
    (30, 6, 0, 1, (0, 22)),
    (30, 22, 2, 2, (22, 30)),  # a pickup of more than a bar has the same bar lines
]


@pytest.mark.parametrize(("steps", "pickup", "first", "last", "anew"), BARS)
def test_bars_are_those_of_the_score(
    filler: Composer,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    pickup: int,
    first: int | None,
    last: int | None,
    anew: tuple[int, int],
) -> None:
    asked = []

    def fill(_: ChoraleSampler, grid: Grid, *__: object, **___: object) -> Grid:
        asked.append(grid[early:])
        return np.where(grid < 0, SILENT, grid)

    monkeypatch.setattr(ChoraleSampler, "fill", fill)
    early = -pickup % 4  # moments before the first note in its quarter
    grid = grid_of(0, steps)
    piece = to_piece(grid, pickup=pickup)
    found = filler.infill(piece, ["alto", "bass"], first=first, last=last)
    reference = grid.copy()
    reference[slice(*anew), [1, 3]] = UNKNOWN
    np.testing.assert_array_equal(asked[0], reference)
    assert found.bars.pickup == pickup % 16


def test_voices_that_a_piece_has_not_are_imagined(filler: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no rests to the model, and nothing of them is written where they are not asked for."""
    asked = []

    def fill(_: ChoraleSampler, grid: Grid, *__: object, **___: object) -> Grid:
        asked.append(grid)
        return np.where(grid < 0, 55, grid)

    monkeypatch.setattr(ChoraleSampler, "fill", fill)
    grid = grid_of(0, 48)
    grid[:, 0], grid[:, 1:] = 72, SILENT
    found = filler.infill(to_piece(grid, pickup=0), ["bass"], first=2, last=2)
    assert (asked[0][:, 1:] == UNKNOWN).all() and (asked[0][:, 0] == 72).all()
    assert [(note.start, note.end, note.voice) for note in found.notes] == [(0, 48, 0), (16, 32, 3)]


def test_other_voices_stay_as_they_are(filler: Composer, tmp_path: Path) -> None:
    grid = grid_of(4, 32)
    piece = to_piece(grid, 70.0, struck=np.random.default_rng(0).random(grid.shape) < 0.3)
    found = filler.infill(piece, ["tenor"], first=2, last=2, seed=1)
    assert [note for note in found.notes if note.voice != 2] == [note for note in piece.notes if note.voice != 2]
    assert found != piece and (found.tempo, found.length) == (70.0, 32)
    early = [note for note in piece.notes if note.voice == 2 and note.end < 16]
    assert [note for note in found.notes if note.voice == 2 and note.end < 16] == early
    save_music(piece, tmp_path / "piece.mid")
    assert filler.infill(tmp_path / "piece.mid", ["tenor"], first=2, last=2, seed=1).notes == found.notes


@pytest.mark.parametrize(
    ("voices", "first", "last", "message"),
    [
        (["descant"], None, None, "a voice of soprano, alto, tenor, bass, got 'descant'"),
        (["alto"], 0, None, "expected bars from 1 to 2, the first not after the last, got 0 to 2"),
        (["alto"], 2, 1, "got 2 to 1"),
        (["alto"], 1, 3, "got 1 to 3"),
        (["alto"], -1, None, "got -1 to 2"),
    ],
)
def test_places_that_are_not_there(
    filler: Composer, voices: list[str], first: int | None, last: int | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        filler.infill(to_piece(grid_of(0, 32)), voices, first=first, last=last)


def test_grids_that_cannot_be_filled(filler: Composer) -> None:
    for grid, message in (
        (np.full((8193, 4), UNKNOWN), "at most 8,192 sixteenths, got 8,193"),
        (np.full((1, 4), 90), r"got F#6 \(90\)"),
        (np.full((1, 4), -3), "got -3"),
        (np.empty((0, 4), np.int64), r"got int64 \[0, 4\]"),
    ):
        with pytest.raises(UserError, match=message):
            filler.fill(grid)


# -- models -----------------------------------------------------------------------------------------------------------

PIECE = to_piece(grid_of(0, 8))
WRONG: list[tuple[str, Callable[[Composer], object], str]] = [
    ("infill", lambda model: model.compose(), "a decoder alone for composing and continuing"),
    ("infill", lambda model: model.continue_(PIECE), "a decoder alone for composing and continuing"),
    ("infill", lambda model: next(model.stream()), "use --model chorales$"),
    ("compose", lambda model: model.harmonize(PIECE), "an encoder-decoder trained on pieces with holes"),
    ("compose", lambda model: model.infill(PIECE, ["alto"]), "use --model chorales-infill$"),
]


@pytest.mark.parametrize(("task", "use", "message"), WRONG)
def test_a_model_of_the_other_kind(task: str, use: Callable[[Composer], object], message: str) -> None:
    model = make(task)
    assert model.task == task
    with pytest.raises(UserError, match=message) as caught:
        use(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("compose", {"preset": "huge"}, r"expected preset to be one of .*tiny.*, got 'huge'"),
        ("compose", {"preset": ["tiny"]}, r"expected preset to be one of .*, got \['tiny'\]"),
        ("compose", {"vocabulary": 100}, "expected no vocabulary, got 100"),
        ("infill", {"source_vocabulary": 100}, "expected no source_vocabulary, got 100"),
        ("compose", {"encoder_layers": 1}, "encoder_layers 0 for the task compose, got 1"),
        ("infill", {"encoder_layers": 0}, "encoder_layers from 1 for the task infill, got 0"),
        ("compose", {"classes": 3}, "expected classes=26 .* or 0, got 3"),
        ("compose", {"width": 15}, "divisible by heads"),
        ("compose", {"widht": 16}, "did you mean 'width'"),
    ],
)
def test_shapes_that_cannot_be(task: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Composer.new(**{"task": task, "preset": "tiny", "device": "cpu", **changes})
    assert "\n" not in str(caught.value)


def test_an_encoder_is_as_deep_as_the_decoder() -> None:
    assert make("infill", decoder_layers=3).config.encoder_layers == 3
    assert make("infill", decoder_layers=3, encoder_layers=2).config.encoder_layers == 2
    assert Composer.new(preset="small", device="cpu", seed=2).config.decoder_layers == 6


@pytest.mark.parametrize("task", ["compose", "infill"])
def test_saved_and_loaded(task: str, tmp_path: Path) -> None:
    model = make(task, seed=7)
    model.save(tmp_path / "model", domain="chorales")
    loaded = Composer.load(tmp_path / "model", device="cpu")
    assert loaded.card["domain"] == "chorales" and loaded.task == task
    if task == "compose":
        assert loaded.compose(seed=1, steps=8) == model.compose(seed=1, steps=8) != make().compose(seed=1, steps=8)
    else:
        assert loaded.harmonize(PIECE, seed=1) == model.harmonize(PIECE, seed=1)
    loaded.save(tmp_path / "again", dtype="float16")
    again = Composer.load(tmp_path / "again", device="cpu")
    assert again.card["domain"] == "chorales" and again.card["name"] == "again"
    half, whole = again.module().head.output.weight, model.module().head.output.weight
    torch.testing.assert_close(half, whole, rtol=1e-3, atol=1e-3)


def test_folders_of_other_models(composer: Composer, tmp_path: Path) -> None:
    save_transformer(tmp_path / "text", composer.module(), {"text.model": b""}, {})
    with pytest.raises(UserError, match=r"expected a model of chorales, got .*text \(another kind of model\)"):
        Composer.load(tmp_path / "text", device="cpu")
    save_transformer(tmp_path / "other", composer.module(), {"chorale.json": b'{"lowest": 0}'}, {})
    with pytest.raises(UserError, match="a codec of chorales"):
        Composer.load(tmp_path / "other", device="cpu")
    big = make(classes=0).config.to_dict() | {"vocabulary": 50}
    model = type(composer.module())(type(composer.config).from_dict(big))
    with pytest.raises(UserError, match=r"a model of 48 notes \(source: None\), got 50"):
        Composer(Trained(model, {FILE: ChoraleCodec().to_bytes()}))


@pytest.mark.parametrize("task", ["compose", "infill"])
def test_training(task: str, tmp_path: Path) -> None:
    grids = [grid_of(seed, 8) for seed in range(10)]
    model = make(task, dropout=0.0)
    before = model.evaluate(grids[9:])
    recipe = Recipe(
        epochs=15,
        tokens_per_batch=64,
        learning_rate=0.01,
        warmup=2,
        dtype="float32",
        label_smoothing=0,
        evaluations=0.2,
    )
    still = Augmentation(transpose=False, label=False)
    outcome = model.fit(
        [*grids[:9], grids[0]],
        recipe=recipe,
        out=tmp_path / "run",
        length=64,
        augmentation=still,
        card={"domain": "noise"},
        quiet=True,
    )
    assert outcome.reason == "finished" and outcome.folder == tmp_path / "run"
    # The tenth piece is held out, here one that is learned as well.
    after = model.evaluate(grids[:1])
    assert after.nll < 0.8 * before.nll
    assert after.tokens == (32 if task == "compose" else 24)
    assert list(after.per_voice) == list(VOICES if task == "compose" else VOICES[1:])
    if task == "compose":
        assert outcome.score is not None and -outcome.score == pytest.approx(after.nll, rel=1e-4)
    known = {name: model.card[name] for name in ("task", "pieces", "crop", "domain")}
    assert known == {"task": task, "pieces": 9, "crop": 64, "domain": "noise"}
    loaded = Composer.load(tmp_path / "run", device="cpu")
    assert loaded.evaluate(grids[:1]) == after
    other = loaded.with_dropout(0.3)
    assert other.config.dropout == 0.3 and other.evaluate(grids[:1]) == after
    # Blocks of two columns that see the six before: of these eight columns, all that came before.
    local = loaded.with_pattern({"kind": "local_1d", "query": 2, "memory": 6})
    assert local.config.pattern == Local1D(2, 6)
    if task == "compose":
        assert local.evaluate(grids[:1]).nll == pytest.approx(after.nll, abs=1e-5)
    with pytest.raises(UserError, match="already holds a run"):
        other.fit(grids, recipe=recipe, out=tmp_path / "run", length=64, quiet=True)


def test_a_composer_is_given_an_encoder_and_fills_in(composer: Composer) -> None:
    filler = composer.with_encoder(1)
    assert (composer.task, filler.task, filler.card["task"]) == ("compose", "infill", "infill")
    trained = Trained(composer.module(), composer.trained.files, {"scores": 1})
    assert "scores" not in Composer(trained).with_encoder(1).card
    with pytest.raises(UserError, match="expected a decoder alone to be given an encoder"):
        filler.with_encoder(1)
    grid = grid_of(3, 8)
    assert list(filler.evaluate([grid]).per_voice) == list(VOICES[1:])
    known = grid.copy()
    known[2:5, 1:] = UNKNOWN
    filled = filler.fill(known, sampling=GREEDY)
    assert (filled[known != UNKNOWN] == grid[known != UNKNOWN]).all() and (filled != UNKNOWN).all()


def test_training_on_too_little(composer: Composer, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, dtype="float32")
    with pytest.raises(UserError, match="expected held-out data"):
        make().fit([grid_of(0, 8)], recipe=recipe, out=tmp_path / "a", quiet=True)
    with pytest.raises(UserError, match="expected training data"):
        make().fit([], held_out=[grid_of(0, 8)], recipe=recipe, out=tmp_path / "b", quiet=True)


@pytest.mark.parametrize("task", ["compose", "infill"])
@pytest.mark.parametrize(("changes", "positions"), [({}, 6), (NOTES, 24)])
def test_attention_of_a_piece(task: str, changes: dict[str, Any], positions: int) -> None:
    one = make(task, **changes)
    maps = one.attention(grid_of(0, 6))
    assert len(maps) == one.config.decoder_layers
    for found in maps:
        assert found.shape == (1, one.config.heads, positions, positions)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
        assert not np.triu(found, 1).any()
    with pytest.raises(UserError, match="at most 512 sixteenths to look at, got 513"):
        one.attention(grid_of(0, 513))


def test_a_model_folder_generates_by_its_plan_unless_torch_is_asked_for(tmp_path: Path) -> None:
    composer = make()
    composer.save(tmp_path / "model")
    kinds: dict[tuple[str, str], type[Any]] = {
        ("auto", "auto"): PlanDecoder,
        ("float32", "auto"): TorchDecoder,
        ("auto", "torch"): TorchDecoder,
        ("auto", "plan"): PlanDecoder,
    }
    for (dtype, engine), kind in kinds.items():
        loaded = Composer.load(tmp_path / "model", dtype=dtype, engine=engine)
        assert isinstance(loaded.trained.decoder(), kind)
        assert loaded.compose(steps=8, seed=3) == composer.compose(steps=8, seed=3)
    assert type(composer.trained.decoder()) is TorchDecoder
    by_plan, by_torch = (
        Composer.load(tmp_path / "model", engine=engine).evaluate([grid_of(3, 40)]).nll for engine in ("plan", "torch")
    )
    assert by_plan == pytest.approx(by_torch, abs=1e-5)


def test_positions_that_end_are_refused_and_so_are_labels_never_learned() -> None:
    with pytest.raises(UserError, match="positions without an end, got learned ones"):
        make(positions={"kind": "learned"})
    plain = make()
    plain.card["labelled"] = False
    with pytest.raises(UserError, match="a model with labels for --label major, got one without"):
        plain.compose(label="major", steps=4)


def test_an_infilling_model_knows_where_it_is() -> None:
    assert make("infill").config.aligned
