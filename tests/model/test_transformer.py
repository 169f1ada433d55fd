from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from triptych.attention.attend import attend
from triptych.attention.dense import dense
from triptych.decode.maps import AttentionMaps
from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.heads import base
from triptych.model.layers import attention as layers
from triptych.model.layers.dropout import Dropout
from triptych.model.layers.positions import sinusoids
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern
from triptych.shape.relations import ByDistance, ByPitch, ByTime, RelationSettings

SMALL = {"width": 16, "heads": 4, "feed_forward": 24, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}


def make(**changes: object) -> Transformer:
    torch.manual_seed(0)
    config = Config.from_dict({"vocabulary": 13, **SMALL, **changes})
    return Transformer(config).double().eval()


def ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(13, shape, generator=torch.Generator().manual_seed(seed))


def test_base_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        model = Transformer(Config.preset("base", 37_000))
    assert sum(parameter.numel() for parameter in model.parameters()) == 63_082_496


def test_sinusoids_are_the_papers() -> None:
    found = sinusoids(2, 5, 8, torch.zeros(1, dtype=torch.float64))
    for row, position in enumerate((2, 3, 4)):
        for pair in range(4):
            angle = torch.tensor(position / 10_000 ** (2 * pair / 8), dtype=torch.float64)
            torch.testing.assert_close(found[row, 2 * pair], angle.sin())
            torch.testing.assert_close(found[row, 2 * pair + 1], angle.cos())


def test_logits_see_only_the_past() -> None:
    model = make()
    source, target = ids(1, 5), ids(1, 7)
    before = model(target, source=source)
    target[0, 4] = (target[0, 4] + 1) % 13
    moved = (model(target, source=source) - before).abs().amax(-1)[0] > 0
    assert moved.tolist() == [False] * 5 + [True] * 2


def test_padding_changes_nothing() -> None:
    model = make()
    source, target = ids(2, 6), ids(2, 5)
    lengths = torch.tensor([4, 6])
    got = model(target, source=source, source_lengths=lengths)
    alone = model(target[:1], source=source[:1, :4])
    torch.testing.assert_close(got[:1], alone, rtol=1e-10, atol=1e-10)
    batch = Batch(target, torch.tensor([3, 5]), source, lengths)
    loss, likelihood = model.loss(batch, 0.1)
    whole = functional.cross_entropy(got.flatten(0, 1), target.flatten(), reduction="none").view(2, 5)
    torch.testing.assert_close(likelihood, (whole[0, :3].sum() + whole[1].sum()).detach())
    assert loss > likelihood * 0.5


@settings(deadline=None, max_examples=20)
@given(
    pattern=st.sampled_from([Full(causal=True), Local1D(3, 4), Local1D(4, 4), Local2D(6, 4, 2, 2, 1, 1)]),
    relations=st.sampled_from(
        [
            (),
            (ByDistance(4),),
            (ByDistance(6, "zero"),),
            (ByDistance(64),),
            (ByPitch(9),),
            (ByDistance(5, "zero"), ByPitch(12), ByTime(3, "zero", 4)),
        ]
    ),
    norm=st.sampled_from(["pre", "post"]),
    positions=st.builds(
        Positions,
        kind=st.sampled_from(["sinusoidal", "concatenated", "learned", "none"]),
        grid=st.sampled_from([(), (2,), (3, 2)]),
    ),
    encoder=st.sampled_from([0, 2]),
    beams=st.integers(1, 3),
)
def test_cached_steps_equal_the_whole_pass(
    pattern: Pattern, relations: tuple[RelationSettings, ...], norm: str, positions: Positions, encoder: int, beams: int
) -> None:
    model = make(
        pattern=pattern, relations=relations, norm=norm, positions=positions, encoder_layers=encoder, classes=2
    )
    length, sources = 24, 2
    target = ids(sources * beams, length)
    source = ids(sources, 5) if encoder else None
    lengths = torch.tensor([5, 3]) if encoder else None
    label = torch.tensor([1, -1])
    cache = model.start(
        length=length, rows=sources * beams, source=source, source_lengths=lengths, label=label, beams=beams
    )
    columns = []
    for position in range(length):
        columns.append(model.step(None if position == 0 else target[:, position - 1], cache))
    repeat = torch.arange(sources).repeat_interleave(beams)
    want = model(
        target,
        source=None if source is None else source[repeat],
        source_lengths=None if lengths is None else lengths[repeat],
        label=label[repeat],
    )
    torch.testing.assert_close(torch.stack(columns, 1), want.log_softmax(-1), rtol=1e-9, atol=1e-9)


