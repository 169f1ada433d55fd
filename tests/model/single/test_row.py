from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.model.single.row import SingleRow, fits
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied, Tokens
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern
from triptych.shape.relations import ByDistance, ByPitch, ByTime, RelationSettings

SMALL: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "encoder_layers": 0, "decoder_layers": 2}

PARTS: list[dict[str, Any]] = [
    {},
    {"input": Patches(2), "head": PatchNetwork(1, 12)},
    {"input": Patches(3, 4), "head": PatchNetwork(2, 12)},
]
PIXELS: dict[str, Any] = {"vocabulary": 256, "input": Pixels(3), "head": Mixture(2)}

PATTERNS: list[Pattern] = [
    Full(causal=True),
    *(Local1D(*sizes) for sizes in [(4, 4), (3, 5), (4, 0), (1, 6), (2, 12)]),
    *(Local2D(6, 6, 3, 2, *sizes) for sizes in [(1, 2), (0, 1)]),
]


def make(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(Config(**{"vocabulary": 17, **SMALL, "norm": "pre", **changes})).eval()
    for parameter in model.parameters():  # norms and biases are not what they begin as
        torch.nn.init.normal_(parameter, 0.1, 0.2)
    return model


@settings(deadline=None, max_examples=30)
@given(
    pattern=st.sampled_from(PATTERNS),
    relations=st.sampled_from([(), (ByDistance(5),), (ByDistance(7, "zero"),), (ByDistance(64),)]),
    kind=st.sampled_from(["none", "sinusoidal", "concatenated"]),
    activation=st.sampled_from(["relu", "gelu"]),
    label=st.sampled_from([None, -1, 1]),
    parts=st.sampled_from(PARTS),
    sourced=st.booleans(),
)
def test_equals_the_steps_of_the_model(
    pattern: Pattern,
    relations: tuple[RelationSettings, ...],
    kind: Any,
    activation: str,
    label: int | None,
    parts: dict[str, Any],
    sourced: bool,
) -> None:
    if isinstance(pattern, Local2D):
        relations = ()
    model = make(
        pattern=pattern,
        **({"encoder_layers": 1, "aligned": True} if sourced else {}),
        relations=relations,
        activation=activation,
        classes=2,
        positions=Positions(kind, grid=(2, 3)),
        **parts,
    ).double()
    single = SingleRow(model, torch.float64)
    given_label = None if label is None else torch.tensor([label])
    source = torch.randint(17, (1, 21)) if sourced else None
    whole = model.start(length=21, rows=1, source=source, label=given_label)
    row = single.start(length=21, source=source, label=given_label)
    last = None
    for _ in range(21):
        want, got = model.step(last, whole), single.step(last, row)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
        last = want.argmax(-1)
    assert row.position == whole.position


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("pattern", [Local1D(4, 4), Local2D(4, 4, 2, 2, 1, 1)])
def test_a_mixture_is_drawn_channel_by_channel(channels: int, pattern: Pattern) -> None:
    torch.manual_seed(0)
    shape = {**SMALL, "norm": "pre", "pattern": pattern, "input": Pixels(channels), "head": Mixture(5)}
    model = Transformer(Config(256, **shape)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.5)
    single, ids = SingleRow(model, torch.float32), torch.randint(256, (1, 16 * channels))
    row = single.start(length=16 * channels)
    with torch.no_grad():
        want = model(ids)
    steps = [single.step(ids[:, at - 1] if at else None, row) for at in range(16 * channels)]
    got = torch.stack(steps, 1).float()
    likely = want > -20  # what is less likely cancels in part
    assert float(likely.float().mean()) > 0.5
    torch.testing.assert_close(got[likely], want[likely], rtol=0, atol=1e-4)
    assert bool((got[~likely] < -15).all())
    torch.testing.assert_close(got.exp().sum(-1), torch.ones(1, 16 * channels))


@settings(deadline=None, max_examples=40)
@given(
    pattern=st.sampled_from(PATTERNS),
    relations=st.sampled_from([(), (ByDistance(5),), (ByDistance(64),)]),
    label=st.sampled_from([None, -1, 1]),
    parts=st.sampled_from([{}, PARTS[2], PIXELS]),
    sourced=st.booleans(),
    given_steps=st.integers(0, 17),
)
def test_steps_taken_at_once_equal_those_one_by_one(
    pattern: Pattern,
    relations: tuple[RelationSettings, ...],
    label: int | None,
    parts: dict[str, Any],
    sourced: bool,
    given_steps: int,
) -> None:
    vocabulary = parts.get("vocabulary", 17)
    model = make(
        pattern=pattern,
        relations=() if isinstance(pattern, Local2D) else relations,
        classes=2,
        positions=Positions("none"),
        **parts,
        **({"encoder_layers": 1, "aligned": True} if sourced else {}),
    ).double()
    single = SingleRow(model, torch.float64)
    target = torch.randint(vocabulary, (1, 21))
    conditions = {
        "source": torch.randint(vocabulary, (1, 21)) if sourced else None,
        "label": None if label is None else torch.tensor([label]),
    }
    slow, fast = single.start(length=21, **conditions), single.start(length=21, **conditions)
    taken = single.prefill(target[:, :given_steps], fast).size(1)
    assert taken == fast.position and (parts or taken == (given_steps if given_steps > 1 else 0))
    for place in range(21):
        last = None if place == 0 else target[:, place - 1]
        want = single.step(last, slow)
        if place >= taken:
            torch.testing.assert_close(single.step(last, fast), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("pattern", "slots"),
    [(Local1D(4, 6), 10), (Local1D(1, 8), 10), (Local2D(6, 30, 3, 2, 1, 2), 98), (Full(causal=True), 180)],
)
def test_of_a_local_pattern_the_store_does_not_grow(pattern: Pattern, slots: int) -> None:
    model = make(pattern=pattern)
    single, target = SingleRow(model), torch.randint(17, (1, 180))
    row = single.start(length=180)
    kept = [store.data_ptr() for store in row.layers]
    with torch.no_grad():
        want = model(target).log_softmax(-1)
    got = [single.step(None if at == 0 else target[:, at - 1], row) for at in range(180)]
    torch.testing.assert_close(torch.stack(got, 1), want, rtol=0.02, atol=0.02)  # of matrices in float16
    assert [store.size(3) for store in row.layers] == [slots, slots]
    assert [store.data_ptr() for store in row.layers] == kept


def test_half_precision_rounds_and_no_more() -> None:
    model = make(relations=(ByDistance(8),))
    single, target = SingleRow(model), torch.randint(17, (1, 40))
    row = single.start(length=40)
    with torch.no_grad():
        want = model(target).log_softmax(-1)
    got = torch.stack([single.step(None if at == 0 else target[:, at - 1], row) for at in range(40)], 1)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-2)
    assert not torch.equal(got, want)


