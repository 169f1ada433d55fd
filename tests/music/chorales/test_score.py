import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.model.batch import Batch, Examples
from triptych.model.transformer import Transformer
from triptych.music.chorales.codec import RANGES, REST, SILENT, VOICES, ChoraleCodec, Grid
from triptych.music.chorales.data import held_out_pieces, transposed
from triptych.music.chorales.score import KEYS, ensemble_nll, ensemble_probabilities, likelihood, token_nll
from triptych.shape.config import Config

CODEC = ChoraleCodec()
ModelOf = Callable[..., Transformer]
SHAPE = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1, "dropout": 0.5, "classes": 26}


def model_of(task: str) -> Transformer:
    torch.manual_seed(0)
    source = {"encoder_layers": 1, "source_vocabulary": CODEC.source_vocabulary} if task == "infill" else {}
    config = Config.from_dict({"vocabulary": CODEC.vocabulary, "encoder_layers": 0, **SHAPE, **source})
    return Transformer(config).double()


MODELS = {task: model_of(task) for task in ("compose", "infill")}


def grid_of(seed: int, steps: int) -> Grid:
    random = np.random.default_rng(seed)
    grid = np.stack([random.integers(low, high + 1, steps) for low, high in RANGES], 1)
    grid[random.random((steps, 4)) < 0.2] = SILENT
    return grid


@torch.no_grad()
def slow(model: Transformer, grids: Sequence[Grid], task: str) -> dict[str, dict[str, list[float]]]:
    """The negative log-likelihood of each counted token by itself, from a model that is shown the tokens before it."""
    found: dict[str, dict[str, list[float]]] = {"voice": {}, "piece": {}}
    for number, grid in enumerate(grids):
        ids = CODEC.encode(grid)
        hidden = grid.copy()
        hidden[:, 1:] = -2
        source = torch.from_numpy(CODEC.encode(hidden, holes=True))[None] if task == "infill" else None
        for place, token in enumerate(ids.tolist()):
            if task == "infill" and place % 4 == 0:
                continue
            logits = model.eval()(torch.from_numpy(ids[: place + 1])[None], source=source)[0, place]
            nll = -float(logits.log_softmax(-1)[token])
            found["voice"].setdefault(VOICES[place % 4], []).append(nll)
            found["piece"].setdefault(str(number), []).append(nll)
    return found


@pytest.mark.parametrize("task", MODELS)
def test_likelihood_is_the_mean_over_tokens(task: str) -> None:
    grids = [grid_of(seed, steps) for seed, steps in enumerate((3, 9, 1))]
    model = MODELS[task].train()
    found = likelihood(model, held_out_pieces(grids, CODEC, task))  # type: ignore[arg-type]
    terms = slow(model, grids, task)
    every = [nll for terms in terms["piece"].values() for nll in terms]
    assert found.tokens == len(every) == 13 * (4 if task == "compose" else 3)
    assert found.nll == pytest.approx(sum(every) / len(every), rel=1e-6)
    assert found.nll_per_piece == pytest.approx(np.mean([np.mean(each) for each in terms["piece"].values()]))
    assert found.nll_per_piece != pytest.approx(found.nll)
    assert list(found.per_voice) == list(VOICES if task == "compose" else VOICES[1:])
    for voice, mean in found.per_voice.items():
        assert mean == pytest.approx(np.mean(terms["voice"][voice]))


@settings(deadline=None, max_examples=8)
@given(st.permutations(VOICES), st.sampled_from(list(MODELS)))
def test_voices_are_distinguished_in_any_order(order: list[str], task: str) -> None:
    codec, grid = ChoraleCodec(order), grid_of(7, 5)
    (batch,) = held_out_pieces([grid], codec, task)  # type: ignore[arg-type]
    found = likelihood(MODELS[task], [batch], codec=codec)
    nll = token_nll(MODELS[task], batch)[0].numpy().reshape(-1, 4)
    assert list(found.per_voice) == list(VOICES if task == "compose" else VOICES[1:])
    for name, mean in found.per_voice.items():
        assert mean == pytest.approx(nll[:, order.index(name)].mean(), rel=1e-5)
    if batch.source is not None:
        known = batch.source[0].numpy().reshape(-1, 4)[:, order.index("soprano")]
        np.testing.assert_array_equal(known, CODEC.encode(grid).reshape(-1, 4)[:, 0])


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.sampled_from(list(MODELS)))
def test_padding_does_not_count(lengths: list[int], task: str) -> None:
    single = held_out_pieces([grid_of(number, steps) for number, steps in enumerate(lengths)], CODEC, task)  # type: ignore[arg-type]
    targets = [batch.target[0].numpy() for batch in single]
    sources = [batch.source[0].numpy() for batch in single if batch.source is not None]
    together = [Examples(targets, sources or None, [-1] * len(lengths)).batch(np.arange(len(lengths)))]
    one, all_at_once = likelihood(MODELS[task], single), likelihood(MODELS[task], together)
    assert one.tokens == all_at_once.tokens
    assert one.nll == pytest.approx(all_at_once.nll, rel=1e-6)
    assert one.nll_per_piece == pytest.approx(all_at_once.nll_per_piece, rel=1e-6)


