import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.decode.steps.pixels import parameters_of_a_pixel
from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.heads.mixture import MixtureComponents, log_mass, scaled
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Positions
from triptych.shape.parts import LEVELS, Mixture, Pixels
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern


def logistics(channels: int, components: int, seed: int = 0, spread: float = 3.0) -> MixtureComponents:
    torch.manual_seed(seed)
    base = scaled(torch.randint(LEVELS, (2, channels, components)), torch.empty(0, dtype=torch.float64))
    return MixtureComponents(
        spread * torch.randn(2, parameters_of_a_pixel(channels, components), dtype=torch.float64), base
    )


def test_numbers_that_describe_a_pixel() -> None:
    """Salimans et al. 2017: 10 components of three channels take 100 numbers; grey takes three a component."""
    assert parameters_of_a_pixel(3, 10) == 100
    assert parameters_of_a_pixel(1, 10) == 30


@settings(deadline=None, max_examples=30)
@given(st.floats(-1.5, 1.5), st.floats(-7, 3))
def test_the_mass_is_that_of_the_logistic_distribution_and_sums_to_one(mean: float, log_scale: float) -> None:
    values = scaled(torch.arange(LEVELS), torch.empty(0, dtype=torch.float64))
    mass = log_mass(values, *torch.tensor([mean, log_scale], dtype=torch.float64))
    assert float(mass.exp().sum()) == pytest.approx(1, abs=1e-9)
    middle = 100
    above, below = ((float(values[middle]) - mean + side / 255) / math.exp(log_scale) for side in (1, -1))
    want = torch.tensor([above, below], dtype=torch.float64).sigmoid()
    assert float(mass[middle].exp()) == pytest.approx(float(want[0] - want[1]), abs=1e-7)


