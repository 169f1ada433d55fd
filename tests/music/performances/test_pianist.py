from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.generation.sampling import Sampling
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.model.weights import save_transformer
from triptych.music.files.midi import midi_bytes
from triptych.music.files.save import save_music
from triptych.music.performances import pianist as module
from triptych.music.performances.codec import (
    END,
    FILE,
    NOTE_OFF,
    STEPS,
    TIME_SHIFT,
    VELOCITY,
    PerformanceCodec,
    on_grid,
    onsets,
    shifts,
)
from triptych.music.performances.grammar import PerformanceGrammar
from triptych.music.performances.pianist import MAX_TOKENS, Pianist
from triptych.music.performances.shards import Shards, prepare
from triptych.music.piece.performance import Performance, from_piece
from triptych.music.piece.piece import Piece
from triptych.shape.config import Config
from triptych.shape.parts import Tokens
from triptych.shape.settings import presets
from triptych.train.recipe import Recipe
from triptych.trained import Trained

SHAPE = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
LABELS = ("Bach", "Chopin")
CODEC = PerformanceCodec()
WILD = Sampling(temperature=9)
NOTES = st.tuples(st.integers(0, 500), st.integers(1, 250), st.integers(21, 108), st.integers(1, 127))


def make(task: str = "compose", labels: tuple[str, ...] = LABELS, **changes: Any) -> Pianist:
    return Pianist.new(labels, task=task, preset="tiny", device="cpu", **{**SHAPE, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pianist() -> Pianist:
    return make()


def played(notes: list[tuple[int, int, int, int]]) -> Performance:
    start, steps, pitch, velocity = np.array(notes).T
    return Performance.of(start / STEPS, (start + steps) / STEPS, pitch, velocity)


def random_notes(seed: int, count: int) -> Performance:
    random = np.random.default_rng(seed)
    start = np.cumsum(random.integers(0, 30, count))
    rows = np.stack(
        [start, random.integers(1, 90, count), random.integers(30, 90, count), random.integers(1, 128, count)], 1
    )
    return played([tuple(row) for row in rows.tolist()])


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Four pieces for training by two composers, and two held out, with their melodies."""
    path = tmp_path_factory.mktemp("music")
    lines = ["file,composer,split"]
    for number, count in enumerate([20, 40, 60, 30, 12, 25]):
        (path / f"{number}.mid").write_bytes(midi_bytes(random_notes(number, count).to_piece()))
        lines.append(f"{number}.mid,{LABELS[number % 2]},{'train' if number < 4 else 'valid'}")
    (path / "index.csv").write_text("\n".join(lines))
    return prepare(path, path / "out", index=path / "index.csv", melody=True)[0]


# -- composing --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**64 - 1), st.sampled_from([None, "bach", "Chopin"]), st.sampled_from([0.5, 3.0, 7.31]))
def test_a_piece(seed: int, label: str | None, seconds: float) -> None:
    pianist = make()
    asked: dict[str, Any] = {"label": label, "seconds": seconds, "sampling": WILD}
    piece = pianist.compose(seed=seed, **asked)
    assert piece == pianist.compose(seed=seed, **asked), "one seed, one result"
    assert piece != pianist.compose(seed=seed ^ 1, **asked) or seconds < 1
    assert piece.voices == ("piano",) and piece.seconds <= seconds + 1e-9
    assert piece.notes or seconds < 1, "one that knows nothing may begin with a second of silence"
    assert sorted(pianist.stream(seed=seed, **asked)) == list(piece.notes)


def test_a_label_changes_the_piece(pianist: Pianist) -> None:
    assert len({pianist.compose(seed=0, tokens=60, label=label) for label in (None, *LABELS)}) == 3
    with pytest.raises(UserError, match="expected a label of the model, got 'Liszt'; its labels: Bach, Chopin"):
        pianist.compose(label="Liszt", tokens=4)
    with pytest.raises(UserError, match="its labels: none"):
        make(labels=()).compose(label="Bach", tokens=4)
    assert make(labels=()).compose(tokens=60).notes


def test_seconds_end_the_music_and_release_what_sounds(pianist: Pianist) -> None:
    events = list(pianist._events(module._NOTHING, None, 2.5, None, WILD, 3))
    assert shifts(np.array(events)).sum() == 250, "to the step"
    notes = pianist.codec.decode(events).notes
    assert notes["end"].max() == 2.5


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_nothing_is_against_the_grammar(seed: int, tokens: int) -> None:
    pianist = make()
    events = list(pianist._events(module._NOTHING, None, None, 4 * tokens, WILD, seed))
    assert len(events) == 4 * tokens
    grammar = PerformanceGrammar(end=False)
    for place, token in enumerate(events):
        assert grammar(np.array([events[:place]], dtype=np.int64))[0, token]


def test_music_ends_by_itself_or_is_cut(pianist: Pianist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USUAL_TOKENS", 30)
    cut = list(pianist._events(module._NOTHING, None, None, None, WILD, 0))
    assert len(cut) <= 30 and END not in cut
    heard: dict[str, Any] = {}

    def ending(*_: object, **settings: Any) -> Iterator[Any]:
        heard.update(settings)
        yield from np.array([[VELOCITY], [40], [TIME_SHIFT], [NOTE_OFF + 40], [END], [END]])

    monkeypatch.setattr(module, "generate", ending)
    assert len(pianist.compose().notes) == 1
    assert list(pianist._events(module._NOTHING, None, None, None, WILD, 0))[-1] == NOTE_OFF + 40
    over = np.array([[VELOCITY, 40, TIME_SHIFT, NOTE_OFF + 40]])
    assert heard["end"] == END and heard["allow"](over)[0, END]
    pianist.compose(seconds=3)
    assert not heard["allow"](over)[0, END], "with a length it does not end before"


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ({"seconds": 0.0}, "expected 0.01 to 873 seconds, got 0"),
        ({"seconds": -1.0}, "got -1"),
        ({"seconds": float("nan")}, "got nan"),
        ({"seconds": 1e6}, "got 1e+06"),
        ({"tokens": 0}, "expected 1 to 131,072 tokens, got 0"),
        ({"tokens": MAX_TOKENS + 1}, "got 131,073"),
    ],
)
def test_lengths_that_cannot_be(pianist: Pianist, length: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("+", r"\+")):
        pianist.compose(**length)


@pytest.mark.parametrize("preset", ["relative", "relative-local", "absolute"])
def test_steps_past_the_table_equal_the_whole(preset: str) -> None:
    pattern = {"pattern": {"kind": "local_1d", "query": 8, "memory": 8}} if preset == "relative-local" else {}
    relation = {} if preset == "absolute" else {"relations": {"distance": {"size": 16}}}
    pianist = Pianist.new((), preset=preset, device="cpu", **SHAPE, **relation, **pattern)  # type: ignore[arg-type]
    model = pianist.module().double().eval()
    target = torch.randint(CODEC.vocabulary, (1, 70))
    with torch.no_grad():
        whole = model(target)[0].log_softmax(-1)
    cache = model.start(length=70, rows=1)
    steps = [model.step(None if place == 0 else target[:, place - 1], cache)[0] for place in range(70)]
    torch.testing.assert_close(torch.stack(steps), whole, rtol=1e-9, atol=1e-9)
    assert len(list(pianist._events(module._NOTHING, None, None, 70, WILD, 0))) == 70


def test_the_presets_can_be_built() -> None:
    for preset in presets("triptych.music.performances"):
        for task in ("compose", "accompany"):
            shape = {"width": 16, "feed_forward": 16}
            made = Pianist.new(LABELS, task=task, preset=preset, device="cpu", **shape)  # type: ignore[arg-type]
            assert made.task == task and made.config.classes == 2


# -- continuing -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.lists(NOTES, min_size=1, max_size=25), st.integers(0, 1000), st.sampled_from([0.3, 2.0]))
def test_a_primer_comes_back(rows: list[tuple[int, int, int, int]], seed: int, seconds: float) -> None:
    given_notes = on_grid(played(rows))
    piece = make().continue_(given_notes, seconds=seconds, seed=seed, sampling=WILD)
    found, _ = from_piece(piece)
    join = given_notes.seconds
    assert found.seconds <= join + seconds + 1e-9
    before = found.notes[found.notes["start"] < join - 1e-6]
    assert len(before) == len(given_notes)
    for name in ("start", "pitch", "velocity"):
        np.testing.assert_allclose(before[name], given_notes.notes[name], atol=1e-6)
    over = given_notes.notes["end"] < join - 1e-6
    np.testing.assert_allclose(before["end"][over], given_notes.notes["end"][over], atol=1e-6)
    assert (before["end"][~over] >= join - 1e-6).all(), "what sounds at the join is held"
    new, _ = from_piece(make().continue_(given_notes, seconds=seconds, seed=seed, sampling=WILD, only_new=True))
    added = found.notes[found.notes["start"] >= join - 1e-6]
    assert len(new) == len(added), "what is added alone begins where the primer ended"
    np.testing.assert_allclose(new.notes["start"], added["start"] - join, atol=2e-3)
    np.testing.assert_array_equal(new.notes["pitch"], added["pitch"])


def test_a_key_that_sounds_at_the_join_is_held_without_a_new_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENGTH", 20)  # most of the primer is not read, the key went down in it
    held = [(0, 900, 40, 80), *((100 + 20 * number, 10, 60 + number % 5, 80) for number in range(30))]
    pianist = make()
    given_notes = on_grid(played(held))
    for seed in range(4):
        found, _ = from_piece(pianist.continue_(given_notes, tokens=40, seed=seed, sampling=WILD))
        (note,) = found.notes[(found.notes["pitch"] == 40) & (found.notes["start"] < 9)]
        assert note["start"] == 0 and note["end"] >= 9


def test_a_long_primer_is_read_from_a_moment_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENGTH", 30)
    ids = CODEC.encode(random_notes(0, 60))
    first = module._first_read(ids)
    assert len(ids) - 30 <= first < len(ids) - 15
    assert TIME_SHIFT <= ids[first - 1] < VELOCITY and not TIME_SHIFT <= ids[first] < VELOCITY
    assert module._first_read(ids[1:31]) == 0, "a short one is read as a whole"
    assert module._first_read(np.array([TIME_SHIFT + 99, TIME_SHIFT + 4, VELOCITY, 5])) == 2, "without the silence"
    assert module._first_read(np.arange(NOTE_OFF)) == NOTE_OFF - 30, "without a moment"
    assert module._first_read(np.empty(0, np.int64)) == 0


def test_primers_from_files(pianist: Pianist, tmp_path: Path) -> None:
    save_music(random_notes(1, 10).to_piece(), tmp_path / "primer.mid")
    one = pianist.continue_(tmp_path / "primer.mid", tokens=20, seed=1)
    assert one == pianist.continue_(str(tmp_path / "primer.mid"), tokens=20, seed=1)
    assert one == pianist.continue_(random_notes(1, 10), tokens=20, seed=1)
    with pytest.raises(UserError, match="expected notes on the 88 keys"):
        pianist.continue_(Piece(()), tokens=20)


# -- accompanying -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.lists(NOTES, min_size=1, max_size=12), st.integers(0, 1000), st.sampled_from([1.0, 9.0]))
def test_a_melody_is_in_the_music(rows: list[tuple[int, int, int, int]], seed: int, temperature: float) -> None:
    tune = played(rows)
    reference = onsets(module._melody(tune))
    sampling = Sampling(temperature=temperature)
    found, _ = from_piece(make("accompany").accompany(tune, label="Chopin", seed=seed, sampling=sampling))
    assert set(reference) <= set(onsets(found))
    assert found.seconds <= module._melody(tune).seconds + module.AFTERWARDS + 0.02


def test_the_rest_of_a_melody_is_there_even_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_room", lambda seconds, tokens: 20)
    tune = played([(100 * number, 50, 60 + number, 80) for number in range(30)])
    found, _ = from_piece(make("accompany").accompany(tune))
    assert set(onsets(tune)) <= set(onsets(found))


def test_melodies_from_files(tmp_path: Path) -> None:
    pianist = make("accompany")
    tune = played([(0, 50, 72, 80), (50, 50, 74, 80)])
    save_music(tune.to_piece(), tmp_path / "tune.mid")
    one = pianist.accompany(tmp_path / "tune.mid", seed=1)
    assert one == pianist.accompany(tune.to_piece(), seed=1) == pianist.accompany(tune, seed=1)
    assert one != pianist.accompany(tune, seed=2)
    other = pianist.accompany(played([(0, 50, 72, 80), (50, 50, 76, 80)]), seed=1)
    assert other != one


def test_a_model_of_the_other_kind(pianist: Pianist) -> None:
    tune = played([(0, 50, 72, 80)])
    with pytest.raises(UserError, match="an encoder-decoder trained with melodies for accompanying"):
        pianist.accompany(tune)
    for use in (lambda model: model.compose(tokens=4), lambda model: model.continue_(tune, tokens=4)):
        with pytest.raises(UserError, match="a decoder alone for composing and continuing"):
            use(make("accompany"))


# -- measuring and training -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["compose", "accompany"])
def test_the_measure_is_that_of_whole_pieces(shards: Shards, task: str) -> None:
    pianist = make(task)
    found = pianist.evaluate(shards, length=4096)
    total, tokens = 0.0, 0
    for entry in shards.of_split("valid"):
        ids = CODEC.encode(shards.performance(entry))
        whole = Batch(torch.from_numpy(ids)[None], torch.tensor([len(ids)]), label=torch.tensor([-1]))
        if task == "accompany":
            melody = module.MelodyCodec().encode(shards.melody(entry))
            length = -(-int(shifts(ids).sum()) // 10)
            source = np.append(melody, np.full(max(0, length - len(melody)), module.MelodyCodec.vocabulary - 1))[
                :length
            ]
            whole = Batch(whole.target, whole.lengths, torch.from_numpy(source)[None], torch.tensor([length]))
        with torch.no_grad():
            total += float(pianist.module().eval().nll(whole).sum())
        tokens += len(ids)
    assert found.tokens == tokens and found.pieces == 2
    assert found.nll == pytest.approx(total / tokens, rel=1e-5)
    short = pianist.evaluate(shards, length=32)
    assert short.tokens == tokens
    assert pianist.evaluate(shards, length=32, limit=1).pieces == 1


@pytest.mark.parametrize("task", ["compose", "accompany"])
def test_training_and_going_on(shards: Shards, task: str, tmp_path: Path) -> None:
    recipe = Recipe(epochs=6, tokens_per_batch=128, learning_rate=0.02, warmup=2, dtype="float32", label_smoothing=0)
    asked: dict[str, Any] = {"length": 64, "card": {"domain": "noise"}, "quiet": True}
    model = make(task)
    before = model.evaluate(shards, "train", length=64, context=0).nll
    outcome = model.fit(shards, recipe=recipe, out=tmp_path / "run", **asked)
    assert outcome.reason == "finished"
    assert model.evaluate(shards, "train", length=64, context=0).nll < before - 0.3
    loaded = Pianist.load(tmp_path / "run", device="cpu")
    assert loaded.task == task and loaded.codec.labels == LABELS
    assert {key: loaded.card[key] for key in ("task", "pieces", "crop", "domain")} == {
        "task": task,
        "pieces": 4,
        "crop": 64,
        "domain": "noise",
    }
    assert outcome.score == pytest.approx(-loaded.evaluate(shards, length=64, context=0).nll, rel=1e-4)
    # a run that is resumed at its end is over, and with other data it is refused
    again = make(task).fit(shards, recipe=recipe, out=tmp_path / "run", resume=True, **asked)
    assert again.updates == outcome.updates
    with pytest.raises(UserError, match="keeps its data and card: held_out was None, got 1"):
        make(task).fit(shards, recipe=recipe, out=tmp_path / "run", resume=True, limit=1, **asked)
    tune = played([(0, 50, 72, 80)])
    piece = loaded.compose(tokens=50) if task == "compose" else loaded.accompany(tune)
    assert piece.notes


def test_melodies_must_have_been_kept(tmp_path: Path) -> None:
    for number in range(10):
        save_music(random_notes(number, 10).to_piece(), tmp_path / "music" / f"{number}.mid")
    bare, _ = prepare(tmp_path / "music", tmp_path / "out")
    recipe = Recipe(epochs=1)
    with pytest.raises(
        UserError, match=r"prepared with its melodies, got '0\.mid' without; prepare it anew with --melody"
    ):
        make("accompany", ()).fit(bare, recipe=recipe, out=tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="with its melodies"):
        make("accompany", ()).evaluate(bare)


# -- files ------------------------------------------------------------------------------------------------------------


def test_saved_and_loaded(pianist: Pianist, tmp_path: Path) -> None:
    pianist.save(tmp_path / "model", domain="noise")
    loaded = Pianist.load(tmp_path / "model", device="cpu")
    assert loaded.card["domain"] == "noise" and loaded.codec.labels == LABELS
    assert loaded.compose(tokens=40, seed=1) == pianist.compose(tokens=40, seed=1)
    exact = Pianist.load(tmp_path / "model", device="cpu", dtype="float64")
    assert exact.module().dtype == torch.float64 and exact.compose(tokens=40).notes
    assert loaded.with_dropout(0.3).config.dropout == 0.3
    # A window wider than the piece shows all of it.
    local = exact.with_pattern({"kind": "local_1d", "query": 16, "memory": 64})
    assert local.compose(tokens=40, seed=1) == exact.compose(tokens=40, seed=1)
    with pytest.raises(UserError, match=r"expected pattern.query with pattern local_1d, got none; it needs query"):
        loaded.with_pattern({"kind": "local_1d"})
    # A keyboard says nothing before it has been learned.
    extended = exact.with_keyboard()
    assert extended.config.input == Tokens((88, 100, 32))
    assert extended.compose(tokens=40, seed=1) == exact.compose(tokens=40, seed=1)
    save_transformer(tmp_path / "other", pianist.module(), {"codec.json": b"{}"}, {})
    with pytest.raises(UserError, match=r"expected a model of piano performances, got .*another kind"):
        Pianist.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("compose", {"preset": "huge"}, "expected preset to be one of relative"),
        ("compose", {"vocabulary": 9}, "expected no vocabulary, got 9"),
        ("compose", {"classes": 9}, "expected no classes, got 9"),
        ("compose", {"encoder_layers": 1}, "expected encoder_layers 0 for the task compose, got 1"),
        ("accompany", {"encoder_layers": 0}, "expected encoder_layers from 1 for the task accompany, got 0"),
        (
            "compose",
            {"input": {"kind": "tokens", "keyboard": [9, 9, 9]}},
            r"expected input.keyboard=\[88, 100, 32\] for performances, got \[9, 9, 9\]",
        ),
        ("compose", {"positions": "learned"}, "expected positions without an end, got learned ones"),
    ],
)
def test_shapes_that_cannot_be(task: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pianist.new(LABELS, task=task, **{"preset": "tiny", **changes})


def test_model_and_codec_count_the_same(pianist: Pianist) -> None:
    with pytest.raises(UserError, match="expected classes=0, one a label, got 2"):
        Pianist(Trained(pianist.module(), {FILE: PerformanceCodec().to_bytes()}))
    with pytest.raises(UserError, match="expected a model of 309 events"):
        model = Transformer(Config(17, width=16, heads=2, feed_forward=16, encoder_layers=0))
        Pianist(Trained(model, {FILE: PerformanceCodec(LABELS).to_bytes()}))


def test_a_stream_is_in_the_order_of_ends(pianist: Pianist) -> None:
    ends = [note.end for note in pianist.stream(seconds=4, seed=2, sampling=WILD)]
    assert len(ends) > 3 and all(one <= two for one, two in pairwise(ends))