def test_every_token_has_one() -> None:
    target = torch.from_numpy(np.stack([CODEC.encode(grid_of(seed, 3)) for seed in (0, 1)]))
    nll = token_nll(MODELS["compose"], Batch(target, torch.tensor([12, 8])))
    assert nll.shape == (2, 12) and nll.dtype == torch.float32 and bool((nll > 0).all())


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 99), st.integers(1, 6), st.sampled_from(list(MODELS)))
def test_the_transposition_ensemble(seed: int, steps: int, task: str) -> None:
    """The slow twin: one key and one token at a time."""
    model, grid = MODELS[task].eval(), grid_of(seed, steps)
    (batch,) = held_out_pieces([grid], CODEC, task)  # type: ignore[arg-type]
    assert batch.target.shape == (1, 4 * steps)
    want = []
    for place in range(4 * steps):
        shares = []
        for shift in range(-5, 7):
            moved = np.where(grid >= 0, grid + shift, grid).reshape(-1)
            if any(pitch >= 0 and not 36 <= pitch <= 81 for pitch in moved[:place]):
                continue
            source = None
            if batch.source is not None:
                known = moved.reshape(-1, 4)[:, 0]
                if any(pitch >= 0 and not 36 <= pitch <= 81 for pitch in known):
                    continue
                hidden = np.full(grid.shape, -2)
                hidden[:, 0] = known
                source = torch.from_numpy(CODEC.encode(hidden, holes=True))[None]
            if moved[place] >= 0 and not 36 <= moved[place] <= 81:
                shares.append(0.0)
                continue
            inside = np.where((moved >= 0) & ((moved < 36) | (moved > 81)), SILENT, moved)
            ids = torch.from_numpy(CODEC.encode(inside.reshape(-1, 4)))[None]
            with torch.no_grad():
                shares.append(float(model(ids, source=source)[0, place].softmax(-1)[ids[0, place]]))
        want.append(-math.log(np.mean(shares)))
    assert ensemble_nll(model, batch)[0].tolist() == pytest.approx(want, rel=1e-4)
    found = likelihood(model, [batch], ensemble=True)
    counted = range(4 * steps) if task == "compose" else [at for at in range(4 * steps) if at % 4]
    assert found.nll == pytest.approx(np.mean([want[at] for at in counted]), rel=1e-4)


def test_no_pieces() -> None:
    found = likelihood(MODELS["compose"], [])
    assert math.isnan(found.nll) and math.isnan(found.nll_per_piece)
    assert (found.tokens, found.per_voice) == (0, {})


def short_piece(label: int = -1) -> tuple[Grid, Batch]:
    grid = np.array([[72, 65, 60, 48], [74, 65, -1, 50], [71, 62, 55, 43]])
    ids = torch.from_numpy(CODEC.encode(grid))[None]
    return grid, Batch(ids, torch.tensor([12]), label=torch.tensor([label]))


def test_there_are_twelve_keys() -> None:
    assert sorted(key % 12 for key in KEYS) == list(range(12))


@pytest.mark.parametrize(("label", "moved"), [(-1, -1), (1, 1), (2 + 11, 2 + 2), (14 + 9, 14)])
def test_it_is_the_mean_over_keys_moved_back(model_of: ModelOf, label: int, moved: int) -> None:
    """Two keys by hand; the label of a key moves along, that of a mode stays."""
    model, (grid, batch) = model_of(), short_piece(label)
    want = torch.zeros(12, CODEC.vocabulary, dtype=torch.float64)
    for shift, other in ((0, label), (3, moved)):
        ids = torch.from_numpy(CODEC.encode(transposed(grid, shift)))[None]
        with torch.no_grad():
            found = model(ids, label=torch.tensor([other]))[0].softmax(-1)
        want[:, : REST - shift] += found[:, shift:REST] / 2
        want[:, REST:] += found[:, REST:] / 2
    torch.testing.assert_close(ensemble_probabilities(model, batch, (0, 3)), want)


def test_in_the_key_of_the_piece_alone_nothing_is_lost(model_of: ModelOf) -> None:
    model, (_, batch) = model_of(), short_piece()
    found = ensemble_probabilities(model, batch, (0,))
    with torch.no_grad():
        torch.testing.assert_close(found, model(batch.target, label=batch.label)[0].softmax(-1))


def test_a_key_without_a_pitch_of_the_piece_ends_there(model_of: ModelOf) -> None:
    """Moved up by six, the second note is above the vocabulary: from the third on, this key is not asked."""
    model = model_of()
    ids = torch.tensor([[30, 42, 10, 5]])
    batch = Batch(ids, torch.tensor([4]))
    both, alone = ensemble_probabilities(model, batch, (0, 6)), ensemble_probabilities(model, batch, (0,))
    torch.testing.assert_close(both[2:], alone[2:])
    assert not torch.allclose(both[:2], alone[:2])
