from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.heads.patch import PatchHead
from triptych.model.inputs.patches import patches, repeat_counts
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Patches, PatchNetwork
from triptych.shape.pattern import Full, Local1D, Pattern
from triptych.shape.relations import ByDistance, RelationSettings

SHAPE: dict[str, Any] = {"width": 16, "heads": 4, "feed_forward": 24, "decoder_layers": 2, "dropout": 0.0}


def make(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    parts = {"input": Patches(3, 4), "head": PatchNetwork(2, 8)}
    return Transformer(Config(9, **{**SHAPE, "encoder_layers": 0, **parts, **changes})).double().eval()


def ids(rows: int, length: int, *, values: int = 3, seed: int = 0) -> Tensor:
    """Few values, so that there are runs."""
    return torch.randint(values, (rows, length), generator=torch.Generator().manual_seed(seed))


def slow(ids: Tensor, size: int) -> Tensor:
    runs = torch.zeros_like(ids)
    for row in range(len(ids)):
        for at in range(size, ids.size(1)):
            if ids[row, at] == ids[row, at - size]:
                runs[row, at] = runs[row, at - size] + 1
    return runs


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 3), length=st.integers(0, 10), size=st.integers(1, 5), seed=st.integers(0, 9))
def test_run_lengths(rows: int, length: int, size: int, seed: int) -> None:
    given_ids = ids(rows, length * size, values=2, seed=seed)
    want = slow(given_ids, size)
    assert repeat_counts(given_ids.view(rows, length, size)).flatten(1).tolist() == want.tolist()


def test_the_last_patch_is_filled() -> None:
    assert patches(torch.tensor([[1, 2, 3, 4, 5]]), 3).tolist() == [[[1, 2, 3], [4, 5, 0]]]
    assert patches(torch.tensor([[1, 2, 3]]), 3).tolist() == [[[1, 2, 3]]]


def test_inside_of_a_patch_each_token_reads_those_before_it_and_its_own_of_the_patch_before() -> None:
    torch.manual_seed(0)
    head = make(dropout=0.0).head
    assert isinstance(head, PatchHead)
    hidden, target = torch.randn(1, 3, 16).double(), ids(1, 9)

    def tokens(target: Tensor) -> Tensor:
        return head.whole(hidden, Batch(target, torch.tensor([9])), None).hidden

    before = tokens(target)
    for at in range(9):
        changed = target.clone()
        changed[0, at] = 8
        moved = (tokens(changed) - before).abs().amax(-1)[0] > 0
        later = [other for other in range(9) if at < other < at // 3 * 3 + 3]
        # through its run, a token is heard of as long as the run could have gone on
        again = [other for other in range(at + 3, 9, 3) if other == at + 3 or bool(moved[other])]
        assert moved.nonzero().flatten().tolist() == sorted(later + again)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 12])
def test_logits_see_only_the_past(length: int) -> None:
    model, target = make(relations=(ByDistance(3),)), ids(1, length)
    before = model(target)
    assert before.shape == (1, length, 9)
    for at in range(length):
        changed = target.clone()
        changed[0, at] = 8
        moved = (model(changed) - before).abs().amax(-1)[0] > 0
        assert moved.tolist() == [False] * (at + 1) + [True] * (length - at - 1)


@settings(deadline=None, max_examples=20)
@given(
    pattern=st.sampled_from([Full(causal=True), Local1D(3, 4), Local1D(2, 2)]),
    relations=st.sampled_from([(), (ByDistance(3),), (ByDistance(4, "zero"),)]),
    norm=st.sampled_from(["pre", "post"]),
    kind=st.sampled_from(["none", "sinusoidal", "concatenated"]),
    repeat=st.sampled_from([0, 3]),
    source=st.sampled_from(["none", "attended", "aligned"]),
    own=st.booleans(),
    beams=st.integers(1, 3),
    length=st.integers(20, 24),
)
def test_steps_equal_the_whole_pass_also_when_rows_change_places(
    pattern: Pattern,
    relations: tuple[RelationSettings, ...],
    norm: Any,
    kind: Any,
    repeat: int,
    source: str,
    own: bool,
    beams: int,
    length: int,
) -> None:
    model = make(
        pattern=pattern,
        relations=relations,
        norm=norm,
        positions=Positions(kind, grid=(2, 2)),
        input=Patches(3, repeat),
        encoder_layers=int(source != "none"),
        source_vocabulary=11 if own and source != "none" else None,
        aligned=source == "aligned",
        classes=2,
    )
    target = ids(2 * beams, length)
    given_source, lengths, label = None, None, torch.tensor([1, -1])
    if source != "none":
        given_source, lengths = ids(2, 24, values=9, seed=1), torch.tensor([24, 21])
    repeat = torch.arange(2).repeat_interleave(beams)
    want = model(
        target,
        source=None if given_source is None else given_source[repeat],
        source_lengths=None if lengths is None else lengths[repeat],
        label=label[repeat],
    )
    cache = model.start(
        length=length, rows=2 * beams, source=given_source, source_lengths=lengths, label=label, beams=beams
    )
    for at in range(length):
        if at == 10:  # the beams of each source change places
            turned = torch.arange(2 * beams).view(2, beams).flip(1).flatten()
            cache.select(turned.numpy())
            target, want = target[turned], want[turned]
        if at == 17:  # the first source is done
            kept = torch.arange(beams, 2 * beams)
            cache.select(kept.numpy())
            target, want = target[kept], want[kept]
        got = model.step(None if at == 0 else target[:, at - 1], cache)
        torch.testing.assert_close(got, want[:, at].log_softmax(-1), rtol=1e-10, atol=1e-10)


def test_aligned_sources_are_heard_at_their_place_and_by_all_through_the_encoder() -> None:
    model = make(encoder_layers=1, aligned=True, norm="pre")
    target, source = ids(1, 12), ids(1, 12, seed=1)
    before = model(target, source=source)
    source[0, 11] = 8
    assert bool(((model(target, source=source) - before).abs().amax(-1) > 0).all()), "the encoder sees to both sides"
    for parameter in model.condition.encoder.parameters():
        torch.nn.init.zeros_(parameter)  # now it says of each place what stands there and no more
    before = model(target, source=source)
    source[0, 7] = 8
    moved = (model(target, source=source) - before).abs().amax(-1)[0] > 0
    assert moved.tolist() == [False] * 6 + [True] * 6, "the patch of token 7 and what follows"
    with pytest.raises(UserError, match="expected a source as long as the target, got 9 tokens for 12"):
        model(target, source=source[:, :9])


def test_padding_changes_nothing() -> None:
    model = make(encoder_layers=1, relations=(ByDistance(3),))
    target, source = ids(2, 12), ids(2, 12, seed=1)
    lengths = torch.tensor([7, 12])
    batch = Batch(target, lengths, source, torch.tensor([9, 12]))
    alone = Batch(target[:1, :7], lengths[:1], source[:1, :9], torch.tensor([9]))
    got = model.predict(batch).logits()[:1, :7]
    torch.testing.assert_close(got, model.predict(alone).logits(), rtol=1e-10, atol=1e-10)
