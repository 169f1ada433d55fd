from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.music.chorales.augmentation import Augmentation
from triptych.music.chorales.codec import END, HOLE, RANGES, REST, ChoraleCodec, Grid
from triptych.music.chorales.data import ChoraleData, Distillation, interpolated, moved_pitches
from triptych.music.chorales.distillation import OTHERS, SPANS, distilled, distilled_to_infill
from triptych.music.chorales.labels import label_of
from triptych.music.chorales.score import ensemble_probabilities
from triptych.music.piece.key import key_of

CODEC = ChoraleCodec()
ModelOf = Callable[..., Transformer]


def grid_of(seed: int, steps: int) -> Grid:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(low, high + 1, steps) for low, high in RANGES], 1)


GRIDS = [grid_of(number, 8) for number in range(4)]
MADE = [grid_of(number, 8) for number in range(10, 13)]


Taught = Callable[..., Distillation]


@pytest.fixture
def taught(model_of: ModelOf) -> Taught:
    """Soft targets of so many teachers for the pieces, and for some that were composed."""

    def asked(share: float = 0.75, teachers: int = 1, made: Sequence[Grid] = MADE) -> Distillation:
        return distilled([model_of(seed) for seed in range(teachers)], GRIDS, made, share=share)

    return asked


def test_teachers_are_asked_about_every_piece_by_kind_of_label(model_of: ModelOf, taught: Taught) -> None:
    found = taught()
    done_of: list[tuple[int, int]] = []
    distilled([model_of()], GRIDS, MADE, share=0.5, progress=lambda done, total: done_of.append((done, total)))
    assert done_of == [(number, 7) for number in range(1, 8)]
    assert len(found.soft_targets) == 4 and len(found.composed_targets) == 3
    ids, key = np.append(CODEC.encode(GRIDS[1]), END), key_of(GRIDS[1])
    for kind, label in enumerate((-1, label_of(key, mode_only=True), label_of(key))):
        batch = Batch(torch.from_numpy(ids)[None], torch.tensor([33]), label=torch.tensor([label]))
        want = ensemble_probabilities(model_of(), batch)
        want /= want.sum(-1, keepdim=True)
        targets = torch.from_numpy(found.soft_targets[1][kind].astype(np.float64))
        torch.testing.assert_close(targets, want, atol=1e-3, rtol=1e-3)


def test_teachers_may_answer_in_another_dtype(model_of: ModelOf) -> None:
    model = model_of().float()
    exact = distilled([model], GRIDS, [], share=0.5).soft_targets[0][0].astype(np.float64)
    rough = distilled([model], GRIDS, [], share=0.5, dtype=torch.bfloat16).soft_targets[0][0].astype(np.float64)
    assert not np.array_equal(exact, rough)
    np.testing.assert_allclose(rough, exact, atol=5e-3)


def test_several_teachers_speak_by_their_mean(model_of: ModelOf, taught: Taught) -> None:
    one, two = (taught(teachers=count).soft_targets[0][0].astype(np.float64) for count in (1, 2))
    other = distilled([model_of(1)], GRIDS, [], share=0.5).soft_targets[0][0].astype(np.float64)
    assert not np.allclose(one, other, atol=1e-3)
    # the means are renormalised, so they mix nearly, not exactly, by halves
    np.testing.assert_allclose(two, (one + other) / 2, atol=5e-3)


@pytest.mark.parametrize("semitones", [-7, 0, 5])
def test_probabilities_move_with_the_piece(semitones: int) -> None:
    values = torch.rand(3, CODEC.vocabulary)
    moved = moved_pitches(values, semitones)
    for pitch in range(REST):
        inside = 0 <= pitch - semitones < REST
        want = values[:, pitch - semitones] if inside else torch.zeros(3)
        assert torch.equal(moved[:, pitch], want)
    assert torch.equal(moved[:, REST:], values[:, REST:])


def test_a_share_is_the_probabilities_and_the_rest_the_note() -> None:
    targets = np.full((2, CODEC.vocabulary), 1 / CODEC.vocabulary, np.float16)
    found = torch.from_numpy(interpolated(targets, np.array([3, 40]), 2, 0.75))
    torch.testing.assert_close(found.sum(-1), torch.ones(2))
    assert found[0, 3] == pytest.approx(0.25 + 0.75 / 46, rel=1e-3)
    assert found[0, 0] == 0 and found[0, 9] == pytest.approx(0.75 / 46, rel=1e-3)


