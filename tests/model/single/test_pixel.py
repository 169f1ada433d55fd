from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.generation import Sampling, generate
from triptych.model.decoder import Rows, TorchDecoder
from triptych.model.heads.mixture import MixtureComponents, MixtureHead, scaled
from triptych.model.single.pixel import PixelSteps, SinglePixel
from triptych.model.single.row import SingleRow
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Positions
from triptych.shape.parts import LEVELS, Mixture, Pixels
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern


def pixel(channels: int, components: int, seed: int, spread: float = 1.0) -> tuple[SinglePixel, MixtureComponents]:
    torch.manual_seed(seed)
    base = scaled(torch.randint(LEVELS, (channels, components)))
    parameters = spread * torch.randn(MixtureComponents.size(channels, components))
    numbers = parameters.double().numpy().reshape(-1, components)
    return SinglePixel(numbers, base.double().numpy()), MixtureComponents(parameters, base)


@settings(deadline=None, max_examples=60)
@given(
    channels=st.integers(1, 4),
    components=st.integers(1, 10),
    seed=st.integers(0, 1000),
    intensities=st.lists(st.none() | st.integers(0, LEVELS - 1), min_size=4, max_size=4),
)
def test_equals_the_distribution_channel_by_channel(
    channels: int, components: int, seed: int, intensities: list[int | None]
) -> None:
    """Whether the likeliest intensity is taken or one that is forced, however far from all components."""
    single, whole = pixel(channels, components, seed)
    taken = torch.empty(0, dtype=torch.int64)
    for forced in intensities[:channels]:
        got, want = np.exp(single.next()), whole.next(taken).exp().numpy()
        assert got.sum() == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(got, want, atol=2e-4)
        intensity = int(want.argmax()) if forced is None else forced
        single.take(intensity)
        taken = torch.cat((taken, torch.tensor([intensity])))


@settings(deadline=None, max_examples=100)
@given(
    channels=st.integers(1, 4),
    components=st.integers(1, 10),
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    uniforms=st.lists(st.floats(0, 1 - 2.0**-53), min_size=4, max_size=4),
)
def test_draws_where_the_number_falls_in_the_distribution(
    channels: int, components: int, seed: int, spread: float, uniforms: list[float]
) -> None:
    single, _ = pixel(channels, components, seed, spread)
    for uniform in uniforms[:channels]:
        cumulative = np.exp(single.next()).cumsum()
        drawn = single.draw(uniform)
        assert drawn.shape == (1,)
        intensity = int(drawn[0])
        assert 0 <= intensity < LEVELS
        assert intensity == 0 or cumulative[intensity - 1] <= uniform + 1e-12
        assert uniform - 1e-12 < cumulative[intensity]
        single.take(intensity)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("place", range(6))  # the weights, two means, two scales, and a slope
def test_broken_numbers_are_not_drawn_from_and_warn_of_nothing(place: int, number: float) -> None:
    numbers = np.zeros((6, 2))
    numbers[place, 1] = number
    single = SinglePixel(numbers, np.zeros((2, 2)))
    if number == 1e38 and place not in (3, 4):  # of a scale this is the logarithm
        assert 0 <= int(single.draw(0.5)[0]) < LEVELS
        return
    for _ in range(2):
        with pytest.raises(FloatingPointError):
            single.draw(0.5)
        assert np.isnan(single.next()).all()
        single.take(7)


