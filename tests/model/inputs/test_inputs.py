"""Every input: its step, a weighted sum of table rows, equals what the whole form reads at that position."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.decode.history import History
from triptych.decode.steps.inputs import steps_of
from triptych.model.inputs import input_of, source_input_of, weighted_sum
from triptych.model.inputs.base import shifted
from triptych.model.parameters import initialize
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied, Tokens
from triptych.shape.pattern import Full, Local1D, Local2D

SHAPE: dict[str, Any] = {"width": 8, "heads": 2, "feed_forward": 8, "encoder_layers": 0, "decoder_layers": 1}
KEYBOARD = (4, 5, 3)
INPUTS: dict[str, dict[str, Any]] = {
    "tokens": {"input": Tokens(), "head": Tied()},
    "keyboard": {"input": Tokens(KEYBOARD), "head": Tied()},
    "patches": {"input": Patches(3), "head": PatchNetwork(1, 8)},
    "repeats": {"input": Patches(3, repeat_features=3), "head": PatchNetwork(1, 8)},
    "pixels": {"input": Pixels(3), "head": Mixture(2), "vocabulary": 256},
    "lines": {"input": Pixels(2), "head": Mixture(2), "vocabulary": 256, "positions": Positions("sinusoidal_2d", 4)},
    "blocks": {"input": Pixels(3), "head": Mixture(2), "vocabulary": 256, "pattern": Local2D(4, 4, 2, 2, 1, 1)},
}


def config_of(kind: str) -> Config:
    return Config(**{"vocabulary": 17, **SHAPE, "pattern": Full(causal=True), **INPUTS[kind]})


@pytest.mark.parametrize("kind", INPUTS)
@settings(deadline=None, max_examples=10)
@given(rows=st.integers(1, 3), seed=st.integers(0, 1000), taken=st.integers(0, 4), dtype=st.sampled_from([32, 64]))
def test_a_step_reads_what_the_whole_form_reads(kind: str, rows: int, seed: int, taken: int, dtype: int) -> None:
    torch.manual_seed(seed)
    config = config_of(kind)
    reads = input_of(config)
    initialize(reads, config.width)
    for parameter in reads.parameters():  # the keyboard's are zeros at first
        torch.nn.init.normal_(parameter)
    reads = reads.to(getattr(torch, f"float{dtype}"))
    size, values = config.input.size, min(config.vocabulary, 17)
    ids = torch.randint(3 if kind == "repeats" else values, (rows, 16 * size))
    want = reads.whole(ids)  # [rows, 16, W]
    assert want.shape == (rows, 16, config.width) and not want[:, 0].any()
    history, steps = History(rows, 16 * size, size), steps_of(config, rows)
    if taken > 1:
        history.extend(ids[:, : taken * size - 1].numpy())
        steps.follow(history)
        history.append(ids[:, taken * size - 1].numpy())
    for position in range(taken if taken > 1 else 0, 16):
        got = weighted_sum(reads, steps.read(history), rows)
        torch.testing.assert_close(got[:, 0], want[:, position], rtol=1e-4, atol=1e-5)
        if position == 8 and rows > 1:  # rows change places
            turned = np.arange(rows)[::-1].copy()
            history.select(turned)
            steps.select(turned)
            ids, want = ids[turned], want[turned]
        for place in range(size):
            history.append(ids[:, position * size + place].numpy())


@pytest.mark.parametrize("kind", INPUTS)
def test_nothing_of_what_comes_later_is_read(kind: str) -> None:
    torch.manual_seed(0)
    config = config_of(kind)
    reads, size = input_of(config), config.input.size
    ids = torch.randint(min(config.vocabulary, 17), (1, 16 * size))
    before = reads.whole(ids)
    for position in (0, 5, 15):
        changed = ids.clone()
        changed[:, position * size :] = (changed[:, position * size :] + 1) % 17
        assert torch.equal(reads.whole(changed)[:, : position + 1], before[:, : position + 1])
        assert position == 15 or not torch.equal(reads.whole(changed), before)


@pytest.mark.parametrize("kind", ["tokens", "keyboard", "patches", "repeats"])
def test_a_source_is_read_by_its_own_tables_and_a_target_a_position_later(kind: str) -> None:
    config = config_of(kind)
    reads = input_of(config)
    ids = torch.randint(12, (2, 12))
    assert torch.equal(reads.whole(ids), shifted(reads.read(ids)))
    sourced = Config.from_dict({**config.to_dict(), "encoder_layers": 1, "source_vocabulary": 30})
    source = source_input_of(sourced)
    assert source is not None and source.read(ids + 12).shape == reads.read(ids).shape
    assert source_input_of(config) is None
    assert not any("keyboard" in name for name, _ in source.named_parameters())


def test_a_patch_is_read_as_the_sum_of_its_tokens_by_place_and_of_their_runs() -> None:
    config = Config(5, **SHAPE, input=Patches(2, repeat_features=2), head=PatchNetwork(1, 8))
    reads = input_of(config)
    got = reads.read(torch.tensor([[3, 1, 3, 4, 3, 4]]))[0]
    tokens, runs = (table for table, _ in reads.tables().values())
    # place 1 counts from vocabulary and repeat_features on; a run of two or more counts as the longest known
    want = [
        tokens[3] + runs[0] + tokens[5 + 1] + runs[2],
        tokens[3] + runs[1] + tokens[5 + 4] + runs[2],
        tokens[3] + runs[1] + tokens[5 + 4] + runs[2 + 1],
    ]
    torch.testing.assert_close(got, torch.stack(want) * 2)  # the root of width / size


def test_word_dropout_leaves_out_whole_tokens_and_in_training_alone() -> None:
    config = Config(7, **SHAPE, input=Patches(4, 3, word_dropout=0.5), head=PatchNetwork(1, 8))
    torch.manual_seed(0)
    reads, ids = input_of(config), torch.randint(7, (3, 40))
    whole, some = reads.eval().read(ids), reads.train().read(ids)
    assert torch.equal(reads.eval().read(ids), whole)
    parts = torch.stack([_alone(reads, ids, place) for place in range(4)], 2)  # [B, P, 4, W]
    subsets_of_four = [[place for place in range(4) if bits >> place & 1] for bits in range(16)]
    # what is read of each patch is the sum of some of its tokens' vectors
    subsets = torch.stack([parts[:, :, kept].sum(2) for kept in subsets_of_four])
    assert float((subsets - some).abs().amax(-1).amin(0).detach().max()) < 1e-5
    assert not torch.allclose(whole, some)


def _alone(reads: Any, ids: torch.Tensor, place: int) -> torch.Tensor:
    from triptych.model.inputs.patches import patches, repeat_counts

    whole = patches(ids, 4)
    return reads.places(whole, repeat_counts(whole))[:, :, place]  # type: ignore[no-any-return]


def test_half_precision_reads_too() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        config = config_of("keyboard")
        reads, history = input_of(config).to(dtype), History(1, 4)
        history.append(np.array([2]))
        steps = steps_of(config, 1)
        assert weighted_sum(reads, steps.read(history), 1).dtype == dtype


def test_local_patterns_have_no_columns() -> None:
    config = Config(256, **SHAPE, input=Pixels(1), head=Mixture(2), pattern=Local1D(4, 4))
    assert set(input_of(config).tables()) == {"tokens"}