def test_batches_carry_soft_targets(taught: Taught) -> None:
    found = taught()
    plain = Augmentation(transpose=False, label=False)
    data = ChoraleData(GRIDS, CODEC, tokens_per_batch=100_000, augmentation=plain, distillation=found)
    (batch,) = data.epoch(0)
    assert batch.soft_targets is not None and batch.soft_targets.shape == (*batch.target.shape, CODEC.vocabulary)
    assert len(batch) == 4 + 2  # half as many composed pieces as there are data
    of_data = {tuple(CODEC.encode(grid)): targets[0] for grid, targets in zip(GRIDS, found.soft_targets, strict=True)}
    of_made = {
        tuple(CODEC.encode(grid)): targets[0] for grid, targets in zip(MADE, found.composed_targets, strict=True)
    }
    for target, expected in zip(batch.target, batch.soft_targets, strict=True):
        ids = tuple(target[:-1].tolist())
        targets, share = (of_data[ids], 0.75) if ids in of_data else (of_made[ids], 1.0)
        torch.testing.assert_close(expected, torch.from_numpy(interpolated(targets, target.numpy(), 0, share)))
    assert {tuple(row[:-1].tolist()) for row in batch.target} >= set(of_data)


def test_composed_pieces_are_drawn_anew_and_epochs_can_be_repeated(taught: Taught) -> None:
    data = ChoraleData(GRIDS, CODEC, tokens_per_batch=100_000, distillation=taught())
    first, again = data.epoch(0)[0], data.epoch(0)[0]
    assert torch.equal(first.target, again.target)
    assert (
        first.soft_targets is not None
        and again.soft_targets is not None
        and torch.equal(first.soft_targets, again.soft_targets)
    )
    assert not torch.equal(data.epoch(1)[0].target, first.target)


def test_labels_choose_the_soft_targets(taught: Taught) -> None:
    """Of a labelled crop, the soft targets are those with that kind of label."""
    found = taught(share=1.0, made=[])
    data = ChoraleData(
        GRIDS, CODEC, tokens_per_batch=100_000, augmentation=Augmentation(transpose=False), distillation=found
    )
    seen = set()
    for number in range(6):
        (batch,) = data.epoch(number)
        assert batch.soft_targets is not None and batch.label is not None
        for target, expected, label in zip(batch.target, batch.soft_targets, batch.label.tolist(), strict=True):
            place = [tuple(CODEC.encode(grid)) for grid in GRIDS].index(tuple(target[:-1].tolist()))
            kind = 0 if label < 0 else 1 if label < 2 else 2
            seen.add(kind)
            torch.testing.assert_close(
                expected, torch.from_numpy(interpolated(found.soft_targets[place][kind], target.numpy(), 0, 1.0))
            )
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("composing", [0, 1, 2])
def test_infilling_teachers_are_given_masks_and_these_are_learned(model_of: ModelOf, composing: int) -> None:
    model, others = model_of(fills=True), [model_of(1)] * composing
    found = distilled_to_infill([*others, model], GRIDS, share=0.75)
    assert len(found.soft_targets) == len(found.masks) == 4 and not found.composed
    for grid, masks, targets in zip(GRIDS, found.masks, found.soft_targets, strict=True):
        assert not masks[0][:, 0].any() and masks[0][:, 1:].all() and len(masks) == len(targets) == 1 + SPANS + OTHERS
        for span in masks[1 : 1 + SPANS]:  # of all voices, in one piece
            inside = span.any(1)
            assert np.array_equal(span, np.repeat(inside[:, None], 4, 1))
            assert 1 <= inside.sum() == np.ptp(inside.nonzero()[0]) + 1 < len(grid)
        ids = torch.from_numpy(CODEC.encode(grid))[None]
        length = torch.tensor([ids.size(1)])
        for mask, each in zip(masks, targets, strict=True):
            source = ids.masked_fill(torch.from_numpy(mask.reshape(-1)), HOLE)
            want = ensemble_probabilities(model, Batch(ids, length, source, length, torch.tensor([-1])))
            for other in others:
                theirs = ensemble_probabilities(other, Batch(ids, length, label=torch.tensor([-1])))
                theirs[:, END] = 0  # no piece with holes ends there
                want = want + theirs / theirs.sum(-1, keepdim=True)
            want /= want.sum(-1, keepdim=True)
            known = torch.from_numpy(~mask.reshape(-1))
            want[known] = torch.nn.functional.one_hot(ids[0][known], want.size(1)).to(want)
            torch.testing.assert_close(torch.from_numpy(each.astype(np.float64)), want, atol=1e-3, rtol=1e-3)
    still = Augmentation(transpose=False)
    data = ChoraleData(GRIDS, CODEC, task="infill", tokens_per_batch=100_000, augmentation=still, distillation=found)
    seen = set()
    for number in range(6):
        (batch,) = data.epoch(number)
        assert batch.source is not None and batch.soft_targets is not None and batch.label is not None
        assert set(batch.label.tolist()) == {-1}
        for target, source, expected in zip(batch.target, batch.source, batch.soft_targets, strict=True):
            place = [tuple(CODEC.encode(grid)) for grid in GRIDS].index(tuple(target.tolist()))
            hidden = (source == HOLE).numpy()
            (which,) = [n for n, mask in enumerate(found.masks[place]) if np.array_equal(mask.reshape(-1), hidden)][:1]
            seen.add(which)
            torch.testing.assert_close(
                expected, torch.from_numpy(interpolated(found.soft_targets[place][which], target.numpy(), 0, 0.75))
            )
    assert len(seen) == 1 + SPANS + OTHERS