@pytest.mark.parametrize("position", [0, 4])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.9)])
def test_a_broken_model_is_named_in_one_line(sampling: Sampling, position: int) -> None:
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    model = Transformer(Config(LEVELS, **shape, encoder_layers=0, input=Pixels(1), head=Mixture(4))).eval()
    prefix = np.full((1, 9), -1)
    if position:  # reading this intensity breaks it
        prefix[0, position - 1] = 200
        table, _ = model.input.tables()["tokens"]
        table.data[200] = torch.nan
        table.data[:200] = 0  # so that nothing else is drawn
        table.data[201:256] = 0
    else:
        assert isinstance(model.head, MixtureHead)
        model.head.parameters_of.bias.data[0] = torch.nan
    single = SingleRow(model, torch.float32)
    rows = Rows(single, single.start(length=9))
    with pytest.raises(UserError, match=f"NaN or infinite at position {position}, row 0"):
        list(generate(TorchDecoder(model), rows, steps=9, sampling=sampling, prefix=prefix))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_the_same_drawn_by_itself_and_from_whole_distributions(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    torch.manual_seed(1)
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    config = Config(
        LEVELS,
        **shape,
        encoder_layers=0,
        positions=Positions("sinusoidal_2d", length=8),
        input=Pixels(channels),
        head=Mixture(4),
    )
    model = Transformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    single, length = SingleRow(model, torch.float32), 64 * channels
    prefix = np.full((1, length), -1)
    prefix[0, :5], prefix[0, 40] = 99, 7

    drawn: list[NDArray[np.int64] | None] = []
    draw = single.draw
    monkeypatch.setattr(single, "draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])

    def picture(sampling: Sampling) -> Iterator[NDArray[np.int64]]:
        rows = Rows(single, single.start(length=length))
        return generate(TorchDecoder(model), rows, steps=length, sampling=sampling, prefix=prefix, seed=3)

    itself = list(picture(Sampling()))
    # All but what is given and the first step; of three channels that is one of those that are given.
    assert len([ids for ids in drawn if ids is not None]) == length - 6 - (channels == 1)
    one, other = picture(Sampling()), picture(Sampling())
    assert list(zip(one, other, strict=True)) == list(zip(itself, itself, strict=True)), "side by side"
    drawn.clear()
    assert list(picture(Sampling(top_k=LEVELS))) == itself
    assert not drawn


@settings(deadline=None, max_examples=60)
@given(
    pattern=st.sampled_from([Full(causal=True), Local1D(4, 4), Local2D(4, 4, 2, 2, 1, 1)]),
    channels=st.integers(1, 4),
    sourced=st.booleans(),
    wide=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_components_begin_where_those_of_the_model_do(
    pattern: Pattern, channels: int, sourced: bool, wide: bool, seed: int
) -> None:
    """Whether positions say how wide the picture is or not, with holes in single channels of a source too."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 1, "norm": "pre"}
    shape |= {"encoder_layers": int(sourced), "aligned": sourced, "source_vocabulary": LEVELS + 1}
    positions = Positions("sinusoidal_2d", length=4) if wide else Positions()
    parts: dict[str, Any] = {"input": Pixels(channels), "head": Mixture(4)}
    model = Transformer(Config(LEVELS, **shape, pattern=pattern, positions=positions, **parts)).eval()
    head = model.head
    assert isinstance(head, MixtureHead)
    ids = torch.randint(LEVELS, (1, 16, channels))
    source = torch.randint(LEVELS - 30, LEVELS + 1, (1, 16, channels)) if sourced else None
    if source is not None:
        source[torch.rand(source.shape) < 0.3] = LEVELS
    picture = PixelSteps(head).start(16, None if source is None else source.numpy())
    for position, intensity in enumerate(ids.flatten().tolist()):
        picture.put(intensity, position)
    places = torch.from_numpy(head.neighbours(16))
    near = ids[:, places.clamp(min=0)].masked_fill((places < 0)[..., None], -1)
    want = head.beside(torch.zeros(1, 16, 0), near, source)[0]
    np.testing.assert_array_equal(picture.values[picture.known_at], want.double().numpy())


def test_a_model_of_tokens_leaves_drawing_to_its_steps() -> None:
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    single = SingleRow(Transformer(Config(LEVELS, **shape, encoder_layers=0)).eval())
    row = single.start(length=4)
    assert single.draw(None, row, 0.0) is None
    assert row.position == 0


@pytest.mark.parametrize("intensity", [0, 60, 200, 255])
def test_a_forced_intensity_far_from_all_narrow_components_still_chooses_among_them(intensity: int) -> None:
    numbers = np.zeros((6, 2))  # the weights, two means, two scales, and a slope
    numbers[3:5], numbers[5] = -6.0, (2.0, -2.0)
    base = np.stack([np.array([-0.2, 0.2]), np.array([-0.5, 0.5])])
    single = SinglePixel(numbers, base)
    whole = MixtureComponents(torch.from_numpy(numbers).float().reshape(-1), torch.from_numpy(base).float())
    single.next()
    single.take(intensity)
    want = whole.next(torch.tensor([intensity])).exp().numpy()
    np.testing.assert_allclose(np.exp(single.next()), want, atol=1e-3)
    assert max(np.exp(single.log_weights)) > 0.99


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("taken", [0, 21])
@pytest.mark.parametrize("known", ["nothing", "the source", "a source with holes"])
def test_reads_what_the_model_reads(known: str, taken: int, dtype: torch.dtype, exact: float) -> None:
    """Neighbours, those of them that a picture's edge leaves out, the source and the label, step by step and after
    pixels that were taken at once.
    """
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    sourced: dict[str, Any] = {"encoder_layers": 0}
    if known != "nothing":
        sourced = {"encoder_layers": 1, "aligned": True, "source_vocabulary": LEVELS + 1}
    positions = Positions("sinusoidal_2d", length=4)
    parts: dict[str, Any] = {"input": Pixels(3), "head": Mixture(4), "positions": positions}
    model = Transformer(Config(LEVELS, **shape, **sourced, **parts, classes=2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    ids = torch.randint(LEVELS, (1, 48))
    ids[:, 12:24] = 7  # a run
    source = None if known == "nothing" else torch.randint(LEVELS, (1, 48))
    if known == "a source with holes" and source is not None:
        source[:, 3:30] = LEVELS
    model, label = model.to(dtype), torch.tensor([1])
    single = SingleRow(model, dtype)
    row = single.start(length=48, source=source, label=label)
    with torch.no_grad():
        want = model(ids, source=source, label=label)[0]
    first = single.prefill(ids[:, :taken], row).size(1)
    assert first == taken
    got = torch.cat([single.step(ids[:, at - 1] if at else None, row) for at in range(first, 48)])
    likely = want[first:] > -12
    assert float(likely.float().mean()) > 0.3
    torch.testing.assert_close(got.float()[likely], want[first:][likely].float(), rtol=0, atol=exact)