def test_the_model_stays_as_it_is() -> None:
    model = make(relations=(ByDistance(8),))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    SingleRow(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "post"},
        {"encoder_layers": 1},
        {"activation": "swiglu"},
        {"pattern": Local2D(4, 4, 2, 2, 1, 1), "relations": (ByDistance(4),)},
        {"relations": (ByPitch(5),)},
        {"relations": (ByDistance(4), ByTime(5))},
    ],
)
def test_what_it_cannot_do_it_leaves_to_the_model(changes: dict[str, Any]) -> None:
    assert not fits(make(**changes).config)
    assert fits(make().config)


@dataclass(frozen=True)
class NewTokens(Tokens):
    """An input that only the model knows."""


@dataclass(frozen=True)
class NewHead(Tied):
    """A head that only the model knows."""


@dataclass(frozen=True)
class NewPattern(Local1D):
    """A pattern that only the model knows."""


@dataclass(frozen=True)
class NewRelation(ByDistance):
    """A relation that only the model knows."""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("norm", "sandwich"),
        ("activation", "mish"),
        ("input", NewTokens()),
        ("head", NewHead()),
        ("pattern", NewPattern(4, 4)),
        ("relations", (NewRelation(4),)),
        ("relations", (ByDistance(4), NewRelation(4))),
    ],
)
def test_what_is_new_it_leaves_to_the_model(field: str, value: object) -> None:
    """Of a part that came later than it, it computes nothing else in silence."""
    config = Config(17, **SMALL, norm="pre")
    assert fits(config)
    object.__setattr__(config, field, value)  # past the checks, which would refuse it today
    assert not fits(config)


def test_new_positions_it_leaves_to_the_model() -> None:
    config = Config(17, **SMALL, norm="pre")
    object.__setattr__(config.positions, "kind", "rotary")
    assert not fits(config)