def test_the_mass_and_its_gradient_are_finite_far_away() -> None:
    mean = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    log_scale = torch.full((3,), -7.0, requires_grad=True)
    mass = log_mass(torch.tensor([[-1.0], [0.3], [1.0]]), mean, log_scale)
    mass.sum().backward()  # type: ignore[no-untyped-call]
    assert mass.isfinite().all() and mean.grad is not None and log_scale.grad is not None
    assert mean.grad.isfinite().all() and log_scale.grad.isfinite().all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_one_by_one_are_the_joint_distribution(channels: int) -> None:
    """Each channel's probabilities sum to 1, and their product is the mixture of the products."""
    found = logistics(channels, 5)
    ids = torch.randint(LEVELS, (2, channels))
    every = found.every(ids)
    torch.testing.assert_close(every.exp().sum(-1), torch.ones(2, channels, dtype=torch.float64), atol=1e-9, rtol=0)
    one_by_one = -every.gather(-1, ids[..., None])[..., 0]
    torch.testing.assert_close(one_by_one, found.nll(ids), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(
        found.nll(ids).sum(-1), -found.joint(ids)[..., -1, :].logsumexp(-1), atol=1e-9, rtol=1e-9
    )


def test_later_channels_move_with_earlier_ones() -> None:
    found = logistics(3, 1)
    before = torch.tensor([[0], [0]])
    assert not torch.allclose(found.next(before), found.next(before + 255))


def model_of(channels: int, **changes: object) -> Transformer:
    torch.manual_seed(0)
    shape = {"width": 16, "heads": 2, "feed_forward": 16, "encoder_layers": 0, "decoder_layers": 2, "dropout": 0.0}
    config = Config.from_dict({"vocabulary": LEVELS, **shape, "input": Pixels(channels), "head": Mixture(3), **changes})
    return Transformer(config).eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_steps_are_the_forward_pass_and_its_likelihood(channels: int, aligned: bool) -> None:
    holes = {"encoder_layers": 1, "aligned": True, "source_vocabulary": LEVELS + 1}
    model, length = model_of(channels, **(holes if aligned else {})), 8 * channels
    ids = torch.randint(LEVELS, (2, length))
    source = torch.randint(LEVELS + 1, (2, length)) if aligned else None
    scores = model(ids, source=source)
    assert scores.shape == (2, length, LEVELS)
    cache, last, steps = model.start(length=length, rows=2, source=source), None, []
    for position in range(length):
        steps.append(model.step(last, cache))
        last = ids[:, position]
    torch.testing.assert_close(torch.stack(steps, 1), scores.detach(), atol=1e-4, rtol=1e-4)
    lengths = torch.tensor([length, length - channels])
    batch = Batch(ids, lengths, source, None if source is None else torch.full((2,), length))
    loss, nll = model.loss(batch)
    want = -scores.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    want = want[0].sum() + want[1, : length - channels].sum()
    torch.testing.assert_close(nll, want, atol=1e-3, rtol=1e-4)
    assert loss.requires_grad
    with pytest.raises(UserError, match="label_smoothing=0"):
        model.loss(batch, 0.1)


def test_an_untrained_mixture_begins_at_the_pixels_that_are_known() -> None:
    model = model_of(3, encoder_layers=1, aligned=True, source_vocabulary=LEVELS, width=64)
    source = torch.tensor([[200, 10, 90] * 4])
    flat = torch.tensor([[200, 10, 90] * 4])
    other = torch.tensor([[20, 210, 90] * 4])
    with torch.no_grad():
        known, unknown = (model.nll(Batch(ids, torch.tensor([12]), source)).mean() for ids in (flat, other))
    assert float(known) < float(unknown) < math.log(LEVELS) + 1
    assert float(known) < 4.5, "a good deal below that of all intensities alike, which is 5.5"


def test_what_a_mixture_asks_of_the_configuration() -> None:
    with pytest.raises(UserError, match="vocabulary=256"):
        model_of(3, vocabulary=257)
    with pytest.raises(UserError, match=r"input\.channels of 1 to 4, got"):
        Pixels(5)
    with pytest.raises(UserError, match="expected input pixels with head mixture"):
        model_of(3, input="tokens")


@pytest.mark.parametrize(
    ("pattern", "columns"),
    [(Local1D(4, 4), 4), (Full(causal=True), 3), (Local2D(4, 4, 2, 2, 1, 1), 4), (Local2D(4, 4, 2, 4, 2, 2), None)],
)
def test_neighbours_one_by_one_are_those_of_all(pattern: Pattern, columns: int | None) -> None:
    """Steps, and steps after a prefix in one pass, give what the forward pass gives; no pixel knows later ones."""
    positions = Positions("none") if columns is None else Positions("sinusoidal_2d", columns)
    model = model_of(3, pattern=pattern, positions=positions).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    ids = torch.randint(256, (2, 48))
    want = model(ids)
    for taken in (0, 24):
        cache = model.start(length=48, rows=2)
        assert model.prefill(ids[:, :taken], cache).size(1) == taken
        steps = [model.step(ids[:, at - 1] if at else None, cache) for at in range(taken, 48)]
        torch.testing.assert_close(torch.stack(steps, 1), want[:, taken:].detach(), atol=1e-6, rtol=0)
    changed = ids.clone()
    changed[:, 30:] = (changed[:, 30:] + 90) % 256
    torch.testing.assert_close(model(changed)[:, :31], want[:, :31])


def test_a_row_that_goes_on_from_another_has_its_neighbours() -> None:
    model = model_of(3, pattern=Local1D(4, 4), positions=Positions("sinusoidal_2d", 4))
    ids = torch.randint(256, (2, 48))
    cache = model.start(length=48, rows=2)
    for at in range(24):
        model.step(ids[:, at - 1] if at else None, cache)
    cache.select(np.array([1, 1]))
    swapped = ids[[1, 1]]
    steps = [model.step(swapped[:, at - 1], cache) for at in range(24, 48)]
    torch.testing.assert_close(torch.stack(steps, 1), model(swapped)[:, 24:].detach(), atol=1e-4, rtol=1e-4)


def test_more_pixels_than_the_picture_has() -> None:
    model = model_of(3, pattern=Local2D(4, 4, 2, 2, 1, 1), positions=Positions("sinusoidal_2d", 4))
    with pytest.raises(UserError, match="expected 0 to 16 positions"):
        model(torch.zeros(1, 51, dtype=torch.int64))
