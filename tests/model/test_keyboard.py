import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.errors import UserError
from triptych.model.config import Config, Positions
from triptych.model.keyboard import Keyboard, Keys, SingleKeyboard
from triptych.model.single import SingleRow
from triptych.model.transformer import Transformer

LAYOUT = (4, 5, 3)
IDS = 2 * 4 + 5 + 3
OFF, SHIFT, VELOCITY, OTHER = 4, 8, 13, 16  # the first id of each kind, and one that says nothing


def told(seed: int = 0) -> Keyboard:
    torch.manual_seed(seed)
    board = Keyboard(LAYOUT, 6)
    torch.nn.init.normal_(board.vectors.weight)
    return board


def by_definition(ids: list[int]) -> tuple[dict[int, int], int, int]:
    """Key: for how long it is down; the time; the velocity."""
    struck: dict[int, int] = {}
    now, velocity = 0, -1
    for token in ids:
        if token < OFF:
            struck[token] = now
        elif token < SHIFT:
            struck.pop(token - OFF, None)
        elif token < VELOCITY:
            now += token - SHIFT + 1
        elif token < OTHER:
            velocity = token - VELOCITY
    return {key: now - at for key, at in struck.items()}, now, velocity


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, OTHER), min_size=12, max_size=12), min_size=1, max_size=3))
def test_at_once_step_by_step_and_by_definition(rows: list[list[int]]) -> None:
    board, ids = told(), torch.tensor(rows)
    at_once = board(ids)
    keys = Keys.silent(len(ids), 4, ids.device)
    weight = board.vectors.weight
    for place in range(ids.size(1)):
        torch.testing.assert_close(board.step(ids[:, place], keys), at_once[:, place])
        for row, tokens in enumerate(rows):
            down, now, velocity = by_definition(tokens[: place + 1])
            want = torch.zeros(6)
            for key, age in down.items():
                want = want + weight[key] + weight[4 + key] * torch.tensor(age + 1.0).log() / 4
            if velocity >= 0:
                want = want + weight[8 + velocity]
            torch.testing.assert_close(at_once[row, place], want * 6**0.5, rtol=1e-4, atol=1e-5)
            assert int(keys.now[row]) == now
    after = board.after(ids)
    for ours, theirs in zip((after.struck, after.now, after.velocity), (keys.struck, keys.now, keys.velocity),
                            strict=True):  # fmt: skip
        assert torch.equal(ours, theirs)
    for row, tokens in enumerate(rows):
        alone = SingleKeyboard(board)
        single, follower = alone.start(), alone.start()
        for place, token in enumerate(tokens):
            torch.testing.assert_close(alone.step(token, single)[0], at_once[row, place], rtol=1e-4, atol=1e-5)
        follower.follow(board.after(ids[row : row + 1]))
        assert (follower.now, follower.velocity) == (single.now, single.velocity)
        assert follower.struck.tolist() == single.struck.tolist()
    keys.select(torch.tensor([0, 0]))
    assert torch.equal(keys.struck[0], keys.struck[1]) and len(keys.now) == len(keys.velocity) == 2


def make(**changes: object) -> Transformer:
    torch.manual_seed(0)
    shape = {"width": 8, "heads": 2, "feed_forward": 8, "encoder_layers": 0, "decoder_layers": 2, "norm": "pre"}
    return Transformer(Config.from_dict({"vocabulary": IDS + 1, **shape, **changes})).eval()


def ids(*shape: int) -> Tensor:
    return torch.randint(IDS + 1, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["none", "concatenated"])
def test_a_model_is_told_the_keyboard(kind: str) -> None:
    before = make(positions=kind)
    model = before.with_keyboard(LAYOUT).eval()
    assert model.config.positions.keyboard == LAYOUT
    tokens = ids(2, 20)
    torch.testing.assert_close(model(tokens), before(tokens), rtol=0, atol=0)  # at first nothing
    assert model.keyboard is not None
    torch.nn.init.normal_(model.keyboard.vectors.weight)
    want = model(tokens)
    assert not torch.allclose(want, before(tokens))
    # Nothing of what comes later is told.
    torch.testing.assert_close(model(tokens[:, :11]), want[:, :11])
    for first in (0, 9):  # step by step, at once as far as that goes, with rows that change places
        cache = model.start(length=20, rows=2)
        taken = model.prefill(tokens[:, :first], cache).size(1)
        last = tokens[:, taken - 1] if taken else None
        for place in range(taken, 20):
            torch.testing.assert_close(model.step(last, cache), want[:, place], rtol=1e-4, atol=1e-5)
            last = tokens[:, place]
            if place == 14:
                cache.select(torch.tensor([1, 0]))
                tokens, want, last = tokens.flip(0), want.flip(0), last.flip(0)


@pytest.mark.parametrize("given", [0, 9])
def test_a_row_alone_is_told_it_too(given: int) -> None:
    model = make(positions="concatenated").with_keyboard(LAYOUT).eval()
    assert model.keyboard is not None
    torch.nn.init.normal_(model.keyboard.vectors.weight)
    tokens = ids(1, 20)
    want, alone = model(tokens), SingleRow(model, torch.float32)
    cache = alone.start(length=20)
    taken = alone.prefill(tokens[:, :given], cache).size(1)
    read = [None, *tokens[0, :, None]][taken:]
    for place, last in enumerate(read[: 20 - taken], taken):
        torch.testing.assert_close(alone.step(last, cache), want[:, place], rtol=1e-4, atol=1e-4)


def test_it_is_learned_and_kept() -> None:
    model = make(positions={"kind": "none", "keyboard": list(LAYOUT)})
    assert Config.from_dict(model.config.to_dict()) == model.config
    model(ids(2, 9)).square().sum().backward()
    assert model.keyboard is not None
    gradient = model.keyboard.vectors.weight.grad
    assert gradient is not None and all(part.any() for part in gradient.split((4, 4, 3)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": {"keyboard": [4, 5]}}, r"keyboard to be \[keys, shifts, velocities\], got \[4, 5\]"),
        ({"positions": {"keyboard": 5}}, "expected positions.keyboard to be list or tuple, got 5"),
        (
            {"positions": {"source": {"keyboard": LAYOUT}}},
            "expected no keyboard and no metre in positions.source, got one",
        ),
        ({"positions": {"keyboard": [4, 0, 3]}}, "each number of positions.keyboard >= 1, got 0"),
        ({"positions": {"keyboard": [4, 5, 5]}}, "a vocabulary from 18 with positions.keyboard, got patch=None"),
        ({"positions": {"keyboard": LAYOUT}, "patch": {"size": 2}}, "expected no patch and a vocabulary from 16"),
    ],
)
def test_keyboards_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_a_layout_counts_its_ids() -> None:
    assert Positions(keyboard=LAYOUT).keyboard_ids == IDS and Positions().keyboard_ids == 0


def test_another_keyboard_than_the_models() -> None:
    model = make(positions={"keyboard": LAYOUT})
    assert model.with_keyboard(LAYOUT).config == model.config
    with pytest.raises(UserError, match=r"no other keyboard than the model's \(4, 5, 3\), got \(4, 4, 4\)"):
        model.with_keyboard((4, 4, 4))


def test_a_note_that_is_held_for_an_hour_in_half_precision() -> None:
    board = told().half()
    ids = torch.cat((torch.zeros(1, 1, dtype=torch.int64), torch.full((1, 80_000), VELOCITY - 1)), 1)
    assert board.after(ids).now.tolist() == [400_000]
    assert board.step(ids[:, -1], board.after(ids)).isfinite().all()