def test_local_cache_is_constant_in_length() -> None:
    model = make(pattern={"kind": "local_1d", "query": 4, "memory": 4}, encoder_layers=0)
    short, long = (model.start(length=length, rows=1) for length in (50, 5000))
    assert short.keys[0].shape == long.keys[0].shape


def test_select_reorders_and_drops() -> None:
    model = make()
    source, target = ids(3, 5), ids(6, 4)
    cache = model.start(length=6, source=source, beams=2)
    logits = model.step(None, cache)
    for position in range(3):
        logits = model.step(target[:, position], cache)
    # sources 0 and 2 stay; within them the beams change places
    rows = torch.tensor([1, 0, 4, 4])
    cache.select(rows.numpy())
    got = model.step(target[rows, 3], cache)
    want = model(
        torch.cat([target[rows], torch.zeros(4, 1, dtype=torch.int64)], 1), source=source[torch.tensor([0, 0, 2, 2])]
    )[:, 4]
    torch.testing.assert_close(got, want.log_softmax(-1), rtol=1e-9, atol=1e-9)
    assert logits.shape == (6, 13)


def test_label_is_dropped_in_training_only() -> None:
    model = make(classes=2, encoder_layers=0)
    target, label = ids(400, 1), torch.ones(400, dtype=torch.int64)
    assert len(model(target, label=label).unique(dim=0)) == 1
    with_label, without = model(target[:1], label=label[:1]), model(target[:1])
    assert not torch.allclose(with_label, without)
    torch.testing.assert_close(model(target[:1], label=label[:1] * 0 - 1), without)
    torch.manual_seed(0)
    noisy = model.train()(target, label=label)
    dropped = (noisy - without).abs().amax((1, 2)) < 1e-9
    assert 0.05 < float(dropped.double().mean()) < 0.16


def test_maps_are_probabilities() -> None:
    model, maps = make(), AttentionMaps()
    model(ids(2, 4), source=ids(2, 5), maps=maps)
    assert [len(kind) for kind in (maps.encoder, maps.decoder, maps.cross)] == [2, 2, 2]
    assert maps.cross[0].shape == (2, 4, 4, 5)
    for kind in (maps.encoder, maps.decoder, maps.cross):
        np.testing.assert_allclose(kind[1].sum(-1), 1, rtol=1e-5)


def test_separate_source_vocabulary() -> None:
    model = make(source_vocabulary=40)
    assert model(ids(1, 3), source=torch.tensor([[39, 2]])).shape == (1, 3, 13)


@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
def test_activations_run(activation: str) -> None:
    assert make(activation=activation)(ids(1, 3), source=ids(1, 3)).isfinite().all()


def test_mistakes() -> None:
    with pytest.raises(UserError, match="expected a source"):
        make()(ids(1, 3))
    with pytest.raises(UserError, match="expected no source"):
        make(encoder_layers=0)(ids(1, 3), source=ids(1, 3))
    with pytest.raises(UserError, match="expected a source"):
        make().start(length=3)
    alone = make(encoder_layers=0, classes=2)
    with pytest.raises(UserError, match="got rows=5"):
        alone.start(length=3, rows=5, beams=2)
    for label in ([2, 0], [0]):
        with pytest.raises(UserError, match="2 labels below classes=2"):
            alone.start(length=3, rows=4, beams=2, label=torch.tensor(label))
    with pytest.raises(UserError, match="at most 4 positions"):
        make(positions=Positions("learned", 4))(ids(1, 5), source=ids(1, 3))


