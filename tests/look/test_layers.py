import pytest
import torch

from triptych.look import layers
from triptych.look.layers import TABLE, Kind, Weighed, backend, layer, median_seconds, megabytes
from triptych.look.measure import can_weigh

KINDS: list[Weighed] = [*TABLE, "dense"]


def power(formula: str, letter: str) -> int:
    """The exponent of a letter in a product such as "k n d^2"."""
    return sum(int(factor[2:] or 1) for factor in formula.split() if factor[0] == letter)


@pytest.mark.parametrize("kind", TABLE)
def test_the_exponents_of_a_row_are_those_of_its_formula(kind: Kind) -> None:
    row = TABLE[kind]
    assert (row.by_length, row.by_width) == (power(row.complexity, "n"), power(row.complexity, "d"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "width"), [(5, 16), (300, 128)])
def test_a_layer_maps_n_vectors_to_n_and_goes_backward(kind: Weighed, length: int, width: int) -> None:
    one = layer(kind, length, width)
    out = one.forward()
    assert out.numel() == length * width and out.dtype == torch.float32
    assert out.shape == one.gradient.shape and not one.gradient.requires_grad
    assert all(leaf.requires_grad for leaf in one.leaves)
    assert one.train() == 1.0


def test_what_is_in_a_layer() -> None:
    torch.testing.assert_close(layer("full", 40, 128).forward(), layer("dense", 40, 128).forward())
    assert layer("full", 40, 128).leaves[0].shape == (1, 2, 40, 64), "heads of 64"
    weights = {kind: sum(x.numel() for x in layer(kind, 7, 32).leaves) - 7 * 32 for kind in TABLE}
    assert weights["convolution"] == 3 * 32 * 32
    assert weights["lstm"] == 8 * 32 * 32 + 8 * 32
    assert weights["full"] == weights["local"] == 2 * 7 * 32, "key and value, no projections"


def test_restricted_attention_sees_r_positions_back_and_no_further() -> None:
    one = layer("local", 3 * layers.REACH, 16)
    out = one.forward()
    value = one.leaves[2]
    last = torch.autograd.grad(out[0, 0, 2 * layers.REACH].sum(), value)[0].abs().sum((0, 1, 3))
    assert not last[: layers.REACH].any() and last[layers.REACH : 2 * layers.REACH + 1].all()


def test_the_backends_are_those_of_long_sequences() -> None:
    assert (backend("full"), backend("local")) == ("fused", "blockwise")


def test_seconds_are_medians_of_the_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rates(contestants: dict[Kind, object], repeats: int) -> dict[Kind, list[float]]:
        asked.append((list(contestants), repeats))
        return {kind: [4.0, 1.0, 100.0, 2.0, 8.0] for kind in contestants}

    monkeypatch.setattr(layers, "interleaved", rates)
    assert median_seconds(["full", "lstm"], 8, 16, 5) == {"full": 0.25, "lstm": 0.25}
    assert asked == [(["full", "lstm"], 5)]


def test_the_clock_runs() -> None:
    assert all(seconds > 0 for seconds in median_seconds(list(TABLE), 16, 16, 5).values())


@pytest.mark.skipif(not can_weigh(), reason="only Linux gives the peak of a process")
def test_the_definition_of_attention_holds_all_pairs() -> None:
    one = 2048 * 2048 * 4 / 2**20  # MB of the logits
    assert 2 * one < megabytes("dense", 2048, 16) < 12 * one
