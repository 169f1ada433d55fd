from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.music.files.midi import midi_bytes
from triptych.music.performances.codec import END, KEYS, TIME_SHIFT, VELOCITY, PerformanceCodec, onsets, shifts
from triptych.music.performances.data import PerformanceAugmentation, PerformanceData, held_out_windows
from triptych.music.performances.melody import MelodyCodec
from triptych.music.performances.shards import Shards, prepare
from triptych.music.piece.performance import Performance, transposed, transpositions
from triptych.shape.config import Config
from triptych.train.loop import fit, held_out_loss
from triptych.train.recipe import Recipe

PLAIN = PerformanceAugmentation(0.0, 0, 0.0)
COUNTS = [3, 40, 90, 150, 30, 60]  # notes


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Six pieces for training by two composers, and two held out."""
    path = tmp_path_factory.mktemp("music")
    lines = ["file,composer,split"]
    for number, count in enumerate([*COUNTS, 100, 7]):
        random = np.random.default_rng(number)
        start = np.cumsum(random.choice([0.0, 0.05, 0.3], count))
        end = start + random.uniform(0.02, 2, count)
        pitch = random.integers(40, 80, count) if number == 0 else random.integers(21, 109, count)
        (path / f"{number}.mid").write_bytes(
            midi_bytes(Performance.of(start, end, pitch, random.integers(1, 128, count)).to_piece())
        )
        lines.append(f"{number}.mid,{('Bach', 'Chopin')[number % 2]},{'train' if number < 6 else 'valid'}")
    (path / "index.csv").write_text("\n".join(lines))
    return prepare(path, path / "out", index=path / "index.csv", melody=True)[0]


def data(shards: Shards, **settings: object) -> PerformanceData:
    return PerformanceData(
        shards, PerformanceCodec(shards.labels), **({"length": 64, "tokens_per_batch": 256} | settings)
    )  # type: ignore[arg-type]


def rows(batches: Sequence[Batch]) -> list[tuple[list[int], int]]:
    """Ids and label of every example."""
    found = []
    for batch in batches:
        assert batch.label is not None and batch.target.dtype == torch.int64
        for ids, length, label in zip(batch.target.tolist(), batch.lengths.tolist(), batch.label.tolist(), strict=True):
            assert not any(ids[length:])
            found.append((ids[:length], label))
    return found


def wholes(shards: Shards, split: str = "train") -> list[list[int]]:
    codec = PerformanceCodec()
    return [[*codec.encode(shards.performance(entry)).tolist(), END] for entry in shards.of_split(split)]


def places(crop: list[int], whole: list[int]) -> list[int]:
    """Where the crop stands in the whole."""
    size = len(crop)
    return [place for place in range(len(whole) - size + 1) if whole[place : place + size] == crop]


def test_crops_stand_in_their_pieces_and_cover_their_ends(shards: Shards) -> None:
    pieces = wholes(shards)
    seen: dict[int, set[int]] = {number: set() for number in range(len(pieces))}
    for epoch in range(3):
        crops = rows(data(shards, augmentation=PLAIN).epoch(epoch))
        counted = dict.fromkeys(seen, 0)
        for crop, label in crops:
            (piece,) = [number for number, whole in enumerate(pieces) if places(crop, whole)]
            assert label == piece % 2
            counted[piece] += 1
            seen[piece] |= set(places(crop, pieces[piece]))
            assert 1 < len(crop) <= 64
            if len(crop) < 64:
                assert crop[-1] == END
            begin = places(crop, pieces[piece])[0]
            assert begin == 0 or crop[-1] == END or TIME_SHIFT <= pieces[piece][begin - 1] < VELOCITY, "after a moment"
        assert counted == {number: -(-len(whole) // 64) for number, whole in enumerate(pieces)}
    for number, whole in enumerate(pieces):
        assert {0, max(0, len(whole) - 64)} <= seen[number], "beginning and end are in every epoch"
        assert len(whole) < 300 or len(seen[number]) > 4


def test_an_epoch_is_a_function_of_seed_and_number(shards: Shards) -> None:
    one = data(shards)
    first = rows(one.epoch(0))
    rows(one.epoch(5))
    assert rows(one.epoch(0)) == first == rows(data(shards).epoch(0))
    assert rows(data(shards, seed=2).epoch(0)) != first != rows(one.epoch(1))
    assert len(one) == 6 and len(one.epoch(0)) == len(one.epoch(1))
    for batch in one.epoch(0):
        assert batch.target.numel() <= 256 * 1.1 and batch.context is None
    backwards = [one.epoch(0)[place] for place in reversed(range(len(one.epoch(0))))]
    assert rows(backwards[::-1]) == first


def test_stretch_and_transposition(shards: Shards) -> None:
    codec = PerformanceCodec()
    only = data(shards, augmentation=PerformanceAugmentation(0.05, 3, 0.0), length=4096, tokens_per_batch=4096)
    original = {len(shards.performance(entry)): shards.performance(entry) for entry in shards.of_split("train")}
    factors, moves = [], []
    for epoch in range(20):
        for ids, _ in rows(only.epoch(epoch)):
            found = codec.decode(ids)
            piece = original[len(found)]
            factors.append(found.seconds / piece.seconds)
            assert 0.945 <= factors[-1] <= 1.055
            np.testing.assert_allclose(found.notes["start"], factors[-1] * piece.notes["start"], atol=0.03)
            move = int(found.notes["pitch"].min() - piece.notes["pitch"].min())
            assert move in transpositions(piece)
            assert sorted(found.notes["pitch"]) == sorted(transposed(piece, move).notes["pitch"])
            if len(piece) == COUNTS[0]:
                moves.append(move)
    assert set(moves) == set(range(-3, 4))
    assert min(factors) < 0.96 and max(factors) > 1.04


def test_labels_are_those_of_the_codec_and_hidden_sometimes(shards: Shards) -> None:
    assert {label for _, label in rows(data(shards, augmentation=PLAIN).epoch(0))} == {0, 1}
    hidden = [label == -1 for epoch in range(20) for _, label in rows(data(shards).epoch(epoch))]
    assert 0.05 < np.mean(hidden) < 0.15
    # a model that was trained with other labels keeps them
    other = PerformanceData(shards, PerformanceCodec(("Liszt", "Chopin")), length=64, augmentation=PLAIN)
    assert {label for _, label in rows(other.epoch(0))} == {1, -1}
    assert {label for _, label in rows(PerformanceData(shards, PerformanceCodec(), length=64).epoch(0))} == {-1}


@pytest.mark.parametrize("context", [None, 0, 1, 17, 63])
def test_windows_count_every_token_once(shards: Shards, context: int | None) -> None:
    found: list[int] = []
    for batch in held_out_windows(shards, PerformanceCodec(), length=64, context=context, tokens_per_batch=256):
        assert batch.target.size(1) <= 64 and batch.target.numel() <= 256
        assert batch.label is not None and batch.context is not None and (batch.label == -1).all()
        for ids, counted, begin in zip(batch.target, batch.counted(), batch.context.tolist(), strict=True):
            assert begin in (0, 32 if context is None else context)
            if begin:
                assert ids[:begin].tolist() == found[-begin:], "the true context"
            found += ids[counted].tolist()
    assert found == [token for whole in wholes(shards, "valid") for token in whole[:-1]]


def test_sources_are_the_melodies_of_the_crops(shards: Shards) -> None:
    seen = 0
    for batch in data(shards, task="accompany").epoch(0):
        assert batch.source is not None and batch.source_lengths is not None
        for ids, length, source, steps in zip(
            batch.target, batch.lengths, batch.source, batch.source_lengths, strict=True
        ):
            crop = ids[:length].numpy()
            assert steps == max(1, -(-int(shifts(crop).sum()) // 10)), "as long as the crop"
            struck = {(key, tenth) for step, key in onsets(PerformanceCodec().decode(crop)) for tenth in
                      (step // 10, step // 10 + 1)}  # fmt: skip
            for tenth, key in enumerate(source[: steps - 1].tolist()):
                if key < KEYS:
                    seen += 1
                    assert (key, tenth) in struck
    assert seen > 30


@pytest.mark.parametrize("context", [None, 0])
def test_windows_have_their_melodies(shards: Shards, context: int | None) -> None:
    for batch in held_out_windows(shards, PerformanceCodec(), task="accompany", length=64, context=context):
        assert batch.source is not None and batch.source_lengths is not None
        for ids, length, steps in zip(batch.target, batch.lengths, batch.source_lengths, strict=True):
            assert steps == max(1, -(-int(shifts(ids[:length].numpy()).sum()) // 10))
    codec = PerformanceCodec()
    (whole,) = [
        batch for batch in held_out_windows(shards, codec, task="accompany", length=4096, tokens_per_batch=1)
        if batch.target.size(1) > 100
    ]  # fmt: skip
    (entry,) = [entry for entry in shards.of_split("valid") if entry.tokens > 100]
    melody = MelodyCodec().encode(shards.melody(entry)).tolist()
    assert whole.source is not None
    found = whole.source[0].tolist()
    assert found[: len(melody) - 1] == melody[: len(found)][: len(melody) - 1]


def test_some_held_out_pieces(shards: Shards) -> None:
    codec = PerformanceCodec()
    tokens = [len(whole) - 1 for whole in wholes(shards)]
    for most, expected in [(1, tokens[:1]), (2, [tokens[0], tokens[-1]]), (3, None), (9, tokens)]:
        found = held_out_windows(shards, codec, "train", length=64, most=most)
        if expected is not None:
            assert sum(batch.tokens for batch in found) == sum(expected)
    with pytest.raises(UserError, match="expected a context from 0 to below the length 64, got 64"):
        held_out_windows(shards, codec, length=64, context=64)
    with pytest.raises(UserError, match="got none; its splits"):
        held_out_windows(shards, codec, "test")


def test_settings_that_cannot_be(shards: Shards) -> None:
    with pytest.raises(UserError, match="from 2 tokens, got 1"):
        data(shards, length=1)
    stretch = "expected data.stretch of 0 to below 1"
    for wrong, message in (
        ((-0.1, 3, 0.1), stretch),
        ((1.0, 3, 0.1), stretch),
        ((0.1, -1, 0.1), "expected data.semitones of at least 0"),
        ((0.1, 3, 1.1), "expected data.unlabelled of 0 to 1"),
    ):
        with pytest.raises(UserError, match=message):
            PerformanceAugmentation(*wrong)


def test_a_model_learns_from_them(shards: Shards, tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = PerformanceCodec(shards.labels)
    model = Transformer(
        Config(vocabulary=codec.vocabulary, width=32, heads=2, encoder_layers=0, decoder_layers=1, classes=2)
    )
    held_out = held_out_windows(shards, codec, length=64)
    before = held_out_loss(model, held_out)
    recipe = Recipe(epochs=2, learning_rate=0.01, warmup=2, dtype="float32", average_last=2)
    fit(model, data(shards), held_out, recipe, tmp_path, quiet=True)
    assert held_out_loss(model, held_out) < before - 0.2
