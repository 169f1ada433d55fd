from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.generation.sample import Sampling, generate
from triptych.model.config import Config, Patch, Positions
from triptych.model.mixture import LEVELS, Logistics, scaled
from triptych.model.single import SingleRow
from triptych.model.single_pixel import SinglePixel
from triptych.model.transformer import Transformer


def pixel(channels: int, components: int, seed: int, spread: float = 1.0) -> tuple[SinglePixel, Logistics]:
    torch.manual_seed(seed)
    base = scaled(torch.randint(LEVELS, (channels, components)))
    parameters = spread * torch.randn(Logistics.size(channels, components))
    numbers = parameters.double().numpy().reshape(-1, components)
    return SinglePixel(numbers, base.double().numpy()), Logistics(parameters, base)


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


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_broken_numbers_are_not_drawn_from(number: float) -> None:
    numbers = np.zeros((6, 2))
    numbers[0, 1] = number
    with np.errstate(invalid="ignore"), pytest.raises(FloatingPointError):
        SinglePixel(numbers, np.zeros((2, 2))).draw(0.5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_the_same_drawn_by_itself_and_from_whole_distributions(channels: int) -> None:
    torch.manual_seed(1)
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    config = Config(
        LEVELS,
        **shape,
        encoder_layers=0,
        positions=Positions("sinusoidal_2d", length=8),
        patch=Patch(channels, logistics=4, recall=3),
    )
    model = Transformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    single, length = SingleRow(model, torch.float32), 64 * channels
    prefix = torch.full((1, length), -1)
    prefix[0, :5], prefix[0, 40] = 99, 7

    def picture(sampling: Sampling) -> list[int]:
        found = generate(single, single.start(length=length), steps=length, sampling=sampling, prefix=prefix, seed=3)
        return torch.cat(list(found)).tolist()

    assert picture(Sampling()) == picture(Sampling(top_k=LEVELS))


def test_a_model_of_tokens_leaves_drawing_to_its_steps() -> None:
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    single = SingleRow(Transformer(Config(LEVELS, **shape, encoder_layers=0)).eval())
    row = single.start(length=4)
    assert single.draw(None, row, torch.zeros(1, dtype=torch.float64)) is None
    assert row.position == 0


@pytest.mark.parametrize("intensity", [0, 60, 200, 255])
def test_a_forced_intensity_far_from_all_narrow_components_still_chooses_among_them(intensity: int) -> None:
    numbers = np.zeros((6, 2))  # the weights, two means, two scales, and a slope
    numbers[3:5], numbers[5] = -6.0, (2.0, -2.0)
    base = np.stack([np.array([-0.2, 0.2]), np.array([-0.5, 0.5])])
    single = SinglePixel(numbers, base)
    whole = Logistics(torch.from_numpy(numbers).float().reshape(-1), torch.from_numpy(base).float())
    single.next()
    single.take(intensity)
    want = whole.next(torch.tensor([intensity])).exp().numpy()
    np.testing.assert_allclose(np.exp(single.next()), want, atol=1e-3)
    assert max(np.exp(single.log_weights)) > 0.99


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize(("recall", "taken"), [(0, 0), (3, 0), (3, 21)])
@pytest.mark.parametrize("known", ["nothing", "the source", "a source with holes"])
def test_reads_what_the_model_reads(known: str, recall: int, taken: int, dtype: torch.dtype, exact: float) -> None:
    """Neighbours, those of them that a picture's edge leaves out, the source, the label, and how long a pixel has stood
    there, step by step and after pixels that were taken at once.
    """
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    sourced: dict[str, Any] = {"encoder_layers": 0}
    if known != "nothing":
        sourced = {"encoder_layers": 1, "aligned": True, "source_vocabulary": LEVELS + 1}
    positions = Positions("sinusoidal_2d", length=4)
    patch = Patch(3, logistics=4, recall=recall)
    model = Transformer(Config(LEVELS, **shape, **sourced, positions=positions, patch=patch, classes=2)).eval()
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