def losses_of_200_updates(dtype: torch.dtype, shape: dict[str, object]) -> Tensor:
    """Mean losses of 200 updates on 20 random batches, which a model this small learns by heart in part."""
    torch.manual_seed(0)  # no dropout, whose masks depend on the dtype
    model = Transformer(Config.from_dict({"vocabulary": 13, **SMALL, **shape})).train()
    adam = torch.optim.Adam(model.parameters(), 2e-3)
    losses = []
    for number in range(200):
        seed = number % 20
        source = {"source": ids(6, 7, seed=seed), "source_lengths": torch.tensor([7, 3, 5, 1, 6, 2])}
        batch = Batch(
            ids(6, 9, seed=99 + seed),
            torch.tensor([9, 8, 2, 5, 7, 1]),
            **(source if model.config.encoder_layers else {}),
        )
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            loss, _ = model.loss(batch, 0.1)
        loss = loss / int(batch.lengths.sum())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.detach().double())
    return torch.stack(losses)


@pytest.mark.parametrize(
    "shape",
    [{"norm": "pre"}, {"norm": "post"}, {"encoder_layers": 0, "relations": (ByDistance(5),)}],
    ids=["pre", "post", "relative"],
)
def test_200_updates_by_the_fast_paths_equal_those_by_the_definition(
    shape: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = {dtype: losses_of_200_updates(dtype, shape) for dtype in (torch.float32, torch.bfloat16)}
    monkeypatch.setattr(layers, "attend", partial(attend, backend="blockwise"))
    in_blocks = losses_of_200_updates(torch.float32, shape)

    def plain_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        logits = hidden @ weight.T
        loss = functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum")
        return loss, functional.cross_entropy(logits, target, reduction="sum")

    monkeypatch.setattr(layers, "attend", dense)
    monkeypatch.setattr(base, "cross_entropy", plain_cross_entropy)
    slow = losses_of_200_updates(torch.float32, shape)
    assert float(slow[-20:].mean()) < 0.95 * float(slow[:20].mean())  # it did learn
    torch.testing.assert_close(fast[torch.float32], slow, rtol=1e-3, atol=0)
    torch.testing.assert_close(in_blocks, slow, rtol=1e-3, atol=0)
    # One loss in 16 bits may be off by its rounding; the mean of twenty may not.
    torch.testing.assert_close(fast[torch.bfloat16], slow, rtol=5e-2, atol=0)
    torch.testing.assert_close(fast[torch.bfloat16].view(10, 20).mean(1), slow.view(10, 20).mean(1), rtol=1e-2, atol=0)


def test_dropout_reaches_every_sublayer_while_training_and_none_after(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(dropout=0.5).train()
    source, target = ids(2, 6), ids(2, 5)
    masks = []
    mask_of = Dropout._mask

    def noted(drop: Dropout, values: Tensor) -> Tensor:
        masks.append(values)
        return mask_of(drop, values)

    monkeypatch.setattr(Dropout, "_mask", noted)
    one, other = model(target, source=source), model(target, source=source)
    assert not torch.equal(one, other)
    assert len(masks) == 2 * ((1 + 2 * 2) + (1 + 2 * 3))  # embedding and sublayers of encoder and decoder
    model.eval()
    assert torch.equal(model(target, source=source), model(target, source=source))


def test_a_model_in_float64_stays_in_float64_under_autocast() -> None:
    model = make(norm="pre")
    batch = Batch(ids(2, 5), torch.tensor([5, 5]), ids(2, 6), torch.tensor([6, 6]))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = model.loss(batch)
    torch.testing.assert_close(loss, model.loss(batch)[0], rtol=1e-10, atol=0)


@pytest.mark.parametrize("parts", [{}, {"input": Patches(4, 4), "head": PatchNetwork(1, 16)}], ids=["notes", "patches"])
@pytest.mark.parametrize("pattern", [Full(causal=True), Local1D(64, 64)], ids=["global", "local"])
def test_4096_cached_steps_equal_the_whole_pass(pattern: Pattern, parts: dict[str, Any]) -> None:
    """In float32, far past the end of the relation's table."""
    changes = {"norm": "pre", "encoder_layers": 0, "decoder_layers": 1, "relations": (ByDistance(32),)}
    model = make(pattern=pattern, positions=Positions("none", grid=(4,)), **parts, **changes).float()
    target = ids(1, 4096)
    with torch.no_grad():
        want = model(target)[0].log_softmax(-1)
    cache, steps = model.start(length=4096, rows=1), []
    for at in range(4096):
        steps.append(model.step(target[:, at - 1] if at else None, cache)[0])
    torch.testing.assert_close(torch.stack(steps), want, rtol=0, atol=1e-4)


PREFILLED: dict[str, dict[str, Any]] = {
    "full": {},
    "local 1-D": {"pattern": Local1D(4, 8)},
    "local 2-D": {"pattern": Local2D(8, 8, 4, 4, 2, 2), "positions": Positions("sinusoidal_2d", 8)},
    "patches": {"input": Patches(4, 4), "head": PatchNetwork()},
    "mixture": {"input": Pixels(3), "head": Mixture(2)},
    "coordinates": {"relations": (ByDistance(6), ByPitch(20), ByTime(4, "clip", 4))},
    "local coordinates": {
        "relations": (ByDistance(6), ByPitch(20), ByTime(4, "clip", 4)),
        "positions": Positions(grid=(4,)),
        "pattern": Local1D(4, 4),
    },
    "post-norm": {"norm": "post", "relations": (ByDistance(3),)},
    "cross-attention": {"encoder_layers": 1, "positions": Positions(source=Positions("sinusoidal_2d", 4))},
    "aligned": {"encoder_layers": 1, "aligned": True, "input": Patches(4), "head": PatchNetwork()},
    "labels": {"classes": 3},
}


@pytest.mark.parametrize("kind", PREFILLED)
@pytest.mark.parametrize("given", [0, 1, 5, 24])
def test_prefilled_steps_are_the_steps(kind: str, given: int) -> None:
    """After a parallel pass over given ids, every later step has the logits of the forward pass."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 16, "heads": 2, "feed_forward": 16, "encoder_layers": 0, "decoder_layers": 2}
    model = Transformer(Config(256, **{**shape, "norm": "pre", **PREFILLED[kind]})).eval().double()
    target = torch.randint(256, (2, 36))
    source = torch.randint(256, (2, 36)) if model.config.encoder_layers else None
    label = torch.tensor([2, -1]) if model.config.classes else None
    full = model(target, source=source, label=label).log_softmax(-1)
    cache = model.start(length=36, rows=2, source=source, label=label)
    taken = model.prefill(target[:, :given], cache)
    size = model.config.input.size
    whole = given // size * size
    assert taken.size(1) == cache.position == (whole if whole > size else 0)
    assert torch.equal(taken, target[:, : taken.size(1)])
    last = taken[:, -1] if taken.size(1) else None
    for position in range(taken.size(1), 36):
        torch.testing.assert_close(model.step(last, cache), full[:, position], atol=1e-5, rtol=1e-5)
        last = target[:, position]


def test_prefilling_with_ids_that_are_none() -> None:
    model = Transformer(Config(7, width=8, heads=2, feed_forward=8, encoder_layers=0, decoder_layers=1)).eval()
    with pytest.raises(UserError, match="expected ids from 0 to 6, got 1 to 7"):
        model.prefill(torch.tensor([[1, 7]]), model.start(length=4))


def test_soft_targets_are_learned_instead_of_the_target() -> None:
    """The loss is their cross-entropy with what is predicted, padding aside; the likelihood is that of the target."""
    model = Transformer(Config(11, width=8, heads=2, feed_forward=8, encoder_layers=0, decoder_layers=1)).eval()
    target, lengths = torch.randint(11, (2, 6)), torch.tensor([6, 3])
    soft_targets = torch.rand(2, 6, 11).softmax(-1)
    loss, nll = model.loss(Batch(target, lengths, soft_targets=soft_targets))
    found = model(target).log_softmax(-1)
    valid = torch.arange(6) < lengths[:, None]
    torch.testing.assert_close(loss, -((soft_targets * found).sum(-1) * valid).sum())
    torch.testing.assert_close(nll, -(found.gather(-1, target[..., None])[..., 0] * valid).sum())
    assert loss.requires_grad and not nll.requires_grad
    one_hot = functional.one_hot(target, 11).float()
    plain, _ = model.loss(Batch(target, lengths))
    torch.testing.assert_close(model.loss(Batch(target, lengths, soft_targets=one_hot))[0], plain)
